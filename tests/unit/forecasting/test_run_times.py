"""Run times learned from earlier runs: from all jobs to the closest kind."""

import numpy as np
import pytest

from gridflex.forecasting.run_times import ALL, LEAST_OTHERS, Kind, RunTimes, kinds_of
from gridflex.run_time import RUN_TIME_LEVELS

MINUTE_S = 60.0
TRAIN = kinds_of(entrypoint="python train.py --seed 1", team="vision", gpus=4)
OTHER_SEED = kinds_of(entrypoint="python train.py --seed 2", team="vision", gpus=4)
STRANGER = kinds_of(entrypoint="python eval.py", team="speech", gpus=1)


def learned(*runs: tuple[tuple[Kind, ...], float], **options: float) -> RunTimes:
    times = RunTimes(**options)  # type: ignore[arg-type]  # kept is a whole number here too
    for kinds, run_s in runs:
        times.note(kinds, run_s)
    return times


def test_nothing_is_said_before_anything_has_run() -> None:
    assert RunTimes().of(TRAIN) is None


def test_a_run_of_another_command_tells_nothing() -> None:
    times = RunTimes()
    times.note(kinds_of(entrypoint="python a.py", team=None, gpus=1), 4.0)

    assert times.of(kinds_of(entrypoint="python b.py", team=None, gpus=1)) is None
    assert times.of(kinds_of(entrypoint="python a.py", team=None, gpus=8)) is not None


def test_other_commands_tell_something_once_there_are_many() -> None:
    others = [(TRAIN, 600.0)] * LEAST_OTHERS

    assert learned(*others[1:]).of(STRANGER) is None
    assert learned(*others).of(STRANGER) is not None
    assert learned(*others[:5], least_others=5).of(STRANGER) is not None


def test_one_run_is_a_guess_with_wide_bounds() -> None:
    found = learned((TRAIN, 600.0)).of(TRAIN)

    assert found is not None
    assert (found.basis, found.runs) == ("the same command, team and GPUs", 1)
    assert found.median.total_seconds() == pytest.approx(600)
    assert 1_200 < found.safe.total_seconds() < 2_400


def test_the_closest_kind_with_evidence_is_named() -> None:
    times = learned(*[(TRAIN, 600.0)] * 40)

    same, similar, stranger = (times.of(kinds) for kinds in (TRAIN, OTHER_SEED, STRANGER))

    assert same is not None
    assert (same.basis, same.runs) == ("the same command, team and GPUs", 40)
    assert similar is not None
    assert (similar.basis, similar.runs) == ("the same command but for numbers", 40)
    assert stranger is not None
    assert (stranger.basis, stranger.runs) == ("all jobs", 40)


def test_a_command_with_many_runs_is_told_from_itself() -> None:
    times = learned(*[(STRANGER, 36_000.0)] * 60, *[(TRAIN, 600.0)] * 20)

    found = times.of(TRAIN)

    assert found is not None
    assert found.median.total_seconds() == pytest.approx(600, rel=0.01)


def test_a_command_with_few_runs_is_not_believed_alone() -> None:
    times = learned(*[(STRANGER, 36_000.0)] * 60, *[(TRAIN, 600.0)] * 3)

    found = times.of(TRAIN)

    assert found is not None
    assert found.median.total_seconds() == pytest.approx(600, rel=0.01)
    assert found.quantile(0.98).total_seconds() > 3_600


def test_old_runs_are_forgotten() -> None:
    times = learned(*[(TRAIN, 36_000.0)] * 8, *[(TRAIN, 600.0)] * 8, kept=8)

    found = times.of(TRAIN)

    assert found is not None
    assert found.median.total_seconds() == pytest.approx(600)
    assert found.safe.total_seconds() < 1_800


def test_the_quantiles_are_those_of_the_runs() -> None:
    kinds = (ALL,)
    times = learned(*((kinds, 60.0 * minutes) for minutes in range(1, 60)))

    found = times.of(kinds)

    assert found is not None
    expected = [60 * (level * 59 + 0.5) for level in RUN_TIME_LEVELS]
    assert found.quantiles_s == pytest.approx(expected, rel=0.05)


def test_nine_in_ten_runs_of_many_commands_stay_below_the_safe_run_time() -> None:
    rng = np.random.default_rng(7)
    usual_s = rng.lognormal(8, 1.5, size=40)
    times, kept = RunTimes(), []
    for _ in range(1_500):
        command = int(rng.integers(40))
        kinds = kinds_of(entrypoint=f"run {'abcdefghij'[command % 10]}{command}", team=None, gpus=1)
        run_s = float(usual_s[command] * rng.lognormal(0, 0.5))
        found = times.of(kinds)
        if found is not None:
            kept.append(run_s <= found.safe.total_seconds())
        times.note(kinds, run_s)

    assert 0.87 <= np.mean(kept) <= 0.95


def test_runs_that_keep_growing_move_the_safe_run_time_out() -> None:
    times, kept = RunTimes(), []
    noise = np.random.default_rng(0).lognormal(0, 0.2, size=400)
    for number in range(400):
        run_s = 600 * 1.01**number * noise[number]
        found = times.of(TRAIN)
        kept.append(found is not None and run_s <= found.safe.total_seconds())
        times.note(TRAIN, run_s)

    assert np.mean(kept[64:100]) < 0.8  # it is not known yet that they grow
    assert np.mean(kept[200:]) > 0.85


def test_teams_share_what_is_known_of_all() -> None:
    assert set(TRAIN) & set(STRANGER) == {ALL}
    assert len(set(TRAIN) & set(OTHER_SEED)) == 4
