"""A replay keeps capacity, hides the future, and ranks policies as worked out by hand."""

import json
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from gridflex.cli import app
from gridflex.cli.traces import read_trace
from gridflex.errors import ContractError
from gridflex.jobs import JobId
from gridflex.planning.backtest import (
    Arrival,
    Forecast,
    GridSeries,
    Outcome,
    Perfect,
    Policy,
    Profile,
    Yesterday,
    replay,
)
from gridflex.planning.policies import (
    CarbonTime,
    LowestWindow,
    Planner,
    RunNow,
    Threshold,
    clairvoyant_gbp,
)

DAY = 48
NIGHT_IS_CHEAP = np.tile(np.r_[np.full(12, 20.0), np.full(36, 80.0)], 8)
GRID = GridSeries(NIGHT_IS_CHEAP, NIGHT_IS_CHEAP * 2)


def arrival(name: str, at: int, *, work: int = 4, gpus: int = 1, slack: int = 48) -> Arrival:
    return Arrival(JobId(name), at, work, gpus, 2.0, at + work + slack)


def played(
    policy: Policy, *jobs: Arrival, gpus: int = 4, forecast: Forecast | None = None
) -> Outcome:
    return replay(
        jobs,
        GRID,
        policy,
        gpus=gpus,
        forecast=forecast or Perfect(),
        carbon_price_gbp_per_tco2=0.0,
        look_ahead=2 * DAY,
    )


def planner() -> Planner:
    return Planner(budget_s=0.05, carbon_price_gbp_per_tco2=0.0)


def test_run_now_starts_at_once() -> None:
    found = played(RunNow(), arrival("a", 60))

    assert found.runs[JobId("a")] == [60, 61, 62, 63]
    assert found.cost_gbp == pytest.approx(4 * 0.08)
    assert found.waiting_gpu_hours == 0.0


@pytest.mark.parametrize("policy", [LowestWindow(), CarbonTime(), Threshold(), planner()])
def test_whoever_looks_ahead_or_back_waits_for_the_night(policy: Policy) -> None:
    found = played(policy, arrival("a", 64))

    assert found.cost_gbp == pytest.approx(4 * 0.02)
    assert found.late == 0


def test_nobody_runs_past_a_deadline_to_save_money() -> None:
    found = played(planner(), arrival("a", 64, slack=6))

    assert found.late == 0
    assert found.cost_gbp == pytest.approx(4 * 0.08)


def test_a_whole_job_is_not_paused() -> None:
    job = Arrival(JobId("a"), 58, 4, 1, 2.0, 200, interruptible=False)

    found = played(RunNow(), job)

    assert (found.pauses, found.runs[JobId("a")]) == (0, [58, 59, 60, 61])


def test_a_day_seen_again_is_planned_as_if_it_were_known() -> None:
    jobs = [arrival(f"job-{i}", 60 + 3 * i) for i in range(6)]

    known = played(planner(), *jobs, forecast=Perfect())
    guessed = played(planner(), *jobs, forecast=Yesterday())

    assert guessed.cost_gbp == pytest.approx(known.cost_gbp)


@pytest.mark.parametrize("forecast", [Yesterday(), Profile()])
def test_a_forecast_does_not_see_the_future(forecast: Forecast) -> None:
    series = np.random.default_rng(0).uniform(0, 100, 6 * DAY)
    other = series.copy()
    other[3 * DAY + 5 :] = -1.0

    before = forecast.ahead(series, 3 * DAY + 5, DAY)

    assert before.tolist() == forecast.ahead(other, 3 * DAY + 5, DAY).tolist()
    assert before.shape == (DAY,)


def test_a_job_larger_than_the_cluster_is_refused_by_name() -> None:
    with pytest.raises(ContractError, match="job big: gpus 9"):
        played(RunNow(), arrival("big", 60, gpus=9))


def test_a_job_without_a_day_before_it_is_refused() -> None:
    with pytest.raises(ContractError, match="half-hour 3"):
        played(RunNow(), arrival("early", 3))


