"""``gridflex settle positions``, ``alarms`` and ``deliveries`` against a stand-in server."""

import json

import pytest
from typer.testing import CliRunner

from gridflex.cli.settlement import settlement_app
from tests.unit.market.test_cli_market_checks import run
from tests.unit.stand_in_server import Server, server

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
    assert "2026-07-01 17:00Z V__CGRID001: ecvn was rejected: key unknown" in shown
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


def narrow(*words: str) -> list[str]:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(settlement_app, words)
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


def test_no_word_is_cut_on_a_narrow_terminal(server: Server) -> None:
    answered = {kind: NONE | {"status": "accepted"} for kind in ("wman", "sev", "ecvn")}
    messages = POSITION["messages"] | answered  # type: ignore[operator]  # of dicts
    server.answer = [POSITION | {"stage": "gate-closed", "messages": messages}]
    positions = narrow("positions", "--first", "2026-07-01", "--url", server.url)
    server.answer = [CLAIM]
    claims = narrow("deliveries", "--day", "2026-07-01", "--url", server.url)

    words = [line.split() for line in positions]
    assert words[0] == ["V__CGRID001"]
    assert {"stage", "sold", "WMAN", "SEV", "ECVN", "DVN"} == (
        set(words[1] + words[2]) - {"start", "(UTC)", "MWh"}
    )
    said = ["accepted", "accepted", "accepted", "none"]
    assert words[-1] == ["2026-07-01", "17:00", "gate-closed", "0", *said]
    assert max(len(line.rstrip()) for line in positions + claims) <= 80
    assert claims[-1].split() == ["2026-07-01", "17:00", "10.0000", "2.8000", "-", "none"]


def test_of_several_units_each_row_says_whose_it_is(server: Server) -> None:
    server.answer = [CLAIM, CLAIM | {"unit": "V__CGRID002"}]

    claims = narrow("deliveries", "--day", "2026-07-01", "--url", server.url)

    assert [line.split()[2] for line in claims[-2:]] == ["V__CGRID001", "V__CGRID002"]


def test_days_without_trades_are_said_in_a_sentence(server: Server) -> None:
    server.answer = []

    assert narrow("positions", "--first", "2026-07-01", "--url", server.url) == [
        "no half-hour is traded on 2026-07-01"
    ]
    assert narrow("deliveries", "--day", "2026-07-01", "--url", server.url) == [
        "no half-hour of 2026-07-01 was traded, so nothing is claimed"
    ]


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("positions",), id="positions"),
        pytest.param(("reconcile",), id="reconcile"),
        pytest.param(("shares", "--account", "A"), id="shares"),
        pytest.param(("baseline", "held-back", "V__CGRID001"), id="held back"),
    ],
)
def test_a_last_day_before_the_first_is_refused(server: Server, command: tuple[str, ...]) -> None:
    days = ("--first", "2026-07-02", "--last", "2026-07-01")

    shown = run(*command, *days, "--url", server.url, code=2)

    assert "2026-07-01 is before --first 2026-07-02" in shown
    assert server.asked == []


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
    told = run(*asked, "--reason", "meter found", "--url", server.url, "--json")

    assert "entry 7; who sells V__CGRID001 (energy.unit in the settings)" in shown
    assert json.loads(told) == server.answer
    assert json.loads(server.asked[0][2]) == {
        "unit": "V__CGRID001",
        "day": "2026-07-01",
        "run": "RF",
        "reason": "meter found",
    }
