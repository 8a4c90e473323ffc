"""Bookkeeper: puts what happened into the ledger, signs it and issues receipts.

It reads what the other agents stored, so that nobody has to wait for the ledger, and a ledger
that cannot be written stops no job. Nothing is kept between ticks that PostgreSQL does not have.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

import numpy as np

from gridflex.adapters.jobs.store import JobStore
from gridflex.adapters.ledger.feed import LedgerFeed
from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.market.receipt_store import ReceiptStore
from gridflex.adapters.tables import EnergyRow
from gridflex.agents.earnings import RECEIPT_WITHIN, Earnings
from gridflex.agents.grid import USUAL_LEVEL_FROM
from gridflex.agents.observations import Outturns
from gridflex.agents.site_prices import Tariffs
from gridflex.counterfactual import RunNow
from gridflex.errors import ContractError, GridFlexError, SourceError
from gridflex.fleet import Site
from gridflex.halfhour import HALF_HOUR, HalfHour
from gridflex.jobs import JobId
from gridflex.ledger.event import EventType
from gridflex.ledger.tiles import SignedCheckpoint
from gridflex.lifecycle import Job
from gridflex.market.billing.receipts import (
    Basis,
    Evidence,
    HalfHourUse,
    JobRecord,
    draft_receipt,
    weakest,
)
from gridflex.market.delivered_cost import DeliveredSeries
from gridflex.report import Energy
from gridflex.signals import NATIONAL, Origin, Series, Signal

log = logging.getLogger(__name__)

BATCH: Final = 1_000
RECEIPT_AFTER: Final = timedelta(hours=1)
"""After the end of a job: its last reading and the outturns come half an hour late."""

_ENERGY: Final = {
    "measured": Basis.MEASURED,
    "modelled": Basis.MODELLED,
    "declared": Basis.ASSUMED,
}
_GRID: Final = {
    Origin.LIVE: Basis.MEASURED,
    Origin.RECORDED: Basis.MEASURED,
    Origin.COMPUTED: Basis.MODELLED,
    Origin.SIMULATED: Basis.ASSUMED,
}


@dataclass(frozen=True, slots=True)
class BookkeeperReport:
    """What one tick did.

    Args:
        recorded: How many events are new in the ledger.
        size: How many entries it has under its newest checkpoint.
        receipts: Jobs that got a receipt.
        earned: Jobs that got a further one, because they were settled.
        waiting: Jobs that ended and wait for readings or outturns.
    """

    recorded: int
    size: int
    receipts: tuple[str, ...]
    waiting: tuple[str, ...]
    earned: tuple[str, ...] = ()


class Stamper(Protocol):
    """Who else says when; see `gridflex.adapters.ledger.timestamps.TimestampAuthority`."""

    name: str

    async def stamp(self, note: str) -> bytes:
        """Return a token over a checkpoint."""
        ...


class Bookkeeper:
    """Keeps the ledger.

    Args:
        ledger: Where events go; has the key.
        feed: What the other agents stored.
        receipts: Where receipts go.
        jobs: Jobs and their readings.
        outturns: Prices and intensities as they turned out.
        sites: The sites, the default one first.
        restart: What a start takes before work goes on.
        stamper: Timestamp authority; None for none.
        tariffs: What energy costs at the meter of a site, beside the wholesale price.
        unsized: Sites whose GPUs are not known yet; receipts of their jobs wait.
    """

    def __init__(
        self,
        *,
        ledger: LedgerStore,
        feed: LedgerFeed,
        receipts: ReceiptStore,
        jobs: JobStore,
        outturns: Outturns,
        sites: Sequence[Site],
        restart: timedelta,
        stamper: Stamper | None = None,
        tariffs: Tariffs | None = None,
        unsized: Collection[str] = (),
    ) -> None:
        self._tariffs = tariffs
        self._unsized = unsized
        self._stamper = stamper
        self._stamped_at: datetime | None = None
        self._ledger = ledger
        self._feed = feed
        self._receipts = receipts
        self._earnings = Earnings(ledger=ledger, receipts=receipts)
        self._jobs = jobs
        self._outturns = outturns
        self._run_now = RunNow(sites, restart=restart)

    async def tick(self, now: datetime) -> BookkeeperReport:
        """Record what is new, issue the receipts that are due, and sign.

        Raises:
            SourceError: The database cannot be reached.
            ContractError: The ledger cannot be extended or signed; see `LedgerStore`.
        """
        recorded = await self._record(now)
        issued, waiting = await self._issue(now)
        signed = await self._ledger.sign(now=now)
        earned = await self._earnings.follow(now)
        if earned:
            signed = await self._ledger.sign(now=now)
        await self._stamp(signed, now)
        return BookkeeperReport(recorded, signed.size, tuple(issued), tuple(waiting), tuple(earned))

    async def _stamp(self, signed: SignedCheckpoint, now: datetime) -> None:
        """Have the checkpoint stamped once a half-hour; an authority that fails delays nothing."""
        if self._stamper is None:
            return
        if self._stamped_at is not None and now < self._stamped_at + HALF_HOUR:
            return
        try:
            token = await self._stamper.stamp(signed.note)
        except GridFlexError as error:
            log.warning("checkpoint %s is not stamped: %s", signed.size, error)
            return
        await self._ledger.stamp(signed.size, authority=self._stamper.name, token=token, at=now)
        self._stamped_at = now

    async def _record(self, now: datetime) -> int:
        recorded = 0
        while events := await self._feed.unrecorded(limit=BATCH):
            await self._ledger.append(events, now=now)
            recorded += len(events)
        return recorded

    async def _issue(self, now: datetime) -> tuple[list[str], list[str]]:
        ended = await self._jobs.ended_since(now - RECEIPT_WITHIN)
        over = [job for job in ended if job.ended_at and job.ended_at + RECEIPT_AFTER <= now]
        have = await self._receipts.issued([job.id for job in over])
        due = [job for job in over if _started(job) and job.id not in have]
        issued, waiting = [], []
        at_once = self._run_now.energy(filter(_started, ended)) if due else {}
        for job in due:
            is_sized = self._run_now.site(job).name not in self._unsized
            record = await self._record_of(job, at_once[job.id], now=now) if is_sized else None
            if record is None:
                waiting.append(str(job.id))
                continue
            await self._receipts.issue(draft_receipt(record), now=now)
            issued.append(str(job.id))
        return issued, waiting

    async def _record_of(self, job: Job, compared: Energy, *, now: datetime) -> JobRecord | None:
        readings = await self._jobs.energy([str(job.id)])
        if not _is_complete(job, readings):
            return None
        site = self._run_now.site(job)
        used = _by_half_hour(readings)
        price = await self._known(Signal.PRICE, [NATIONAL], used, compared, now)
        regions = [site.postcode, NATIONAL] if site.postcode else [NATIONAL]
        intensity = await self._known(Signal.INTENSITY, regions, used, compared, now)
        if price is None or intensity is None:
            return None
        origins = {price.origin, intensity.origin}
        return JobRecord(
            job=job,
            half_hours=_uses(used, compared, price, intensity, await self._delivered(job, price)),
            redone=job.run_time(job.ended_at or now) - self._run_now.unbroken(job),
            energy=weakest(_ENERGY[row.method] for row in readings),
            grid=weakest(_GRID[one] for one in origins),
            grid_origin=", ".join(sorted(origins)),
            evidence=await self._evidence(job.id),
            unbroken=Basis.MEASURED if len(job.attempts) == 1 else Basis.MODELLED,
        )

    async def _delivered(self, job: Job, price: Series) -> DeliveredSeries | None:
        """Return what energy costs at the meter; None without one tariff for all of the job."""
        site = self._run_now.site(job).name
        if self._tariffs is None or {one.site for one in job.attempts} != {site}:
            return None
        try:
            return await asyncio.to_thread(
                self._tariffs.delivered,
                site,
                start=price.start,
                wholesale_gbp_per_mwh=price.values,
            )
        except (SourceError, ContractError) as error:
            log.warning("receipt of %s has no delivered cost: %s", job.id, error)
            return None

    async def _known(
        self,
        signal: Signal,
        regions: Sequence[str],
        used: Energy,
        compared: Energy,
        now: datetime,
    ) -> Series | None:
        """Return the outturns over both runs of a job; None while one is missing."""
        first, last = min({*used, *compared}), max({*used, *compared})
        for region in regions:
            series = await self._outturns.outturn(
                signal,
                region=region,
                source=USUAL_LEVEL_FROM[signal],
                start=first,
                half_hours=first.until(last) + 1,
                known_at=now,
            )
            if series is not None and _has_all(series, [*used, *compared]):
                return series
        return None

    async def _evidence(self, job_id: JobId) -> tuple[Evidence, ...]:
        logged = await self._ledger.find(
            EventType.JOB_CHANGED,
            EventType.OVERRIDE_MADE,
            EventType.METER_RECEIVED,
            subject=f"job:{job_id}",
        )
        return tuple(Evidence(one.index, one.leaf.hex()) for one in logged)


def _started(job: Job) -> bool:
    return any(attempt.started_at for attempt in job.attempts)


def _is_complete(job: Job, readings: Sequence[EnergyRow]) -> bool:
    """Whether the readings cover all the time that the job ran, to the second."""
    ran = job.run_time(job.ended_at or job.submitted_at)
    metered = timedelta(seconds=sum(row.running_s for row in readings))
    return abs(ran - metered) < timedelta(seconds=1)


def _by_half_hour(readings: Sequence[EnergyRow]) -> dict[HalfHour, float]:
    energy: dict[HalfHour, float] = {}
    for row in readings:
        half_hour = HalfHour.containing(row.start)
        energy[half_hour] = energy.get(half_hour, 0.0) + row.energy_kwh
    return energy


def _has_all(series: Series, half_hours: Sequence[HalfHour]) -> bool:
    return all(np.isfinite(_at(series, one)) for one in half_hours)


def _at(series: Series, half_hour: HalfHour) -> float:
    return float(series.values[series.start.until(half_hour)])


def _uses(
    used: Mapping[HalfHour, float],
    compared: Mapping[HalfHour, float],
    price: Series,
    intensity: Series,
    delivered: DeliveredSeries | None,
) -> tuple[HalfHourUse, ...]:
    def at_meter(half_hour: HalfHour) -> float | None:
        if delivered is None:
            return None
        return float(delivered.gbp_per_mwh[price.start.until(half_hour)])

    return tuple(
        HalfHourUse(
            half_hour=one,
            used_kwh=used.get(one, 0.0),
            run_now_kwh=compared.get(one, 0.0),
            price_gbp_per_mwh=_at(price, one),
            average_gco2_per_kwh=_at(intensity, one),
            delivered_gbp_per_mwh=at_meter(one),
        )
        for one in sorted({*used, *compared})
    )
