"""How long a job runs, and what is left of it the longer it has run."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gridflex.errors import ContractError
from gridflex.run_time import RUN_TIME_LEVELS, RunTime

MINUTE = timedelta(minutes=1)
HOUR = 60 * MINUTE

TWO_KINDS = RunTime(
    tuple(60.0 if level < 0.5 else 36_000.0 for level in RUN_TIME_LEVELS), runs=40, basis="all jobs"
)
"""Just under half of the runs end after a minute, the others after ten hours."""

SPREAD = RunTime(
    (36, 90, 360, 720, 1080, 1440, 1800, 2160, 2520, 2880, 3240, 3420, 3528), runs=40, basis="all"
)
"""Any run time up to an hour is as likely as any other."""


def about(span: timedelta) -> object:
    return pytest.approx(span / MINUTE, abs=0.5)


def test_the_median_and_the_safe_run_time_are_quantiles() -> None:
    assert SPREAD.median == 30 * MINUTE
    assert SPREAD.safe == 54 * MINUTE
    assert SPREAD.quantile(0.1) == 6 * MINUTE


def test_a_job_that_has_not_run_has_its_whole_run_time_left() -> None:
    assert SPREAD.remaining(timedelta(0), level=0.5) == SPREAD.median


@pytest.mark.parametrize(
    ("worked", "level", "left"),
    [
        pytest.param(12 * MINUTE, 0.5, 24 * MINUTE, id="half of what is left of the hour"),
        pytest.param(30 * MINUTE, 0.5, 15 * MINUTE, id="half an hour in"),
        pytest.param(30 * MINUTE, 0.9, 27 * MINUTE, id="half an hour in, to be safe"),
    ],
)
def test_what_is_left_follows_from_the_runs_that_took_longer(
    worked: timedelta, level: float, left: timedelta
) -> None:
    assert SPREAD.remaining(worked, level=level) / MINUTE == about(left)


def test_a_job_that_outlives_the_short_runs_is_one_of_the_long_ones() -> None:
    left = TWO_KINDS.remaining(2 * HOUR, level=0.5)

    assert left / MINUTE == about(8 * HOUR)


def test_a_job_that_outruns_all_runs_goes_on_for_a_part_of_what_it_has_run() -> None:
    alike = RunTime((600.0,) * len(RUN_TIME_LEVELS), runs=9, basis="the same command")

    left = alike.remaining(2 * HOUR, level=0.5)

    assert left / MINUTE == about(2 * HOUR * (2 ** (1 / 8) - 1))


@pytest.mark.parametrize("times", [1.01, 20, 1_000_000])
def test_however_far_a_job_outruns_all_runs_something_is_left(times: float) -> None:
    alike = RunTime((600.0,) * len(RUN_TIME_LEVELS), runs=9, basis="the same command")

    left = alike.remaining(times * 10 * MINUTE, level=0.5)

    assert left / (times * 10 * MINUTE) == pytest.approx(2 ** (1 / 8) - 1, rel=0.01)


def test_a_heavier_tail_leaves_more_to_come() -> None:
    heavy = replace(SPREAD, quantiles_s=(*SPREAD.quantiles_s[:-2], 16_200.0, 60_000.0))

    assert heavy.remaining(20 * HOUR, level=0.5) > 3 * SPREAD.remaining(20 * HOUR, level=0.5)


def test_more_certainty_is_more_time_without_end() -> None:
    shares = (0.5, 0.9, 0.98, 0.99, 0.999)

    times = [SPREAD.quantile(share) for share in shares]

    assert times == sorted(set(times))


@pytest.mark.parametrize(
    ("quantiles_s", "said"),
    [
        pytest.param((1.0, 2.0), "13 quantiles, got 2", id="too few"),
        pytest.param((0.0,) * 13, "above zero", id="no time at all"),
        pytest.param((*(9.0,) * 12, 8.0), "cross", id="crossing"),
    ],
)
def test_what_is_no_distribution_is_refused(quantiles_s: tuple[float, ...], said: str) -> None:
    with pytest.raises(ContractError, match=said):
        RunTime(quantiles_s, runs=3, basis="all jobs")
