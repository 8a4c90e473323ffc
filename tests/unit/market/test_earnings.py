"""What a job earned: its part of each settlement, and the receipt that says so."""

import base64
import json
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.jobs import JobId
from gridflex.ledger.canonical import canonical_json, digest
from gridflex.ledger.verify.command import main
from gridflex.ledger.verify.entries import parse_entry
from gridflex.ledger.verify.folder import verify_ledger
from gridflex.ledger.verify.merkle import leaf_hash
from gridflex.ledger.verify.reading import VerificationError
from gridflex.ledger.verify.receipts import verify_receipt
from gridflex.ledger.verify.settled import PAYING_RUNS
from gridflex.market.billing.earnings import (
    Settlement,
    in_force,
    read_settlement,
    settled_jobs,
    with_earnings,
)
from gridflex.market.billing.receipt_page import receipt_html
from gridflex.market.billing.receipts import Basis, DraftReceipt, IssuedReceipt, draft_receipt
from gridflex.market.meters import Evidence as Metering
from gridflex.market.settlement.account import AccountPeriod
from gridflex.market.settlement.attribution import Contribution
from gridflex.market.settlement.records import settlement_event
from gridflex.market.settlement.runs import Run
from tests.unit.ledger.ledgers import SIGNER, Ledger
from tests.unit.ledger.whole_tree import MerkleTree
from tests.unit.market.test_receipts import RECORD, SIX, START
from tests.unit.market.test_settlement import EXAMPLE

KEYS = [SIGNER.key]
LATER = SIX + timedelta(days=20)
OURS, OTHER = Decimal("0.6"), Decimal("0.9")
PERIOD = replace(EXAMPLE, half_hour=START)  # its net is 378.00 GBP


def contributions(*reductions: tuple[str, Decimal]) -> list[Contribution]:
    return [Contribution(START, job, "team", None, mwh) for job, mwh in reductions]


BOTH = contributions(("train-7", OURS), ("other", OTHER), ("idle", Decimal("-0.1")))


class Books:
    """A ledger with settlements and receipts; every receipt is signed at once."""

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.settlements: list[Settlement] = []
        self.receipts: list[IssuedReceipt] = []

    def settle(self, period: AccountPeriod = PERIOD, of: list[Contribution] = BOTH) -> Settlement:
        entry = settlement_event(period, contributions=of).entry(recorded_at=LATER)
        self.ledger.entries.append(entry)
        index = len(self.ledger.entries) - 1
        self.settlements.append(read_settlement(index, leaf_hash(entry), parse_entry(entry)))
        return self.settlements[-1]

    def issue(self, draft: DraftReceipt) -> IssuedReceipt:
        entries = self.ledger.entries
        entries.append(draft.event.entry(recorded_at=LATER))
        proof = MerkleTree(entries).inclusion_proof(len(entries) - 1)
        self.receipts.append(
            IssuedReceipt(
                index=len(entries) - 1,
                entry=parse_entry(entries[-1]),
                details=draft.details,
                inclusion=[base64.b64encode(one).decode() for one in proof],
                checkpoint=self.ledger.sign().note,
            )
        )
        return self.receipts[-1]

    def follow(self) -> IssuedReceipt | None:
        draft = with_earnings(self.receipts[-1], in_force(self.settlements))
        return self.issue(draft) if draft else None


@pytest.fixture
def books() -> Books:
    made = Books()
    made.issue(draft_receipt(replace(RECORD, evidence=())))
    return made


def earned(receipt: IssuedReceipt | None) -> Any:  # noqa: ANN401 - JSON
    assert receipt is not None
    return receipt.entry["body"]["figures"]["earned_gbp"]


def test_a_job_earns_its_part_of_what_was_reduced(books: Books) -> None:
    books.settle()

    following = books.follow()

    # 378 x 0.6 / 1.5
    assert earned(following) == {
        "value": "151.200000",
        "unit": "GBP",
        "basis": "modelled",
        "run": "SF",
    }
    assert following is not None
    assert following.entry["prev_ref"] == 0
    before, after = books.receipts[0].entry["body"], following.entry["body"]
    assert {name for name in before if before[name] != after[name]} == {"figures", "details_sha256"}


def test_a_receipt_that_says_so_is_not_followed(books: Books) -> None:
    books.settle()
    books.follow()

    assert books.follow() is None


def test_a_job_without_a_part_keeps_its_receipt(books: Books) -> None:
    books.settle(of=contributions(("other", OTHER), ("train-7", Decimal("-0.2"))))

    assert books.follow() is None


