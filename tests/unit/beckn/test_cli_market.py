"""Keys on the command line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gridflex.cli.market import market_app
from gridflex.errors import ContractError


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


def test_without_an_id_there_are_no_keys(
    runner: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRIDFLEX_MARKET__SUBSCRIBER_ID")

    answer = runner.invoke(market_app, ["keys", "list"])

    assert isinstance(answer.exception, ContractError)
