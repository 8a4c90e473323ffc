"""``gridflex market`` on the command line: keys, and the trade log of a stand-in server."""

import json
import re
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gridflex.cli.market import market_app
from gridflex.errors import ContractError
from tests.unit.stand_in_server import Server, server

__all__ = ["server"]

TRANSACTION = "3d39df73-a4c0-4374-9836-ec6c365a7ecc"
OFFER = {
    "job_id": "train-1",
    "site": "london",
    "energy_kwh": 150.0,
    "planned": "2026-07-01T22:00:00+00:00",
    "latest_start": "2026-07-02T02:00:00+00:00",
    "price_gbp_per_kwh": "0.15",
}
CONTRACT = {
    "transaction_id": TRANSACTION,
    "role": "seller",
    "peer": "bap.example.com",
    "stage": "cancelled",
    "energy_kwh": 150.0,
    "due_gbp": None,
    "opened_at": "2026-07-01T12:00:00+00:00",
    "fault": None,
    "reason": "no answer to confirm",
}
MESSAGE = {
    "at": "2026-07-01T12:00:01.5+00:00",
    "way": "out",
    "action": "on_confirm",
    "peer": "bap.example.com",
    "transaction_id": TRANSACTION,
    "status": 403,
    "says": "active, 150 kWh from 2026-07-02T02:00Z",
    "note": "POL_ENGAGEMENT_REFUSED: not with you",
}


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRIDFLEX_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("GRIDFLEX_MARKET__SUBSCRIBER_ID", "us.example.com")
    monkeypatch.delenv("GRIDFLEX_CONFIG", raising=False)
    return CliRunner()


def test_a_new_key_comes_as_the_record_for_the_registry(runner: CliRunner, tmp_path: Path) -> None:
    answer = runner.invoke(market_app, ["keys", "new", "one", "--json"])

    record = json.loads(answer.stdout)["data"]
    assert record["record_id"] == "one"
    assert record["details"]["subscriber_id"] == "us.example.com"
    secret = (tmp_path / "market" / "one.key").read_text().strip()
    assert secret not in answer.stdout


def test_keys_are_listed_and_changed(runner: CliRunner) -> None:
    for command in (["keys", "new", "one"], ["keys", "new", "two"], ["keys", "use", "two"]):
        assert runner.invoke(market_app, command).exit_code == 0

    listed = json.loads(runner.invoke(market_app, ["keys", "list", "--json"]).stdout)

    assert [(one["key_id"], one["is_current"]) for one in listed] == [
        ("us.example.com|one|ed25519", False),
        ("us.example.com|two|ed25519", True),
    ]


def test_a_key_does_not_pass_for_one_with_which_running_processes_sign(runner: CliRunner) -> None:
    made = runner.invoke(market_app, ["keys", "new", "one"])
    runner.invoke(market_app, ["keys", "new", "two"])

    text = runner.invoke(market_app, ["keys", "list"], env={"COLUMNS": "200"}).output
    first, second = json.loads(runner.invoke(market_app, ["keys", "list", "--json"]).stdout)

    assert "signs after the next start" in made.output
    since = datetime.fromisoformat(first["signs_when_started_after"])
    assert f"one was chosen at {since:%Y-%m-%d %H:%M}Z: a GridFlex that was started before" in text
    assert second["signs_when_started_after"] is None
    runner.invoke(market_app, ["keys", "use", "one"])
    [again, _] = json.loads(runner.invoke(market_app, ["keys", "list", "--json"]).stdout)
    assert again == first