def test_each_later_run_is_followed_and_the_last_one_counts(books: Books) -> None:
    books.settle()
    books.follow()
    books.settle(replace(PERIOD, run=Run.R1, fees_gbp=Decimal(78)))

    second = books.follow()

    # (378 - 78) x 0.6 / 1.5
    assert (earned(second)["value"], earned(second)["run"]) == ("120.000000", "R1")
    assert second is not None
    assert second.entry["prev_ref"] == books.receipts[1].index
    assert [one["index"] for one in second.details["evidence"]] == [3]


def test_what_is_only_for_information_earns_nothing(books: Books) -> None:
    books.settle(replace(PERIOD, run=Run.II))

    assert books.follow() is None


def test_a_part_that_is_lost_in_a_later_run_is_taken_back(books: Books) -> None:
    books.settle()
    books.follow()
    books.settle(replace(PERIOD, run=Run.R1), of=contributions(("other", OTHER)))

    last = books.follow()

    assert earned(last) is None
    assert last is not None
    assert "settled" not in last.details


def test_a_simulated_meter_is_assumed_and_said_so(books: Books) -> None:
    (unit,) = PERIOD.units
    (pair,) = unit.pairs
    simulated = replace(unit, pairs=(replace(pair, evidence=Metering.ESTIMATED),))

    books.settle(replace(PERIOD, units=(simulated,)))

    assert books.settlements[0].basis is Basis.ASSUMED
    assert earned(books.follow())["basis"] == "assumed"


def test_jobs_that_reduced_nothing_have_no_part(books: Books) -> None:
    assert settled_jobs([books.settle()]) == ["other", "train-7"]


@given(
    st.lists(st.decimals("0.0001", "9", places=4), min_size=1, max_size=6),
    st.decimals("-500", "500", places=9),
)
def test_parts_add_up_to_the_net_to_the_millionth(
    reductions: list[Decimal], net_gbp: Decimal
) -> None:
    jobs = {f"job-{i}": mwh for i, mwh in enumerate(reductions)}
    settlement = Settlement(3, "00", "GRIDFLEX", START, Run.SF, net_gbp, jobs, Basis.MODELLED)
    parts = []
    for job in jobs:
        books = Books()
        draft = draft_receipt(replace(RECORD, job=replace(RECORD.job, id=JobId(job)), evidence=()))
        following = with_earnings(books.issue(draft), [settlement])
        assert following is not None
        parts.append(Decimal(following.event.body["figures"]["earned_gbp"]["value"]))
        verify_receipt(json.dumps(books.issue(following).as_json()), keys=KEYS)

    assert abs(sum(parts) - net_gbp) <= Decimal("0.0000005")


def test_it_verifies_with_its_settlements_and_what_follows_is_named(
    books: Books, tmp_path: Path
) -> None:
    books.settle()
    following = books.follow()
    assert following is not None

    checked = [verify_receipt(json.dumps(one.as_json()), keys=KEYS) for one in books.receipts]
    report = verify_ledger(books.ledger.write(tmp_path), keys=KEYS, receipts=checked)

    (part,) = checked[1].settled
    assert (part.entry, part.start, part.run) == (1, "2026-07-01T06:00Z", "SF")
    assert (part.reduction_mwh, part.all_reductions_mwh) == ("0.6", "1.5")
    assert report.superseded == {0: 2}


