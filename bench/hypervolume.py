"""How much of what can be had a front dominates."""

from __future__ import annotations

import numpy as np
from pymoo.indicators.hv import HV

from gridflex.planning.problem import Array


def hypervolume(objectives: Array, *, reference: Array, ideal: Array) -> float:
    """Return the share of the box from ``ideal`` to ``reference`` that a front dominates."""
    scaled = (objectives - ideal) / (reference - ideal)
    return float(HV(ref_point=np.ones(objectives.shape[1]))(scaled))
