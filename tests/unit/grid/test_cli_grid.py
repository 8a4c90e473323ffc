"""``gridflex grid`` and ``gridflex sandbox``, without a socket."""

import json
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import cast

import httpx
import pandas as pd
import pytest
from rich.progress import Progress
from typer.testing import CliRunner

from gridflex.adapters.grid.feeds import grid_feeds
from gridflex.adapters.grid.store import GridStore
from gridflex.cli import app, grid, sandbox_grid
from gridflex.cli import backfill as filling
from gridflex.cli import shared_data as places
from gridflex.cli.output import out
from gridflex.client import Client
from gridflex.errors import ContractError, SourceError
from gridflex.sandbox.grid.recorded import TABLE
from gridflex.settings import Settings
from tests.shared import shared_data
from tests.unit.grid.replay import Payload, at

ENVIRONMENT = {"NO_COLOR": "1"}


def half_hour(start: str, *, rung: str = "fresh", origin: str = "simulated") -> Payload:
    known = {"region": "GB", "rung": rung, "age_s": 300.0, "origin": origin}
    sure = {"quantiles": {"0.05": 95.2, "0.5": 123.4, "0.95": 160.6}, "band": "measured"}
    known |= {"quantiles": None, "band": "none"}
    return {
        "start": start,
        "intensity": {"gco2_per_kwh": 123.4, "source": "carbon-intensity/fw48h", **known, **sure},
        "price": {"gbp_per_mwh": -5.25, "source": "octopus/agile-derived", **known, "age_s": None},
    }


NOW = {
    "now": "2026-01-15T12:05:00Z",
    "region": "GB",
    "origin": "simulated",
    "half_hour": half_hour("2026-01-15T12:00:00Z"),
    "generation_mix": {
        "start": "2026-01-15T11:30:00Z",
        "share_fraction": {"coal": 0.0, "gas": 0.25, "wind": 0.75},
        "age_s": 300.0,
        "origin": "simulated",
    },
    "feeds": [
        {"provider": "elexon", "source": "elexon/mid", "region": "GB",
         "last_good_at": "2026-01-15T08:05:00Z", "age_s": 14_400.0,
         "reason": "elexon: http://x/mid: HTTP 500 '[down]'"},
        {"provider": "octopus", "source": "octopus/agile-derived", "region": "GB",
         "last_good_at": None, "age_s": None, "reason": ""},
    ],
}  # fmt: skip
FORECAST = {
    "now": "2026-01-15T12:05:00Z",
    "region": "RG10",
    "origin": "live",
    "worst_rung": "climatology",
    "half_hours": [
        half_hour("2026-01-15T12:00:00Z", origin="live"),
        half_hour("2026-01-15T12:30:00Z", rung="climatology", origin="computed"),
    ],
}


SKILL: Payload = {
    "signal": "intensity_gco2_per_kwh",
    "days": 14,
    "own_first": ["0-6h"],
    "own_source": "gridflex/m",
    "rows": [
        {
            "source": "gridflex/m", "lead": "0-6h", "count": 90, "half_hours": 50,
            "count_alone": 120, "mae": 11.5, "rmse": 15.0, "bias": -1.0, "pinball": 4.5,
            "coverage_fraction": {"90": 0.96}, "served_pinball": 4.2,
            "served_coverage_fraction": {"90": 0.91},
        },
        {
            "source": "a/old", "lead": "0-6h", "count": 0, "half_hours": 0, "count_alone": 7,
            "mae": None, "rmse": None, "bias": None, "pinball": None, "coverage_fraction": {},
            "served_pinball": None, "served_coverage_fraction": {},
        },
    ],
}  # fmt: skip


