"""What the quantiles of every forecast say."""

from statistics import NormalDist

import numpy as np
import pytest

from gridflex.quantiles import LEVELS, standard_deviation


def test_the_band_of_a_normal_error_speaks_of_its_standard_deviation() -> None:
    errors = [NormalDist(50, sd) for sd in (1.0, 20.0)]
    quantiles = np.array([[error.inv_cdf(level) for level in LEVELS] for error in errors])

    assert standard_deviation(quantiles) == pytest.approx([1.0, 20.0])
    assert np.isnan(standard_deviation(np.full((1, len(LEVELS)), np.nan))).all()
