"""A replay keeps capacity, hides the future, and ranks policies as worked out by hand."""

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

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


NO_COLOR = {"NO_COLOR": "1"}


@pytest.fixture
def four_days(tmp_path: Path) -> Path:
    """A folder with four days of an hourly series, ``grid.csv``, and one job, ``jobs.csv``."""
    hours = [
        f"2026-07-{1 + h // 24:02}T{h % 24:02}:00:00Z,{NIGHT_IS_CHEAP[2 * h]},{100 + h % 7}"
        for h in range(96)
    ]
    series = "\n".join(hours)
    (tmp_path / "grid.csv").write_text(f"time,price_gbp_per_mwh,intensity_gco2_per_kwh\n{series}\n")
    (tmp_path / "jobs.csv").write_text(
        "submitted_at,duration_s,gpus\n2026-07-02T08:00:00Z,7200,2\n"
    )
    return tmp_path


def command(
    folder: Path, *options: str, columns: int = 80, env: Mapping[str, str] = NO_COLOR
) -> Result:
    files = ("--jobs", str(folder / "jobs.csv"), "--grid", str(folder / "grid.csv"))
    return CliRunner(env={**env, "COLUMNS": str(columns)}).invoke(
        app, ["backtest", *files, "--gpus", "4", *options]
    )


def test_the_command_compares_policies_on_files(four_days: Path) -> None:
    picture = four_days / "load.png"

    result = command(
        four_days,
        *("--json", "--plot", str(picture), "--policy", "run-now", "--policy", "planner"),
    )

    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["policies"]["run-now"]["cost_gbp"] == pytest.approx(2 * 0.56 * 2 * 0.08)
    assert found["policies"]["planner"]["cost_gbp"] == pytest.approx(2 * 0.56 * 2 * 0.02)
    assert found["clairvoyant"]["bound_gbp"] <= found["policies"]["planner"]["score_gbp"]
    assert found["left_out"] == []
    assert picture.stat().st_size > 1000


def test_savings_are_against_run_now_and_whole_at_80_columns(four_days: Path) -> None:
    with (four_days / "jobs.csv").open("a") as jobs:
        jobs.write("2026-07-04T22:00:00Z,72000,4\n2026-07-01T03:00:00Z,1800,1\n")

    shown = command(four_days, "--policy", "lowest-window", "--carbon-price", "0").stdout

    [row] = (line.split() for line in shown.splitlines() if "lowest-window" in line)
    # 4.48 kWh hold 2.24 kWh each at 20 and not at 80 GBP/MWh: 0.045 for 0.179 GBP
    assert row[:5] == ["lowest-window", "0.04", "0.23", "0.04", "75.0%"]
    assert "saved: of both, against run-now" in shown
    assert "left out, beyond the series or too large: job-2, job-3" in shown


@pytest.mark.parametrize("is_terminal", [True, False])
def test_progress_is_shown_on_a_terminal_only(four_days: Path, *, is_terminal: bool) -> None:
    env = {"FORCE_COLOR": "1"} if is_terminal else {}

    result = command(four_days, "--policy", "run-now", env=env)

    assert result.exit_code == 0
    assert (
        "1 job on 4 GPUs, 2026-07-01T00:00Z to 2026-07-05T00:00Z, forecast: profile"
        in result.stdout
    )
    for step in ("run-now", "bound"):
        assert (step in result.stderr) == is_terminal
    assert is_terminal or not result.stderr


def test_a_job_that_is_not_done_in_time_is_named(four_days: Path) -> None:
    (four_days / "jobs.csv").write_text(
        "id,submitted_at,duration_s,gpus,interruptible\n"
        "a,2026-07-04T12:00:00Z,36000,4,False\nb,2026-07-04T12:30:00Z,36000,4,FALSE\n"
    )

    shown = command(four_days, "--policy", "run-now", "--slack-h", "1").stdout

    assert "not done by the end of the series with run-now: b\n" in shown


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--proof", "/nope/x.json"),
        ("--proof", "/"),
        ("--plot", "/nope/x.png"),
        ("--plot", "x.foo"),
        ("--plot", "x"),
        ("--jobs", "/"),
        ("--grid", "/"),
        ("--slack-h", "1e12"),
        ("--slack-h", "nan"),
        ("--budget-s", "nan"),
        ("--budget-s", "0"),
        ("--carbon-price", "-1"),
        ("--carbon-price", "1e308"),
        ("--gpus", "1" + "0" * 400),
    ],
)
def test_an_option_that_cannot_be_followed_is_refused_first(
    four_days: Path, option: str, value: str
) -> None:
    result = command(four_days, option, value)

    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.output


@pytest.mark.parametrize(
    "submitted", ["2026-05-31T00:00:00Z", "2026-07-01T20:00:00Z", "2026-07-04T00:00:00Z"]
)
def test_a_trace_beyond_the_series_is_refused_by_its_columns(
    four_days: Path, submitted: str
) -> None:
    jobs = four_days / "jobs.csv"
    jobs.write_text(f"submitted_at,duration_s,gpus\n{submitted},7200,2\n")

    with pytest.raises(
        ContractError,
        match=r"submitted_at from 2026-07-02T00:00Z, .* and deadline .* its end, 2026-07-05T00:00Z",
    ):
        read_trace(jobs, four_days / "grid.csv", slack=timedelta(hours=24))


def test_ids_and_files_that_cannot_be_told_apart_or_read_are_refused(four_days: Path) -> None:
    jobs, grid = four_days / "jobs.csv", four_days / "grid.csv"
    jobs.write_text("id,submitted_at,duration_s,gpus\n" + "a,2026-07-02T08:00:00Z,7200,2\n" * 2)
    garbage = four_days / "garbage.csv"
    garbage.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ContractError, match="id: 'a' is not valid; valid is another"):
        read_trace(jobs, grid, slack=timedelta(0))
    with pytest.raises(ContractError, match="cannot be read as CSV"):
        read_trace(garbage, grid, slack=timedelta(0))


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
        pytest.param("2026-07-02T08:00:00,7200,2", "submitted_at: .* its time zone", id="no zone"),
        pytest.param("2026-07-02T08:00:00Z,-5,2", "duration_s: '-5' is not", id="before it began"),
        pytest.param("2026-07-02T08:00:00Z,0,2", "duration_s: '0' .* above 0", id="no run"),
        pytest.param("2026-07-02T08:00:00Z,1e12,2", "duration_s: '1e12' .* from 0", id="endless"),
        pytest.param("2026-07-02T08:00:00Z,7200,2.5", "gpus: '2.5' .* whole number", id="a half"),
        pytest.param("2026-07-02T08:00:00Z,7200,2,-1", "power_kw: '-1' is not", id="a generator"),
        pytest.param("2026-07-02T08:00:00Z,7200,2,,yes", "interruptible: 'yes' .* true or", id="a"),
        pytest.param("2026-07-02T08:00:00Z,7200,2,,1", "interruptible: '1' is not", id="one"),
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
    jobs.write_text(f"submitted_at,duration_s,gpus,power_kw,interruptible\n{row}\n")

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
