"""Settings of the run times are scored on runs that ended later than all that was learnt from."""

from datetime import UTC, datetime, timedelta

import pytest

from gridflex.errors import ContractError
from gridflex.forecasting.artefact import Artefact
from gridflex.forecasting.past_runs import PastRun, run_times
from gridflex.forecasting.run_times import ALL
from gridflex.jobs import JobId
from gridflex.training.durations import LEAST_RUNS, learnable_runs, of_run, score_runs, state_of

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def run(number: int, minutes: float, *, command: str = "a.py", succeeded: bool = True) -> PastRun:
    ended = NOON + number * MINUTE
    return PastRun(
        job_id=JobId(f"job-{number}"), entrypoint=command, team=None, gpus=1, submitted_at=NOON,
        started_at=NOON, ended_at=ended, run_time=minutes * MINUTE, has_succeeded=succeeded,
        was_given_up=False,
    )  # fmt: skip


def two_commands(count: int) -> list[PastRun]:
    """One takes about ten minutes, the other a hundred."""
    return [
        run(n, (10 if n % 2 else 100) * (1 + n % 5 / 50), command=f"{'ab'[n % 2]}.py")
        for n in range(count)
    ]


def test_runs_are_learnt_from_in_the_order_of_their_ends_without_those_that_failed() -> None:
    runs = [run(n, n + 1) for n in range(LEAST_RUNS)]
    spoilt = [run(LEAST_RUNS, 5, succeeded=False), run(LEAST_RUNS + 1, 0)]

    assert learnable_runs([*reversed(runs), *spoilt]) == runs


@pytest.mark.parametrize(
    ("past", "named"),
    [
        pytest.param([run(n, n + 1) for n in range(79)], "79 runs have succeeded, 80", id="few"),
        pytest.param([run(n, 5) for n in range(80)], "all 80 runs took 0:05:00", id="constant"),
    ],
)
def test_runs_that_teach_nothing_are_refused(past: list[PastRun], named: str) -> None:
    with pytest.raises(ContractError, match=named):
        learnable_runs(past)


def test_who_knows_the_command_is_nearer_than_who_takes_all_jobs_alike() -> None:
    runs = two_commands(100)
    settings = {"kept": 64, "prior_runs": 1.0}

    knowing = score_runs(runs, settings, first=60, after=100)
    alike = score_runs(runs, settings, first=60, after=100, kinds=lambda _run: (ALL,))

    assert knowing["mae"] < 0.1
    assert alike["mae"] > 0.5
    assert knowing["pinball"] < alike["pinball"] / 3


def test_a_run_that_ends_later_changes_no_score() -> None:
    runs, settings = two_commands(100), {"kept": 64, "prior_runs": 1.0}
    others = [*runs[:80], *(run(n, 999, command="b.py") for n in range(80, 100))]

    assert score_runs(runs, settings, first=60, after=80) == score_runs(
        others, settings, first=60, after=80
    )


def test_settings_are_kept_as_an_artefact_and_teach_as_they_say() -> None:
    settings = {"kept": 1, "prior_runs": 1.0}
    past = [run(n, 10) for n in range(5)] + [run(9, 100)]

    assert Artefact.read(state_of(settings)).state == settings
    last_only = run_times(past, kept=1, prior_runs=1.0).of(of_run(past[0]))
    assert last_only is not None
    assert last_only.median > 90 * MINUTE
