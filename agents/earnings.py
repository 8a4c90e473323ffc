"""Follows settlements with receipts, which say what a job earned once it is settled."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from gridflex.adapters.ledger.store import LedgerStore, Logged
from gridflex.adapters.market.receipt_store import ReceiptStore
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId
from gridflex.ledger.event import EventType
from gridflex.market.billing.earnings import (
    Settlement,
    in_force,
    read_settlement,
    settled_jobs,
    with_earnings,
)
from gridflex.market.billing.receipts import IssuedReceipt

BATCH: Final = 500
RECEIPT_WITHIN: Final = timedelta(days=7)
"""How long a job without known prices is tried again."""

FOLLOWED_AGAIN: Final = RECEIPT_WITHIN + timedelta(days=1)
"""Settlements so long before the last receipt may be of a job that had none yet."""


class Earnings:
    """Issues the receipts that say what jobs earned.

    What was followed is remembered only here: a new process looks again at the settlements from
    shortly before the last receipt on, and a receipt that already says what they give is not
    followed by another.

    Args:
        ledger: Where settlements are.
        receipts: Where receipts go.
    """

    def __init__(self, *, ledger: LedgerStore, receipts: ReceiptStore) -> None:
        self._ledger = ledger
        self._receipts = receipts
        self._next: int | None = None
        self._waiting: set[str] = set()

    async def follow(self, now: datetime) -> list[str]:
        """Follow the settlements that are new, and return the jobs that got a further receipt.

        A job whose first receipt is not issued and signed yet waits for it.

        Raises:
            SourceError: The database cannot be reached; the next call goes on with the same jobs.
        """
        while new := await self._unfollowed():
            self._waiting |= set(settled_jobs(await self._settled_with(_settlements(new))))
            self._next = new[-1].index + 1
        found = {job: await self._receipts.newest(JobId(job)) for job in sorted(self._waiting)}
        have = {job: receipt for job, receipt in found.items() if receipt is not None}
        if not have:
            return []
        half_hours = [one for receipt in have.values() for one in _half_hours(receipt)]
        counting = in_force(await self._within(half_hours))
        issued = []
        for job, receipt in have.items():
            draft = with_earnings(receipt, counting)
            if draft is not None:
                await self._receipts.issue(draft, now=now)
                issued.append(job)
        self._waiting -= have.keys()
        return issued

    async def _unfollowed(self) -> list[Logged]:
        if self._next is not None:
            return await self._ledger.find(EventType.SETTLEMENT_RUN, since=self._next, limit=BATCH)
        receipt = await self._ledger.newest(EventType.RECEIPT_ISSUED)
        recorded = datetime.fromisoformat(receipt.event["recorded_time"]) if receipt else None
        return await self._ledger.find(
            EventType.SETTLEMENT_RUN,
            recorded_since=recorded - FOLLOWED_AGAIN if recorded else None,
            limit=BATCH,
        )

    async def _settled_with(self, new: Sequence[Settlement]) -> list[Settlement]:
        """Return all settlements of these half-hours: the newest may take a job's part away."""
        about = {one.half_hour for one in new}
        return [one for one in await self._within(about) if one.half_hour in about]

    async def _within(self, half_hours: Collection[HalfHour]) -> list[Settlement]:
        return _settlements(
            await self._ledger.find(
                EventType.SETTLEMENT_RUN, first=min(half_hours), last=max(half_hours)
            )
        )


def _settlements(logged: Iterable[Logged]) -> list[Settlement]:
    return [read_settlement(one.index, one.leaf, one.event) for one in logged]


def _half_hours(receipt: IssuedReceipt) -> list[HalfHour]:
    rows = receipt.details["half_hours"]
    return [HalfHour.parse(row["start"]) for row in rows]
