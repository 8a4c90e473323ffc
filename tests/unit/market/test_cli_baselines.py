"""``gridflex settle baseline`` against a stand-in server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gridflex.cli.settlement import settlement_app
from tests.unit.market.test_cli_market_checks import METER, run
from tests.unit.stand_in_server import Server, server

__all__ = ["server"]

BASELINE = {
    "method": "BL01",
    "day": "2026-07-01",
    "is_defined": True,
    "selected": ["2026-06-30"],
    "excluded": {"2026-06-29": "event day"},
    "note": "",
    "index": 7,
    "half_hours": [
        {
            "start": "2026-06-30T23:00Z",
            "baseline_mwh": "1.2515",
            "unadjusted_mwh": "1.2515",
            "metered_mwh": None,
        }
    ],
}


@pytest.mark.parametrize("record", [False, True])
def test_a_baseline_is_shown_and_recorded_if_asked_for(server: Server, record: bool) -> None:
    server.answer = BASELINE

    shown = run(
        *("baseline", "show", METER, "--day", "2026-07-01", "--url", server.url),
        *(["--record"] if record else []),
    )

    assert "1.2515" in shown
    assert "not 2026-06-29: event day" in shown
    path = f"/v1/settlement/baselines/meters/{METER}" + ("" if record else "/show")
    assert server.asked[0][1] == path
    assert ("entry 7" in shown) == record


def test_a_meter_that_does_not_predict_is_no_base_to_trade_on(server: Server) -> None:
    server.answer = {
        "days": 20,
        "bias_fraction": 0.25,
        "rrmse_fraction": 0.3,
        "may_trade": False,
        "reason": "bias +25.0% is beyond 10.0%",
    }

    shown = run(
        *("baseline", "predict", METER, "--until", "2026-07-01", "--url", server.url), code=1
    )

    assert "bias +25.0%, error 30.0%: NOT: bias +25.0%" in shown


JUDGED = {
    "day": "2026-07-01",
    "days": 3,
    "bias_fraction": None,
    "rrmse_fraction": None,
    "may_trade": False,
    "reason": "3 days to judge by, 10 needed",
    "override": None,
    "is_sold": False,
}


def test_a_unit_that_may_not_be_sold_is_exit_code_1(server: Server) -> None:
    server.answer = JUDGED

    shown = run(
        "baseline", "judge", "V__CGRID001", "--day", "2026-07-01", "--url", server.url, code=1
    )

    assert "3 days, bias -, error -: NOT: 3 days to judge by, 10 needed" in shown
    assert "nothing is sold of it; to sell all the same: gridflex settle baseline allow" in shown
    assert "V__CGRID001 --until YYYY-MM-DD --reason WHY" in shown
    assert server.asked[0][1] == (
        "/v1/settlement/baselines/units/V__CGRID001/predictability?day=2026-07-01"
    )


def test_a_unit_that_is_sold_by_an_override_says_by_whose_word(server: Server) -> None:
    server.answer = JUDGED | {
        "override": {"until": "2026-08-01", "reason": "first start"},
        "is_sold": True,
    }

    shown = run("baseline", "judge", "V__CGRID001", "--url", server.url)

    assert "sold all the same until 2026-08-01: first start" in shown


def test_an_event_day_is_declared(server: Server) -> None:
    server.answer = {"index": 7}
    asked = ("baseline", "declare", METER, "--day", "2026-07-01", "--reason", "wholesale trading")

    shown = run(*asked, "--url", server.url)
    told = run(*asked, "--url", server.url, "--json")

    assert (shown, json.loads(told)) == ("recorded as entry 7\n", server.answer)


@pytest.mark.parametrize(
    ("holds", "says"),
    [
        (True, "V__CGRID001 is sold until 2026-08-01 whatever is known of the baseline"),
        (False, "the override ends, 2026-08-01 being past"),
    ],
)
def test_an_override_is_sent_with_its_reason(server: Server, holds: bool, says: str) -> None:
    server.answer = {"index": 7, "holds": holds}

    shown = run(
        *("baseline", "allow", "V__CGRID001", "--until", "2026-08-01"),
        *("--reason", "first start", "--url", server.url),
    )

    assert shown == f"{says}; recorded as entry 7\n"
    told = run(
        *("baseline", "allow", "V__CGRID001", "--until", "2026-08-01"),
        *("--reason", "first start", "--url", server.url, "--json"),
    )
    assert json.loads(told) == server.answer
    assert json.loads(server.asked[0][2]) == {"until": "2026-08-01", "reason": "first start"}


def test_what_was_held_back_is_listed(server: Server) -> None:
    server.answer = [{"start": "2026-07-01T16:00Z", "free_mwh": "0.5", "reason": "too few days"}]
    asked = ("baseline", "held-back", "V__CGRID001", "--first", "2026-07-01")

    shown = run(*asked, "--last", "2026-07-01", "--url", server.url)

    assert "2026-07-01T16:00Z 0.5 MWh: too few days" in shown


def test_the_budget_says_when_the_baseline_is_lost(server: Server) -> None:
    server.answer = {
        "day": "2026-07-01",
        "alike_days": 42,
        "eligible": 7,
        "minimum": 5,
        "spare_days": 2,
        "is_exhausted": False,
        "undeclared": 3,
        "erosion_fraction": 0.3,
        "exhausted_on": "2026-08-20",
    }

    shown = run("baseline", "budget", METER, "--day", "2026-07-01", "--url", server.url)

    assert "2 event days to spare" in shown
    assert "30% of the baseline" in shown
    assert "lost on 2026-08-20" in shown


def test_a_failed_honesty_test_is_an_error(server: Server, tmp_path: Path) -> None:
    (tmp_path / "caps.json").write_text("[]")
    server.answer = [{"test": "unchanged", "verdict": "failed", "detail": "sent 2, committed 1"}]

    shown = run(
        *("baseline", "honesty", "V__CGRID001", "--first", "2026-07-01", "--last", "2026-07-02"),
        *("--caps", tmp_path / "caps.json", "--url", server.url),
        code=1,
    )

    assert "sent 2, committed 1" in shown
    assert json.loads(server.asked[0][2])["cap_changes"] == []


def test_rules_are_listed_whole_in_80_columns(server: Server) -> None:
    row = {"take": 10, "pool": 10, "minimum": 5}
    adjusted = {
        "adjustment": "additive over 3 h ending 1 h before, at most 20%",
        "source": "s" * 99,
    }
    server.answer = [
        {"name": "PJM-high-4-of-5", "days": {"non-working": row, "working": row}, **adjusted},
        {"name": "PJM-same-day-3+2", "days": {}, **adjusted},
    ]
    asked = ["baseline", "rules", "--url", server.url]

    lines = CliRunner(env={"COLUMNS": "80"}).invoke(settlement_app, asked).output.splitlines()

    table = [line.rstrip() for line in lines[:-2]]
    assert max(map(len, table)) <= 80
    assert " ".join(table[2].split()) == (
        "PJM-high-4-of-5 non-working: 10 of 10, at least 5 additive over 3 h ending 1"
    )
    assert any(line.startswith("PJM-same-day-3+2  the event's own") for line in table)
    assert lines[-1] == f"PJM-same-day-3+2: {'s' * 99}"