def test_the_command_says_which_receipt_counts(
    books: Books, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    books.settle()
    books.follow()
    folder, file = books.ledger.write(tmp_path / "ledger"), tmp_path / "receipt.json"
    file.write_text(json.dumps(books.receipts[0].as_json()))

    assert main([str(folder), str(file), "--key", str(SIGNER.key)]) == 0

    assert "receipt 0 was followed by entry 2, which counts" in capsys.readouterr().out


def forged(
    books: Books,
    *,
    stated: str | None = None,
    again: str | None = None,
    **row: str | int,
) -> str:
    """A receipt with other settled rows, logged and signed by the owner of the ledger himself."""
    following = books.follow()
    assert following is not None
    details = json.loads(json.dumps(following.details))
    details["settled"][0] |= row
    if again is not None:
        details["settled"].append(details["settled"][0] | {"entry": again})
        details["evidence"].append({"index": 0, "leaf_sha256": "00"})
        stated = str(2 * Decimal(details["settled"][0]["earned_gbp"]))
    body = json.loads(json.dumps(following.entry["body"]))
    body["figures"]["earned_gbp"]["value"] = stated or details["settled"][0]["earned_gbp"]
    body["details_sha256"] = digest(canonical_json(details))
    draft = with_earnings(books.receipts[0], in_force(books.settlements))
    assert draft is not None
    return json.dumps(books.issue(DraftReceipt(replace(draft.event, body=body), details)).as_json())


def test_more_than_its_part_is_detected(books: Books) -> None:
    books.settle()

    with pytest.raises(VerificationError, match=r"its share is 151\.2"):
        verify_receipt(forged(books, earned_gbp="151.21"), keys=KEYS)


def test_a_sum_its_settlements_do_not_give_is_detected(books: Books) -> None:
    books.settle()

    with pytest.raises(VerificationError, match=r"stated as 200, its settlements give 151\.2"):
        verify_receipt(forged(books, stated="200"), keys=KEYS)


def test_a_settlement_that_is_not_among_the_evidence_is_detected(books: Books) -> None:
    books.settle()

    with pytest.raises(VerificationError, match="not among the evidence"):
        verify_receipt(forged(books, entry=0), keys=KEYS)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"net_gbp": "756", "earned_gbp": "302.4"}, "settles 378.00000* GBP, a receipt says 756"),
        ({"start": "2026-07-01T06:30Z"}, "entry 1 is no settlement of .* at 2026-07-01T06:30Z"),
        ({"account": "OTHER"}, "entry 1 is no settlement of OTHER"),
        ({"run": "R1"}, "entry 1 is run SF, a receipt says R1"),
        (
            {"reduction_mwh": "1.5", "earned_gbp": "378"},
            r"train-7 reduced 0\.6 of 1\.5 MWh in entry 1, its receipt says 1\.5 of 1\.5",
        ),
        (
            {"all_reductions_mwh": "0.6", "earned_gbp": "378"},
            r"train-7 reduced 0\.6 of 1\.5 MWh in entry 1, its receipt says 0\.6 of 0\.6",
        ),
    ],
    ids=["another net", "another half-hour", "another account", "another run", "all", "alone"],
)
def test_a_settlement_that_earned_something_else_is_detected_in_the_ledger(
    books: Books, tmp_path: Path, row: dict[str, str], problem: str
) -> None:
    books.settle()
    receipt = verify_receipt(forged(books, **row), keys=KEYS)
    folder = books.ledger.write(tmp_path)

    with pytest.raises(VerificationError, match=problem):
        verify_ledger(folder, keys=KEYS, receipts=[receipt])


@pytest.mark.parametrize("run", [Run.SF, Run.R1])
def test_a_receipt_on_a_settlement_that_a_later_one_replaced_is_told(
    books: Books, tmp_path: Path, capsys: pytest.CaptureFixture[str], run: Run
) -> None:
    books.settle()
    books.follow()
    books.settle(replace(PERIOD, run=Run.II))
    books.settle(replace(PERIOD, run=run, fees_gbp=Decimal(78)))
    books.ledger.sign()
    folder, file = books.ledger.write(tmp_path / "ledger"), tmp_path / "receipt.json"
    file.write_text(json.dumps(books.receipts[-1].as_json()))

    assert main([str(folder), str(file), "--key", str(SIGNER.key)]) == 0

    assert "settlement 1, on which a receipt rests, was replaced by entry 4" in (
        capsys.readouterr().out
    )


def test_a_settlement_for_information_pays_no_receipt(books: Books, tmp_path: Path) -> None:
    books.settlements.append(replace(books.settle(replace(PERIOD, run=Run.II)), run=Run.SF))
    receipt = verify_receipt(forged(books, run="II"), keys=KEYS)
    folder = books.ledger.write(tmp_path)

    with pytest.raises(VerificationError, match="entry 1 is run II"):
        verify_ledger(folder, keys=KEYS, receipts=[receipt])


@pytest.mark.parametrize("again", ["1", "0"], ids=["the entry", "the half-hour"])
def test_a_settlement_that_is_counted_twice_is_detected(books: Books, again: str) -> None:
    books.settle()

    with pytest.raises(VerificationError, match="counted twice"):
        verify_receipt(forged(books, again=again), keys=KEYS)


def test_the_verifier_knows_the_runs_that_pay() -> None:
    assert list(PAYING_RUNS) == [run.value for run in Run if run.pays]


def test_the_page_shows_what_was_earned_and_from_what(books: Books) -> None:
    books.settle()
    following = books.follow()
    assert following is not None

    shown = receipt_html(following)

    for text in ("Earned by half-hour", "0.6000 of 1.5000", "151.2000", "Follows receipt", ">SF<"):
        assert text in shown
    assert "Earned by half-hour" not in receipt_html(books.receipts[0])
