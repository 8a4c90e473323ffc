"""What a start takes is what was seen, where that is longer than what the settings say."""

from collections.abc import Sequence
from datetime import timedelta

import pytest

from gridflex.lifecycle import Job
from gridflex.starting import LOOKED_AT, start_allowance
from tests.unit.lifecycles import MINUTE, NOON, attempt, job


def started(minutes: Sequence[float]) -> list[Job]:
    """Jobs whose starts, one a minute, took so long."""
    return [
        job(attempt(decided_at=NOON + n * MINUTE, started_at=NOON + (n + taken) * MINUTE))
        for n, taken in enumerate(minutes)
    ]


@pytest.mark.parametrize(
    ("minutes", "allowed"),
    [
        pytest.param([], 5, id="none seen"),
        pytest.param([20] * 4, 5, id="too few"),
        pytest.param([1] * 9, 5, id="faster than the settings say"),
        pytest.param([20] * 5, 20, id="slower"),
        pytest.param(range(11), 9, id="nine in ten"),
        pytest.param([1, 1, 1, 1, 20], 5, id="one of a few says nothing"),
        pytest.param([60] * 9, 30, id="a queue"),
    ],
)
def test_starts_that_were_seen_to_be_slow_are_allowed_for(
    minutes: Sequence[float], allowed: float
) -> None:
    assert start_allowance(started(minutes), usual=5 * MINUTE) == allowed * MINUTE


def test_only_the_newest_starts_count() -> None:
    assert start_allowance(started([20] * 9 + [1] * LOOKED_AT), usual=MINUTE) == MINUTE


def test_a_job_that_has_not_started_says_nothing() -> None:
    waiting = [job(attempt(started_at=None)) for _ in range(9)]

    assert start_allowance(waiting, usual=timedelta(0)) == timedelta(0)