class Cli:
    """The command line against a GridFlex that answers from memory."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url).removeprefix("http://127.0.0.1:8000"))
        bodies = {"/v1/grid/now": NOW, "/v1/grid/forecast": FORECAST, "/v1/forecasts/skill": SKILL}
        return httpx.Response(200, json=bodies[request.url.path])

    def run(self, *arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments), env=ENVIRONMENT)
        assert result.exit_code == 0, result.output
        return result.output


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Cli:
    made = Cli()
    client = partial(Client, transport=httpx.MockTransport(made.answer))
    monkeypatch.setattr(grid, "Client", client)
    monkeypatch.setattr(out, "_width", 200)
    monkeypatch.delenv("GRIDFLEX_URL", raising=False)
    return made


def test_grid_now_says_how_old_each_number_is_and_what_it_rests_on(cli: Cli) -> None:
    shown = cli.run("grid", "now")

    assert "GB at 2026-01-15 12:05Z, simulated" in shown
    assert "carbon-intensity/fw48h, fresh, 5 min, simulated" in shown
    assert "octopus/agile-derived, fresh, never, simulated" in shown
    assert "123" in shown
    assert "-5.25" in shown
    assert "generation at 2026-01-15 11:30Z, simulated: wind 75%, gas 25%" in shown
    assert "4 h" in shown
    assert "elexon/mid: elexon: http://x/mid: HTTP 500 '[down]'" in shown


def test_grid_forecast_shows_each_half_hour_with_its_rung(cli: Cli) -> None:
    shown = cli.run("grid", "forecast", "--hours", "1", "--region", "RG10")

    assert cli.asked == ["/v1/grid/forecast?hours=1&region=RG10"]
    assert "RG10 at 2026-01-15 12:05Z, live" in shown
    assert "2026-01-15 12:30" in shown
    assert "climatology, 5 min, computed" in shown
    assert "95 to 161, measured" in shown


@pytest.mark.parametrize(("command", "body"), [("now", NOW), ("forecast", FORECAST)])
def test_json_is_the_answer_as_it_came(cli: Cli, command: str, body: Payload) -> None:
    assert json.loads(cli.run("grid", command, "--json")) == body


def test_the_skill_board_shows_bands_as_served_beside_those_that_were_said(cli: Cli) -> None:
    shown = cli.run("grid", "skill")

    ours, old = (line.split() for line in shown.splitlines() if line.startswith("0-6h"))
    assert ours == [
        "0-6h", "gridflex/m", "90", "50", "11.5", "15.0", "-1.0", "4.2", "91%", "96%"
    ]  # fmt: skip
    assert old[2:5] == ["0", "of", "7"]
    assert "gridflex/m goes first at 0-6h" in shown


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("now", ["carbon-intensity/fw48h,", "octopus/agile-derived,", "fresh,", "elexon/mid"]),
        ("forecast", ["gCO2/kWh", "123", "measured", "-5.25"]),
        ("skill", ["gridflex/m", "11.5", "91%"]),
    ],
)
def test_at_80_columns_no_word_is_cut(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, command: str, words: list[str]
) -> None:
    monkeypatch.setattr(out, "_width", 80)

    shown = cli.run("grid", command)

    assert set(words) <= set(shown.split())
    tables = shown.partition("generation")[0]
    assert max(map(len, tables.splitlines())) <= 80


def test_the_score_of_bands_is_called_as_training_calls_it(cli: Cli) -> None:
    lines = cli.run("grid", "skill").splitlines()

    upper, lower = next((line, below) for line, below in pairwise(lines) if "pinball" in line)
    assert lower[upper.index("pinball") :].split()[0] == "loss"


def test_rows_of_another_lead_stand_apart(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    rows = [dict(row, lead=lead) for lead in ("0-6h", "6-12h") for row in SKILL["rows"]]
    monkeypatch.setitem(SKILL, "rows", rows)

    lines = cli.run("grid", "skill").splitlines()

    first, second = (
        next(i for i, line in enumerate(lines) if line.startswith(lead))
        for lead in ("0-6h", "6-12h")
    )
    assert second - first == 3
    assert not lines[second - 1].strip()


def refused(*options: str) -> BaseException:
    result = CliRunner().invoke(app, ["sandbox", "grid", *options], env=ENVIRONMENT)
    assert result.exception is not None, result.output
    return result.exception


@pytest.fixture
def two_days(tmp_path: Path) -> Path:
    table = pd.read_parquet(shared_data("grid") / TABLE)
    table[table["ts_utc"] >= "2024-06-12"].iloc[:96].to_parquet(tmp_path / TABLE)
    return tmp_path


def test_a_folder_without_series_is_refused_by_name(tmp_path: Path) -> None:
    error = refused("--data", str(tmp_path))

    assert isinstance(error, SourceError)
    assert str(tmp_path / TABLE) in str(error)


def test_a_clock_outside_the_recorded_days_is_refused_with_what_would_do(two_days: Path) -> None:
    error = refused("--data", str(two_days), "--origin", "2025-01-01T00:00Z")

    assert isinstance(error, ContractError)
    assert "covers 2024-06-12T00:00Z to 2024-06-14T00:00Z" in str(error)
    assert "2025-01-01T00:00Z" in str(error)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        pytest.param(["--speed", "60"], "speed", id="speed of nothing"),
        pytest.param(["--origin", "noon"], "clock.origin", id="not an instant"),
        pytest.param(["--origin", "2024-06-12T00:00"], "clock.origin", id="whose noon"),
        pytest.param(["--origin", "2024-06-12T00:00Z", "--speed", "-1"], "clock.speed", id="back"),
        pytest.param(["--data", ".", "--simulated"], "--simulated", id="both"),
    ],
)
def test_options_that_make_no_sense_are_refused_by_name(options: list[str], says: str) -> None:
    error = refused(*options)

    assert isinstance(error, ContractError)
    assert says in str(error)


def test_recorded_series_are_served_where_the_clock_is_inside_them(
    two_days: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "shared"
    (shared / "data").mkdir(parents=True)
    (shared / "data" / "grid").symlink_to(two_days)
    monkeypatch.setenv("GRIDFLEX_SHARED", str(shared))
    inside, outside = at("2024-06-12T10:00Z"), at("2026-06-12T10:00Z")

    recorded, _ = sandbox_grid._world(None, inside, seed=0, is_simulated=False)
    too_late, why = sandbox_grid._world(None, outside, seed=0, is_simulated=False)
    asked, _ = sandbox_grid._world(None, inside, seed=0, is_simulated=True)

    assert [w.origin.value for w in (recorded, too_late, asked)] == [
        "recorded", "simulated", "simulated"
    ]  # fmt: skip
    assert "2026-06-12T10:00Z" in why


def test_recorded_series_beside_the_checkout_are_found_without_being_named(
    two_days: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "grid").symlink_to(two_days)
    monkeypatch.delenv("GRIDFLEX_SHARED", raising=False)
    monkeypatch.setattr(places, "BESIDE", tmp_path)

    world, _ = sandbox_grid._world(None, at("2024-06-12T10:00Z"), seed=0, is_simulated=False)

    assert world.origin.value == "recorded"


def test_without_recorded_series_the_grid_is_simulated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRIDFLEX_SHARED", raising=False)
    monkeypatch.setattr(places, "BESIDE", tmp_path)

    world, why = sandbox_grid._world(None, at("2026-06-12T10:00Z"), seed=0, is_simulated=False)

    assert world.origin.value == "simulated"
    assert str(tmp_path) in why


def test_the_errors_of_the_forecasts_are_measured_beside_the_published_ones() -> None:
    result = CliRunner().invoke(
        app, ["sandbox", "errors", "--seeds", "1", "--json"], env=ENVIRONMENT
    )

    figures = json.loads(result.output)["figures"]
    assert figures["mean"]["published"] == 24.24
    assert figures["mean"]["lowest"] == figures["mean"]["highest"] == figures["mean"]["mean"]
    assert 20 < figures["mean"]["mean"] < 28


def test_a_backfill_that_is_interrupted_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(filling, "_backfill", stopped)
    monkeypatch.setenv("GRIDFLEX_STATE_DIR", str(tmp_path))

    result = CliRunner().invoke(app, ["grid", "backfill"], env=ENVIRONMENT)

    assert result.exit_code == filling.INTERRUPTED
    assert "the same command goes on from there" in result.stderr


class Emptiness:
    """A store that has nothing, and keeps no raw answer."""

    async def newest(self, *_args: object, **_more: object) -> None:
        return None

    async def keep(self, *_args: object, **_more: object) -> None:
        pass


async def test_a_provider_that_is_down_is_not_asked_for_all_its_outturns(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[httpx.Request] = []

    def down(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(503)

    once = partial(grid_feeds, transport=httpx.MockTransport(down), attempts=1)
    monkeypatch.setattr(filling, "grid_feeds", once)
    told = filling._Told({}, {}, [])

    await filling._outturns(
        Settings(),
        cast(GridStore, Emptiness()),
        told,
        days=365,
        now=at("2026-01-15T12:00Z"),
        bars=Progress(disable=True),
    )

    assert len(asked) == 3 * len(told.half_hours) == 12
    assert told.missing[0].startswith("carbon-intensity/actual from 2025-01-15T12:00Z: ")
    assert told.missing[3] == "carbon-intensity/actual: 24 more were not asked for"
