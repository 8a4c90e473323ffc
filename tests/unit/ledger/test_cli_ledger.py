"""``gridflex settle verify``, ``verifier`` and ``receipt``; ``export`` needs a database."""

import base64
import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gridflex.adapters import database
from gridflex.cli.settlement import settlement_app
from gridflex.errors import ContractError, SourceError
from gridflex.ledger.canonical import digest
from gridflex.ledger.event import Event, EventType
from gridflex.ledger.note import Signer, rotation_body
from gridflex.ledger.standalone import standalone_verifier
from gridflex.ledger.tiles import SignedCheckpoint
from gridflex.ledger.verify.entries import parse_entry
from gridflex.ledger.verify.receipts import verify_receipt
from gridflex.market.settlement.records import settlement_event
from tests.unit.ledger.ledgers import NOON, SIGNER, Ledger, entry, handover, ledger
from tests.unit.ledger.whole_tree import MerkleTree
from tests.unit.market.test_receipts import issued
from tests.unit.market.test_settlement import EXAMPLE

NEW = Signer(SIGNER.key.name, seed=bytes([5]) * 32)
KEY = ["--key", str(SIGNER.key)]


def run(*arguments: str | Path, code: int = 0) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(settlement_app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_a_ledger_and_a_receipt_are_verified_together(tmp_path: Path) -> None:
    made, receipt = issued()
    folder = made.write(tmp_path / "ledger")
    (tmp_path / "receipt.json").write_text(json.dumps(receipt.as_json()))

    shown = run("verify", folder, tmp_path / "receipt.json", *KEY)

    assert "receipt of job:train-7, entry 5" in shown
    assert "7 entries" in shown


@pytest.mark.parametrize(("signer", "code"), [(NEW, 0), (SIGNER, 1)])
def test_a_receipt_is_signed_by_the_key_in_force_after_a_hand_over(
    tmp_path: Path, signer: Signer, code: int
) -> None:
    made, receipt = issued()
    rotated = Event("key:1", EventType.KEY_ROTATED, rotation_body(SIGNER, new=NEW))
    made.entries.append(rotated.entry(recorded_at=NOON + timedelta(days=9)))
    made.sign(NEW)
    proof = MerkleTree(made.entries).inclusion_proof(receipt.index)
    told = receipt.as_json() | {
        "inclusion": [base64.b64encode(one).decode() for one in proof],
        "checkpoint": Ledger(made.entries).sign(signer).note,
    }
    (tmp_path / "receipt.json").write_text(json.dumps(told))

    shown = run("verify", made.write(tmp_path / "l"), tmp_path / "receipt.json", *KEY, code=code)

    assert ("receipt of job:train-7, entry 5" in shown) is (code == 0)


def test_json_says_what_was_found(tmp_path: Path) -> None:
    found = json.loads(run("verify", ledger().write(tmp_path), *KEY, "--json"))

    assert found["verified"] is True
    assert found["ledgers"][0]["size"] == 600


def test_a_kept_checkpoint_catches_a_ledger_that_was_cut(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text(ledger().checkpoints[-1].note)
    cut = ledger(300, signed_at=(300,)).write(tmp_path / "cut")

    run("verify", cut, *KEY)
    shown = run("verify", cut, *KEY, "--since", tmp_path / "kept", code=1)

    assert "NOT VERIFIED" in shown
    assert "has only 300" in shown


def test_a_wrong_key_does_not_verify(tmp_path: Path) -> None:
    shown = run("verify", ledger().write(tmp_path), "--key", "nonsense+0+x", "--json", code=1)

    assert json.loads(shown)["verified"] is False


def settled(*, outcome_sha256: str | None = None) -> Ledger:
    event = settlement_event(EXAMPLE)
    if outcome_sha256:
        event = type(event)(
            event.id,
            event.event_type,
            {**event.body, "outcome_sha256": outcome_sha256},
            half_hour=event.half_hour,
        )
    made = Ledger([event.entry(recorded_at=NOON)])
    made.sign()
    return made


def test_logged_settlements_run_again_to_the_same_bytes(tmp_path: Path) -> None:
    shown = run("verify", settled().write(tmp_path), *KEY, "--run-again")

    assert "VERIFIED 1 settlements: run again, the same bytes" in shown


def test_a_settlement_that_its_inputs_do_not_give_is_named(tmp_path: Path) -> None:
    false = settled(outcome_sha256="00" * 32).write(tmp_path)

    run("verify", false, *KEY)  # signed as it is
    assert "logged with outcome 0000" in run("verify", false, *KEY, "--run-again", code=1)


def test_the_stand_alone_verifier_is_written_with_its_digest(tmp_path: Path) -> None:
    shown = run("verifier", "--out", tmp_path / "tools" / "verify.pyz")

    assert (tmp_path / "tools" / "verify.pyz").read_bytes() == standalone_verifier()
    assert digest(standalone_verifier()) in shown


GROWN = ledger(600)
TREE = MerkleTree(GROWN.entries)


@pytest.fixture
def server() -> Iterator[str]:
    """A server that has one receipt, and a ledger of 600 entries."""
    _, receipt = issued()
    answers = {
        "/v1/settlement/receipts/train-7": json.dumps(receipt.as_json()),
        "/v1/settlement/ledger/checkpoint": GROWN.checkpoints[-1].note,
        "/v1/settlement/ledger/hand-overs?size=600": json.dumps({"hand_overs": []}),
        "/v1/settlement/ledger/consistency?old=100&new=600": json.dumps(
            {"hashes": base64_of(TREE.consistency_proof(100, new=600))}
        ),
    }
    with answering(answers) as url:
        yield url


def base64_of(hashes: Iterable[bytes]) -> list[str]:
    return [base64.b64encode(one).decode() for one in hashes]


@contextmanager
def answering(answers: dict[str, str]) -> Iterator[str]:
    """Serve these answers, and HTTP 404 elsewhere; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path in answers else 404)
            self.end_headers()
            self.wfile.write(answers.get(self.path, '{"detail": "Not Found"}').encode())

        def log_message(self, *_: object) -> None:
            return

    with HTTPServer(("127.0.0.1", 0), Handler) as served:
        thread = threading.Thread(target=served.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()
        thread.join()


def kept(note: str, folder: Path) -> Path:
    (folder / "kept").write_text(note)
    return folder / "kept"


def test_a_ledger_that_extends_what_was_kept_proves_it(server: str, tmp_path: Path) -> None:
    old = kept(GROWN.checkpoints[0].note, tmp_path)

    shown = run("extends", old, *KEY, "--url", server, "--out", tmp_path / "new")
    again = run("extends", tmp_path / "new", *KEY, "--url", server, "--json")

    assert "the 600 entries of gridflex.example/log1 begin with the 100 of" in shown
    assert json.loads(again) == {
        "verified": True,
        "old": 600,
        "new": 600,
        "keys": [str(SIGNER.key)],
        "hand_overs": [],
    }


@pytest.mark.parametrize(
    ("checkpoint", "says"),
    [
        pytest.param(ledger(601, signed_at=(601,)), "the tree shrank from 601 to 600", id="cut"),
        pytest.param(
            Ledger([entry(n, site="x") for n in range(100)]), "does not begin with", id="other past"
        ),
        pytest.param(
            Ledger([entry(n, site="x") for n in range(600)]), "do not agree", id="other present"
        ),
    ],
)
def test_a_ledger_that_does_not_extend_what_was_kept_is_not_verified(
    server: str, tmp_path: Path, checkpoint: Ledger, says: str
) -> None:
    old = kept(checkpoint.sign().note, tmp_path)

    shown = run("extends", old, *KEY, "--url", server, "--out", tmp_path / "new", code=1)

    assert "NOT VERIFIED" in shown
    assert says in shown
    assert not (tmp_path / "new").exists()


def handed_over(*, by: Signer) -> tuple[str, dict[str, str]]:
    """Return a checkpoint over 2 entries, and answers of a ledger of 4, the third a hand-over."""
    made = Ledger([entry(0), entry(1), handover(SIGNER, NEW, 2), entry(3)])
    tree = MerkleTree(made.entries)
    hand = {"index": 2, "entry": parse_entry(made.entries[2])}
    hand["hashes"] = base64_of(tree.inclusion_proof(2))
    hashes = base64_of(tree.consistency_proof(2, new=4))
    return made.sign(size=2).note, {
        "/v1/settlement/ledger/checkpoint": made.sign(by).note,
        "/v1/settlement/ledger/hand-overs?size=4": json.dumps({"hand_overs": [hand]}),
        "/v1/settlement/ledger/consistency?old=2&new=4": json.dumps({"hashes": hashes}),
    }


def test_a_hand_over_of_the_key_is_followed_and_named(tmp_path: Path) -> None:
    note, answers = handed_over(by=NEW)
    old = kept(note, tmp_path)

    with answering(answers) as url:
        shown = run("extends", old, *KEY, "--url", url)
        found = json.loads(run("extends", old, *KEY, "--url", url, "--json"))

    assert f"note: trust was handed over (entry 2) to {NEW.key}" in shown
    assert (found["keys"], found["hand_overs"]) == ([str(NEW.key)], [2])


@pytest.mark.parametrize(("by", "code"), [(SIGNER, 0), (NEW, 1)])
def test_a_gridflex_too_old_to_tell_hand_overs_tells_none(
    tmp_path: Path, by: Signer, code: int
) -> None:
    note, answers = handed_over(by=by)
    del answers["/v1/settlement/ledger/hand-overs?size=4"]

    with answering(answers) as url:
        shown = run("extends", kept(note, tmp_path), *KEY, "--url", url, "--json", code=code)

    assert json.loads(shown)["verified"] is (code == 0)


def test_a_receipt_is_fetched_as_json_that_verifies(server: str, tmp_path: Path) -> None:
    run("receipt", "train-7", "--url", server, "--out", tmp_path / "r.json")

    assert verify_receipt((tmp_path / "r.json").read_bytes(), keys=[SIGNER.key]).index == 5


def test_a_receipt_is_fetched_as_a_page(server: str, tmp_path: Path) -> None:
    run("receipt", "train-7", "--url", server, "--out", tmp_path / "r.html")

    assert "<h1>Receipt for job train-7</h1>" in (tmp_path / "r.html").read_text()


def test_a_receipt_is_printed_as_json_where_that_is_asked_for(server: str) -> None:
    assert json.loads(run("receipt", "train-7", "--url", server, "--json"))["index"] == 5


def test_a_receipt_is_shown_in_a_few_lines_that_say_where_the_rest_is(server: str) -> None:
    lines = run("receipt", "train-7", "--url", server).splitlines()

    facts = dict(line.split("  ", 1) for line in lines[2:-1])
    assert "entry 5 of the ledger" in lines[0]
    assert facts["Outcome"].strip() == "succeeded"
    assert facts["Earned in the market, net"].strip() == "not known"
    assert facts["Energy used"].split()[1:] == ["kWh", "(modelled)"]
    assert "--out receipt.json" in lines[-1]
    assert len(lines) < 24


@pytest.fixture
def wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state folder of the settings in force, in which nothing ever ran."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GRIDFLEX_STATE_DIR", str(tmp_path / "wrong"))
    for name in ("DATABASE_URL", "CONFIG", "URL"):
        monkeypatch.delenv(f"GRIDFLEX_{name}", raising=False)
    return tmp_path / "wrong"


@pytest.mark.parametrize(("entries", "is_asked"), [(0, True), (7, False)])
def test_a_rotation_names_the_ledger_it_is_in(
    wrong: Path, monkeypatch: pytest.MonkeyPatch, entries: int, is_asked: bool
) -> None:
    async def rotated(_: object) -> tuple[int, str]:
        return entries, "log+1+abc"

    monkeypatch.setattr("gridflex.cli.ledger._rotate", rotated)

    told, found = run("rotate-key"), json.loads(run("rotate-key", "--json"))

    where = f"the embedded database in {wrong}"
    assert f"entry {entries} hands over to log+1+abc, in the ledger of {where}" in told
    assert ("had no entry before" in told) is is_asked
    assert found == {"index": entries, "key": "log+1+abc", "ledger": where}


@pytest.mark.parametrize(
    ("url", "is_another"),
    [("http://127.0.0.1:8000/", False), ("http://127.0.0.1:18600", True), ("http://gf.test", True)],
)
def test_an_export_names_the_ledger_that_it_wrote(
    wrong: Path, monkeypatch: pytest.MonkeyPatch, url: str, is_another: bool
) -> None:
    made = ledger(1)

    async def exported(*_: object) -> SignedCheckpoint:
        return made.checkpoints[-1]

    monkeypatch.setattr("gridflex.cli.ledger._export", exported)
    monkeypatch.setenv("GRIDFLEX_URL", url)

    told = run("export", "--out", "exp")

    where = f"the ledger of the embedded database in {wrong}"
    assert f"1 entries of {SIGNER.key.name}, root" in told
    assert f"in exp; from {where}\n" in told
    assert (f"warning: GRIDFLEX_URL ({url}) is not asked: this is about {where}" in told) is (
        is_another
    )


def test_an_export_that_cannot_be_made_names_the_ledger(
    wrong: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refused(*_: object) -> SignedCheckpoint:
        raise ContractError("the ledger has no checkpoint yet")

    monkeypatch.setattr("gridflex.cli.ledger._export", refused)
    asked = ["export", "--out", "exp"]

    with pytest.raises(ContractError, match=f"^the ledger of .*{wrong}: the ledger has no check"):
        CliRunner().invoke(settlement_app, asked, catch_exceptions=False)


@pytest.mark.parametrize("does_run", [True, False])
@pytest.mark.parametrize("command", [["export", "--out", "exp"], ["rotate-key"]])
def test_a_database_is_left_as_it_was(
    wrong: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], does_run: bool
) -> None:
    ended: list[Path] = []
    monkeypatch.setattr(database, "runs_embedded", lambda _: does_run)
    monkeypatch.setattr(database, "stop_embedded", lambda which: ended.append(which.state_path))

    async def failed(*_: object) -> None:
        raise SourceError("away")

    for name in ("_export", "_rotate"):
        monkeypatch.setattr(f"gridflex.cli.ledger.{name}", failed)
    with pytest.raises(SourceError, match="away"):
        CliRunner().invoke(settlement_app, command, catch_exceptions=False)

    assert ended == ([] if does_run else [wrong])
