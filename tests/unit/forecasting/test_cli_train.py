"""What ``gridflex train`` prints, without a database."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from gridflex import cli
from gridflex.adapters import database
from gridflex.cli import train
from gridflex.cli.fitting import print_fitting
from gridflex.cli.output import out
from gridflex.cli.past import used_part, used_runs
from gridflex.errors import ContractError, SourceError
from gridflex.halfhour import HalfHour
from gridflex.settings import Settings
from gridflex.training.tournament import begun_at, cut
from tests.unit.forecasting.invented import grid
from tests.unit.forecasting.test_durations import run
from tests.unit.grid.replay import at, hh

FIGURES = {"mae": 114.17, "rmse": 118.5, "bias": -73.0, "pinball": 17.1, "cover_90_fraction": 1.0}
TIMES = {"fit_s": 15.02, "predict_ms": 37.51}
NOTE = "8 settings tried, 3 given up early"


@pytest.mark.parametrize("name", ["climatology", "persistence", "lightgbm"])
def test_a_comparison_fits_a_terminal_of_80_columns_with_every_word_whole(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(out, "_width", 80)
    rows = [{"name": name, "figures": FIGURES | TIMES, "note": NOTE}]

    print_fitting(out, train.COMPARED, [train._compared_row(row) for row in rows])

    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    shown = " ".join(" ".join(lines).split())
    for word in (name, "114.17", "pinball loss", "17.10", "100%", "note"):
        assert word in shown
    assert "…" not in shown


KNOWN = grid(100, start=hh("2025-01-01T00:00Z"))
"""Until 2025-04-11; three stretches of 14 days and one held back begin on 2025-02-14."""

LATEST = hh("2025-01-16T00:00Z")
"""A day, and the 28 that are needed, before the first stretch."""


def used(*, since: str | None = None, until: str = "2026-01-01T00:00Z") -> list[str]:
    chosen = None if since is None else at(since)
    part = used_part(KNOWN, since=chosen, until=at(until), days=14, stretches=3)
    return [str(half_hour) for half_hour in part]


def test_what_is_used_is_what_is_known_unless_options_leave_some_out() -> None:
    begin, end = "2025-01-01T00:00Z", "2025-04-11T00:00Z"

    assert used() == used(since="2020-01-01T00:00Z") == [begin, end]
    assert used(since="2025-01-10T00:10Z") == ["2025-01-10T00:30Z", end]
    assert used(until="2025-04-01T00:00Z") == [begin, "2025-04-01T00:00Z"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param(
            {"since": "2030-01-01T00:00Z"},
            r"^--since 2030-01-01T00:00Z leaves too little .* ends at 2025-04-11T00:00Z, and with "
            r"--days 14 and --stretches 3 valid is 2025-01-16T00:00Z or before$",
            id="since after the data",
        ),
        pytest.param(
            {"since": "2025-02-13T00:00Z", "until": "2025-04-11T00:00Z"},
            "--since 2025-02-13T00:00Z .* valid is 2025-01-16T00:00Z or before",
            id="too few days left",
        ),
        pytest.param(
            {"since": "2025-01-02T00:00Z", "until": "2025-02-01T00:00Z"},
            "--since 2025-01-02T00:00Z .* valid is to leave it out",
            id="too little with all that is known",
        ),
        pytest.param(
            {"until": "2024-12-01T00:00Z"},
            "--until 2024-12-01T00:00Z: nothing of .* is known before 2025-01-01T00:00Z; valid",
            id="until before the data",
        ),
    ],
)
def test_an_option_that_leaves_too_little_is_named_with_what_would_be_valid(
    options: dict[str, str], said: str
) -> None:
    with pytest.raises(ContractError, match=said):
        used(**options)


def test_the_last_valid_start_leaves_enough_to_learn_from() -> None:
    since, end = (HalfHour.parse(one) for one in used(since=str(LATEST)))

    assert since == LATEST
    assert cut(begun_at(KNOWN, since), end, days=14, stretches=3)
    with pytest.raises(ContractError, match="are needed"):
        cut(begun_at(KNOWN, since + 48), end, days=14, stretches=3)


RUNS = [replace(run(0, 10), ended_at=at(f"2026-07-0{day}T12:00Z")) for day in range(1, 4)]


def test_jobs_that_ended_outside_of_the_options_are_not_learnt_from() -> None:
    first, second, third = RUNS

    assert used_runs(RUNS, since=None, until=third.ended_at) == [first, second]
    assert used_runs(RUNS, since=second.ended_at, until=at("2026-08-01T00:00Z")) == [second, third]
    assert used_runs([], since=None, until=third.ended_at) == []


@pytest.mark.parametrize(
    ("since", "until", "said"),
    [
        pytest.param(
            "2026-07-04T00:00Z",
            "2026-08-01T00:00Z",
            "^--since 2026-07-04T00:00Z, --until 2026-08-01T00:00Z: no job ended then; .* ended "
            "2026-07-01T12:00Z to 2026-07-03T12:00Z$",
            id="after them",
        ),
        pytest.param(None, "2026-06-01T00:00Z", "^--until 2026-06-01T00:00Z: no job", id="before"),
    ],
)
def test_options_that_leave_no_job_are_named(since: str | None, until: str, said: str) -> None:
    with pytest.raises(ContractError, match=said):
        used_runs(RUNS, since=at(since) if since else None, until=at(until))


@pytest.mark.parametrize("as_json", [False, True])
def test_promoting_the_champion_again_is_said_to_change_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, as_json: bool
) -> None:
    monkeypatch.setenv("GRIDFLEX_STATE_DIR", str(tmp_path))
    target = "price_gbp_per_mwh"
    chosen = SimpleNamespace(training=SimpleNamespace(target=target))
    monkeypatch.setattr(train, "with_stores", lambda *_: (chosen, None))

    asked = ["promote", "2", *(["--json"] if as_json else [])]
    said = CliRunner().invoke(train.train_app, asked, catch_exceptions=False).output

    if as_json:
        assert json.loads(said) == {"target": target, "champion": 2, "changed": False}
    else:
        assert said == f"the champion of {target} is model 2 already; nothing is changed\n"


@pytest.mark.parametrize("does_run", [True, False])
@pytest.mark.parametrize("command", ["train ls", "train promote 2", "grid backfill"])
def test_a_database_is_left_as_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: str, *, does_run: bool
) -> None:
    def away(_: Settings) -> str:
        raise SourceError("away")

    ended: list[Path] = []
    monkeypatch.setattr(database, "runs_embedded", lambda _: does_run)
    monkeypatch.setattr(database, "stop_embedded", lambda which: ended.append(which.state_path))
    for module in ("training", "backfill"):
        monkeypatch.setattr(f"gridflex.cli.{module}.ensure_database", away)
    env = {"GRIDFLEX_STATE_DIR": str(tmp_path), "GRIDFLEX_DATABASE_URL": None}

    with pytest.raises(SourceError, match="away"):
        CliRunner(env=env).invoke(cli.app, command.split(), catch_exceptions=False)

    assert ended == ([] if does_run else [tmp_path])
