"""The share of the box that a front dominates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymoo.indicators.hv import HV

from bench.hypervolume import hypervolume


@given(st.integers(0, 2**32 - 1))
def test_hypervolume_is_what_random_points_of_the_box_say(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(0.2, 0.8, (5, 3))
    box = rng.uniform(0, 1, (20_000, 3))

    found = hypervolume(points, reference=np.ones(3), ideal=np.zeros(3))

    inside = (points[None, :, :] <= box[:, None, :]).all(axis=2)
    hit = float(np.count_nonzero(inside.sum(axis=1)) / len(box))
    assert found == pytest.approx(hit, abs=0.02)
    assert found == pytest.approx(HV(ref_point=np.ones(3))(points))
