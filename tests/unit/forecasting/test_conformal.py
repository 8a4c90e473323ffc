"""Bands as wide as past errors."""

import numpy as np
import pytest

from gridflex.errors import ContractError
from gridflex.forecasting.conformal import LEAD_EDGES, Bands
from gridflex.quantiles import LEVELS


def test_the_band_covers_new_errors_as_often_as_promised() -> None:
    draw = np.random.default_rng(1)
    leads = draw.integers(0, 96, 40_000)
    size = 5 + leads / 4

    bands = Bands.learn(leads, draw.standard_normal(40_000) * size, np.ones(40_000))

    values = np.tile(bands.around(np.zeros(96), 1.0), (500, 1, 1))
    new = draw.standard_normal((500, 96)) * (5 + np.arange(96) / 4)
    inside = (values[:, :, 0] <= new) & (new <= values[:, :, -1])
    assert inside.mean() == pytest.approx(0.9, abs=0.01)
    assert inside[:, :12].mean() == pytest.approx(0.9, abs=0.03)


def test_a_wilder_time_has_a_wider_band() -> None:
    errors = np.linspace(-1, 1, 2000)
    bands = Bands.learn(np.zeros(2000, dtype=int), errors, np.ones(2000))

    calm, wild = bands.around(np.array([50.0, 50.0]), np.array([1.0, 10.0]))

    np.testing.assert_allclose(wild - 50, 10 * (calm - 50))
    assert calm[LEVELS.index(0.5)] == 50.0


def test_quantiles_never_cross_however_biased_the_errors_were() -> None:
    bands = Bands.learn(np.zeros(500, dtype=int), np.linspace(3, 9, 500), np.ones(500))

    assert (np.diff(bands.around(np.zeros(3), 1.0), axis=1) >= 0).all()


def test_a_small_sample_gives_a_wider_band() -> None:
    few, many = (
        Bands.learn(np.zeros(n, dtype=int), np.linspace(-1, 1, n), np.ones(n)) for n in (20, 2000)
    )

    assert few.offsets[0, 0] < many.offsets[0, 0]
    assert few.offsets[0, -1] > many.offsets[0, -1]


def test_leads_without_errors_borrow_from_nearer_ones() -> None:
    leads = np.repeat([0, LEAD_EDGES[3]], 100)
    errors = np.concatenate([np.linspace(-1, 1, 100), np.linspace(-4, 4, 100)])

    far = Bands.learn(leads, errors, np.ones(200)).around(np.zeros(400), 1.0)

    np.testing.assert_array_equal(far[399], far[LEAD_EDGES[3]])
    np.testing.assert_array_equal(far[1], far[0])


def test_too_few_errors_are_refused_and_gaps_do_not_count() -> None:
    errors = np.concatenate([np.ones(19), np.full(50, np.nan)])

    with pytest.raises(ContractError, match="19 past errors"):
        Bands.learn(np.zeros(69, dtype=int), errors, np.ones(69))
