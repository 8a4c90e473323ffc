"""Weights of members by lead time."""

import numpy as np
import pytest

from gridflex.forecasting.weights import WEIGHT_EDGES, learn_weights, weights_at


def test_weights_bring_the_mean_to_the_outturn() -> None:
    leads = np.zeros(300, dtype=int)
    said = np.array([np.zeros(300), np.full(300, 10.0)])

    weights = learn_weights(said, np.full(300, 7.0), leads)

    np.testing.assert_allclose(weights[0], [0.3, 0.7], atol=0.01)


def test_near_and_far_leads_have_weights_of_their_own() -> None:
    leads = np.repeat([0, WEIGHT_EDGES[3]], 200)
    truth = np.random.default_rng(1).normal(100, 20, 400)
    said = np.array([np.where(leads == 0, truth, 0.0), np.where(leads == 0, 0.0, truth)])

    weights = learn_weights(said, truth, leads)

    np.testing.assert_allclose(weights_at(weights, np.array([0, 60])), np.eye(2), atol=0.01)


def test_a_group_without_outturns_has_equal_weights_and_gaps_do_not_count() -> None:
    truth = np.array([np.nan, 5.0])

    weights = learn_weights(np.array([[9.0, 5.0], [0.0, 50.0]]), truth, np.array([0, 0]))

    np.testing.assert_allclose(weights[0], [1.0, 0.0], atol=0.01)
    np.testing.assert_array_equal(weights[1], [0.5, 0.5])
    assert weights.sum(axis=1) == pytest.approx(np.ones(len(WEIGHT_EDGES) - 1))
