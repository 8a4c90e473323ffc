"""Machine code for the loops of the planner.

A planner looks at hundreds of half-hours for each of thousands of jobs, one after the other,
because each job sees what the ones before it took. Such loops are compiled by Numba; the code is
kept next to the source, so that only the first run after an installation waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def compiled(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Compile a function of arrays and numbers; it runs without Python's lock."""
    decorate = numba.njit(cache=True, nogil=True, error_model="numpy")
    return cast("Callable[Parameters, Result]", decorate(function))