@given(
    st.lists(
        st.tuples(
            st.integers(48, 120),
            st.integers(1, 8),
            st.integers(1, 4),
            st.integers(0, 60),
            st.booleans(),
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=30, deadline=None)
def test_capacity_holds_and_nobody_beats_the_bound(
    drawn: list[tuple[int, int, int, int, bool]],
) -> None:
    jobs = [
        Arrival(JobId(f"job-{i}"), at, work, gpus, 2.0, at + work + slack, interruptible=pausable)
        for i, (at, work, gpus, slack, pausable) in enumerate(drawn)
    ]
    bound = clairvoyant_gbp(jobs, GRID, gpus=4, carbon_price_gbp_per_tco2=0.0, budget_s=1.0)

    for policy in (RunNow(), Threshold(), LowestWindow(), CarbonTime(), planner()):
        found = played(policy, *jobs)
        assert found.load_gpus.max() <= 4
        for job in jobs:
            ran = found.runs[job.id]
            assert len(ran) == job.work
            assert ran[0] >= job.at
            assert job.interruptible or ran == list(range(ran[0], ran[0] + job.work))
        if found.late == 0 or bound["plan_late"]:
            assert found.cost_gbp >= bound["bound_gbp"] - 1e-9


def test_where_not_all_can_be_on_time_the_bound_is_below_whoever_is_late() -> None:
    jobs = [Arrival(JobId(f"job-{i}"), 60, 8, 4, 2.0, 70, interruptible=True) for i in range(4)]

    bound = clairvoyant_gbp(jobs, GRID, gpus=4, carbon_price_gbp_per_tco2=0.0, budget_s=1.0)

    found = played(RunNow(), *jobs)
    assert bound["plan_late"] > 0
    assert found.late > 0
    assert 0 < bound["bound_gbp"] <= found.cost_gbp


def test_the_command_compares_policies_on_files(tmp_path: Path) -> None:
    hours = [
        f"2026-07-{1 + h // 24:02}T{h % 24:02}:00:00Z,{NIGHT_IS_CHEAP[2 * h]},{100 + h % 7}"
        for h in range(96)
    ]
    grid, jobs = tmp_path / "grid.csv", tmp_path / "jobs.csv"
    grid.write_text("time,price_gbp_per_mwh,intensity_gco2_per_kwh\n" + "\n".join(hours))
    jobs.write_text("submitted_at,duration_s,gpus\n2026-07-02T08:00:00Z,7200,2\n")
    picture = tmp_path / "load.png"
    command = ["backtest", "--jobs", str(jobs), "--grid", str(grid), "--gpus", "4", "--json"]

    result = CliRunner().invoke(
        app, [*command, "--plot", str(picture), "--policy", "run-now", "--policy", "planner"]
    )

    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["policies"]["run-now"]["cost_gbp"] == pytest.approx(2 * 0.56 * 2 * 0.08)
    assert found["policies"]["planner"]["cost_gbp"] == pytest.approx(2 * 0.56 * 2 * 0.02)
    assert found["clairvoyant"]["bound_gbp"] <= found["policies"]["planner"]["score_gbp"]
    assert picture.stat().st_size > 1000


@pytest.mark.parametrize(
    ("row", "says"),
    [
        pytest.param("2026-07-02T08:00:00Z,soon,2", "duration_s: 'soon' is not valid", id="text"),
        pytest.param(
            "2026-07-02T08:00:00Z,nan,2", "duration_s: 'nan' is not valid", id="no number"
        ),
        pytest.param("2026-07-02T08:00:00Z,7200", "gpus: None is not valid", id="a short row"),
        pytest.param("yesterday,7200,2", "submitted_at: 'yesterday' is not valid", id="no time"),
        pytest.param(
            "9999-12-31T23:30:00-14:00,7200,2", "submitted_at: '9999.* is not valid", id="no UTC"
        ),
    ],
)
def test_a_trace_with_a_wrong_value_is_refused_by_its_column(
    tmp_path: Path, row: str, says: str
) -> None:
    grid, jobs = tmp_path / "grid.csv", tmp_path / "jobs.csv"
    grid.write_text(
        "time,price_gbp_per_mwh,intensity_gco2_per_kwh\n2026-07-01T00:00:00Z,80,100\n"
        "2026-07-01T00:30:00Z,80,100\n"
    )
    jobs.write_text(f"submitted_at,duration_s,gpus\n{row}\n")

    with pytest.raises(ContractError, match=says):
        read_trace(jobs, grid, slack=timedelta(hours=24))


@pytest.mark.parametrize(
    ("series", "says"),
    [
        pytest.param(
            "time,price_gbp_per_mwh\n",
            r"no intensity_gco2_per_kwh among .*\(time, price_gbp",
            id="one",
        ),
        pytest.param(
            "time\n", "no price_gbp_per_mwh and no intensity_gco2_per_kwh among", id="two"
        ),
        pytest.param("", r"no time and no .* among its columns \(none\)", id="empty"),
        pytest.param(
            "time,price_gbp_per_mwh,intensity_gco2_per_kwh\n", "no rows below", id="no rows"
        ),
        pytest.param(
            "\ufefftime,price_gbp_per_mwh,intensity_gco2_per_kwh\n2026-07-01T00:00:00Z,80,100\n"
            "2026-07-01T00:45:00Z,80,100\n",
            "an hour or a half-hour apart",
            id="three quarters of an hour",
        ),
    ],
)
def test_a_series_is_refused_by_the_column_that_it_lacks(
    tmp_path: Path, series: str, says: str
) -> None:
    grid = tmp_path / "grid.csv"
    grid.write_text(series)

    with pytest.raises(ContractError, match=says):
        read_trace(tmp_path / "jobs.csv", grid, slack=timedelta(hours=24))