def test_without_an_id_there_are_no_keys(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRIDFLEX_MARKET__SUBSCRIBER_ID")

    answer = runner.invoke(market_app, ["keys", "list"])

    assert isinstance(answer.exception, ContractError)
    assert str(answer.exception) == (
        "market.subscriber_id is not set; it is our id in the registry: set it, or "
        "GRIDFLEX_MARKET__SUBSCRIBER_ID=flex.example.com"
    )


def shown(*words: str, columns: int = 250) -> str:
    answer = CliRunner(env={"COLUMNS": f"{columns}"}).invoke(market_app, list(words))
    assert answer.exit_code == 0, answer.output
    return answer.output


@pytest.mark.parametrize(
    ("command", "answer", "row"),
    [
        pytest.param(
            ["offers"],
            {"subscriber_id": "us.example.com", "offers": [OFFER]},
            ["train-1", "london", "150.00", "2026-07-01 22:00", "2026-07-02 02:00", "0.15"],
            id="offers",
        ),
        pytest.param(
            ["contracts"],
            {"contracts": [CONTRACT]},
            [
                TRANSACTION,
                "sell",
                "bap.example.com",
                "cancelled",
                "150.00",
                "-",
                "2026-07-01 12:00",
                "no answer to confirm",
            ],
            id="contracts",
        ),
        pytest.param(
            ["messages"],
            {"messages": [MESSAGE]},
            [
                "2026-07-01 12:00:01",
                "→",
                "on_confirm",
                "bap.example.com",
                TRANSACTION,
                "403",
                "active, 150 kWh from 2026-07-02T02:00Z; POL_ENGAGEMENT_REFUSED: not with you",
            ],
            id="messages",
        ),
    ],
)
def test_each_has_a_row_that_says_what_a_person_needs(
    server: Server, command: list[str], answer: dict[str, Any], row: list[str]
) -> None:
    server.answer = answer

    lines = shown(*command, "--url", server.url).splitlines()
    (found,) = (line.strip("│ ") for line in lines if row[0] in line)

    assert [cell for cell in re.split(r"\s*│\s*|\s{2,}", found) if cell] == row
    assert json.loads(shown(*command, "--json", "--url", server.url)) == answer


def test_ids_are_whole_in_a_terminal_of_80_columns(server: Server) -> None:
    long_id = "raysubmit_IGP8hXLt91B2hxKi"
    offers = [{**OFFER, "job_id": long_id}]
    server.answer = {"subscriber_id": "us", "offers": offers, "contracts": [CONTRACT]}

    for command, name in (("offers", long_id), ("contracts", TRANSACTION)):
        output = shown(command, "--url", server.url, columns=80)

        assert name in output
        assert max(map(len, output.splitlines())) <= 80


def test_what_has_no_room_beside_the_ids_of_messages_is_said_below_them(server: Server) -> None:
    server.answer = {"messages": [MESSAGE]}

    *_, row, below = shown("messages", "--url", server.url, columns=80).splitlines()

    assert row.split() == ["2026-07-01", "12:00:01", "→", "on_confirm", TRANSACTION, "403"]
    assert below == (
        "2026-07-01 12:00:01 → on_confirm: "
        "active, 150 kWh from 2026-07-02T02:00Z; POL_ENGAGEMENT_REFUSED: not with you"
    )


@pytest.mark.parametrize("action", ["on_discover", "catalog/on_publish"])
def test_messages_of_every_action_fit_80_columns(server: Server, action: str) -> None:
    server.answer = {"messages": [{**MESSAGE, "action": action, "says": None, "note": None}]}

    output = shown("messages", "--url", server.url, columns=80)

    assert max(map(len, output.splitlines())) <= 80
    for part in (action, TRANSACTION, "2026-07-01", "12:00:01", "403"):
        assert part in output


@pytest.mark.parametrize("offers", [[], [{**OFFER, "energy_kwh": 4.933124}]])
def test_what_would_be_offered_does_not_pass_for_published(
    server: Server, offers: list[dict[str, Any]]
) -> None:
    server.answer = {"subscriber_id": None, "offers": offers}

    first, *rest = shown("offers", "--url", server.url).splitlines()

    off = "Beckn is off (market.subscriber_id is not set): nothing is published"
    assert first == (
        f"{off}; would be offered:" if offers else f"{off}, and no waiting job would be"
    )
    assert (" 4.93 " in "".join(rest)) == bool(offers)


def test_a_key_id_is_whole_in_a_terminal_of_80_columns(runner: CliRunner) -> None:
    name = "3d39df73-a4c0-4374-9836-ec6c365a7ecc"
    before = runner.invoke(market_app, ["keys", "list"])
    runner.invoke(market_app, ["keys", "new", name])

    listed = runner.invoke(market_app, ["keys", "list"], env={"COLUMNS": "80"})

    assert f"us.example.com|{name}|ed25519 " in listed.output
    assert max(map(len, listed.output.splitlines())) <= 80
    assert before.output.strip() == "there is no key yet; gridflex market keys new makes one"


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("offers", "no waiting job is on offer"),
        ("contracts", "there is no contract"),
        ("messages", "there is no message"),
    ],
)
def test_nothing_to_show_is_said_in_words(server: Server, command: str, said: str) -> None:
    server.answer = {"subscriber_id": "us", "offers": [], "contracts": [], "messages": []}

    assert shown(command, "--url", server.url).strip() == said


def test_one_contract_is_shown_with_all_that_was_said(server: Server) -> None:
    server.answer = {**CONTRACT, "messages": [MESSAGE]}

    output = shown("contracts", "--transaction", TRANSACTION, "--url", server.url)

    assert "no answer to confirm" in output
    assert "active, 150 kWh from 2026-07-02T02:00Z; POL_ENGAGEMENT_REFUSED" in output
    assert server.asked[0][1] == f"/v1/market/contracts/{TRANSACTION}"
