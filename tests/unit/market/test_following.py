"""Receipts that follow settlements, though the database fails in between."""

from dataclasses import replace
from datetime import datetime

import pytest

from gridflex.adapters.market.receipt_store import ReceiptStore
from gridflex.agents.earnings import Earnings
from gridflex.errors import SourceError
from gridflex.jobs import JobId
from gridflex.market.billing.receipts import DraftReceipt, IssuedReceipt, draft_receipt
from gridflex.market.settlement.records import settlement_event
from tests.unit.market.memory import MemoryLedger
from tests.unit.market.test_earnings import BOTH, LATER, PERIOD, Books
from tests.unit.market.test_receipts import RECORD


class Receipts(ReceiptStore):
    """First receipts of some jobs; the database fails when told to."""

    def __init__(self, *jobs: str) -> None:
        self.first = {JobId(one): _first(one) for one in jobs}
        self.noted: list[str] = []
        self.fails_in = ""

    async def newest(self, job_id: JobId) -> IssuedReceipt | None:
        self._fail("newest")
        return self.first.get(job_id)

    async def issue(self, draft: DraftReceipt, *, now: datetime) -> int:  # noqa: ARG002
        if self.noted:
            self._fail("issue")
        self.noted.append(draft.event.body["job"])
        return len(self.noted)

    def _fail(self, call: str) -> None:
        if self.fails_in == call:
            self.fails_in = ""
            raise SourceError(f"{call}: the database does not answer")


def _first(job: str) -> IssuedReceipt:
    record = replace(RECORD, job=replace(RECORD.job, id=JobId(job)), evidence=())
    return Books().issue(draft_receipt(record))


async def settled() -> MemoryLedger:
    ledger = MemoryLedger()
    await ledger.append([settlement_event(PERIOD, contributions=BOTH)], now=LATER)
    return ledger


@pytest.mark.parametrize(
    ("fails_in", "issued"),
    [
        pytest.param("newest", ["other", "train-7"], id="reading"),
        pytest.param("issue", ["other", "other", "train-7"], id="issuing the second"),
    ],
)
async def test_what_a_job_earned_is_said_after_the_database_failed(
    fails_in: str, issued: list[str]
) -> None:
    receipts = Receipts("other", "train-7")
    receipts.fails_in = fails_in
    earnings = Earnings(ledger=await settled(), receipts=receipts)
    with pytest.raises(SourceError):
        await earnings.follow(LATER)

    assert await earnings.follow(LATER) == ["other", "train-7"]

    assert receipts.noted == issued
    assert await earnings.follow(LATER) == []


async def test_a_job_waits_for_its_first_receipt() -> None:
    receipts = Receipts("other")
    earnings = Earnings(ledger=await settled(), receipts=receipts)
    assert await earnings.follow(LATER) == ["other"]
    receipts.first[JobId("train-7")] = _first("train-7")

    assert await earnings.follow(LATER) == ["train-7"]
