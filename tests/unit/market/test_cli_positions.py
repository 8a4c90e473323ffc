"""``gridflex settle positions``, ``alarms`` and ``deliveries`` against a stand-in server."""

import json

from typer.testing import CliRunner

from gridflex.cli.settlement import settlement_app
from tests.unit.market.test_cli_market_checks import Server, run, server

__all__ = ["server"]

NONE = {
    "status": "none",
    "mwh": None,
    "due": "2026-07-01T16:00:00Z",
    "sent_at": None,
    "attempts": 0,
    "reason": "",
    "index": None,
}
POSITION = {
    "unit": "V__CGRID001",
    "start": "2026-07-01T17:00Z",
    "stage": "sev-sent",
    "gate_closes": "2026-07-01T16:00:00Z",
    "expected_mwh": "3.0000",
    "most_mwh": "3.0000",
    "sold_mwh": "0",
    "counts": False,
    "messages": {
        "wman": NONE | {"status": "received"},
        "sev": NONE | {"status": "sent"},
        "ecvn": NONE | {"status": "rejected", "reason": "key unknown"},
        "dvn": NONE,
    },
}
ALARM = {
    "unit": "V__CGRID001",
    "start": "2026-07-01T17:00Z",
    "message": "ecvn",
    "urgency": "critical",
    "due": "2026-07-01T16:00:00Z",
    "left_s": 600.0,
    "problem": "rejected: key unknown",
    "consequence": "the sale is not in the account",
}
CLAIM: dict[str, object] = {
    "unit": "V__CGRID001",
    "start": "2026-07-01T17:00Z",
    "expected_import_mwh": "10.0000",
    "delivered_mwh": {"1200012345679": "2.8000"},
    "unclaimed_mwh": "0",
    "why_not": [],
    "notified_mwh": None,
    "status": "none",
    "due": "2026-07-02T23:00:00Z",
}


def test_positions_are_shown_with_their_messages(server: Server) -> None:
    server.answer = [POSITION]
    asked = ("positions", "--first", "2026-07-01", "--unit", "V__CGRID001", "--url", server.url)

    shown = run(*asked)

    assert "sev-sent" in shown
    assert "rejected: key unknown" in shown
    path = "/v1/settlement/positions?first=2026-07-01&last=2026-07-01&unit=V__CGRID001"
    assert server.asked[0][1] == path
    assert json.loads(run(*asked, "--json")) == [POSITION]


def test_an_alarm_is_an_error(server: Server) -> None:
    server.answer = [ALARM]

    shown = run("alarms", "--url", server.url, code=1)

    assert "CRITICAL 2026-07-01T17:00Z V__CGRID001 ecvn: rejected: key unknown" in shown
    assert "due 2026-07-01 16:00Z; else the sale is not in the account" in shown


def test_an_alarm_whose_deadline_is_past_says_what_came_of_it(server: Server) -> None:
    server.answer = [ALARM | {"urgency": "missed", "left_s": -60.0}]

    shown = run("alarms", "--url", server.url, code=1)

    assert "was due 2026-07-01 16:00Z; so the sale is not in the account" in shown


def test_no_alarm_is_said_too(server: Server) -> None:
    server.answer = []

    assert "no message is missing" in run("alarms", "--url", server.url)


def test_claims_are_shown_beside_what_was_notified(server: Server) -> None:
    server.answer = [CLAIM, CLAIM | {"delivered_mwh": {}, "why_not": ["no reading"]}]

    shown = run("deliveries", "--day", "2026-07-01", "--url", server.url)

    assert "2.8000" in shown
    assert "no reading" in shown
    assert server.asked[0][1] == "/v1/settlement/deliveries?day=2026-07-01"


def test_half_hours_and_units_are_whole_on_a_narrow_terminal(server: Server) -> None:
    for command, rows in (
        (("positions", "--first", "2026-07-01"), [POSITION]),
        (("deliveries", "--day", "2026-07-01"), [CLAIM]),
    ):
        server.answer = rows
        result = CliRunner(env={"COLUMNS": "80"}).invoke(
            settlement_app, [*command, "--url", server.url]
        )

        assert "2026-07-01T17:00Z V__CGRID001 " in result.output


def test_runs_that_were_given_up_are_named_and_exit_code_1(server: Server) -> None:
    server.answer = [
        {
            "unit": "V__CGRID001",
            "day": "2026-07-01",
            "run": "RF",
            "missing": "no system price (2) of 3 half-hours",
            "half_hours": ["2026-07-01T17:00Z", "2026-07-01T17:30Z"],
        }
    ]

    shown = run("given-up", "--url", server.url, code=1)
    server.answer = []

    assert shown.strip() == (
        "2026-07-01 RF V__CGRID001: 2 half-hours left, for no system price (2) of 3 half-hours"
    )
    assert "no run was given up" in run("given-up", "--url", server.url)


def test_a_run_is_ordered_late(server: Server) -> None:
    server.answer = {"index": 7}
    asked = ("late", "--unit", "V__CGRID001", "--day", "2026-07-01", "--run", "RF")

    shown = run(*asked, "--reason", "meter found", "--url", server.url)

    assert "entry 7" in shown
    assert json.loads(server.asked[0][2]) == {
        "unit": "V__CGRID001",
        "day": "2026-07-01",
        "run": "RF",
        "reason": "meter found",
    }
