"""``/v1/settlement``: sites, readings, settlements, receipts, invoices and the ledger.

Everything that is sent here becomes an entry of the ledger, and everything that is answered is
computed from its entries. Amounts are text, so that they stay exact.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, Field

from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.market.reading_log import record_readings
from gridflex.adapters.market.receipt_store import ReceiptStore
from gridflex.errors import ContractError
from gridflex.halfhour import LONDON, HalfHour
from gridflex.jobs import JobId
from gridflex.ledger.event import Event, EventType
from gridflex.market.baselines.quality import PREDICTABILITY, PredictabilityLimits
from gridflex.market.billing.receipt_page import receipt_html
from gridflex.market.meter_files import ReadingsIn, read_csv
from gridflex.market.meters import MeterHistory, Reading, check_once, refuse_unfinished
from gridflex.market.policy import Dated
from gridflex.market.registration import refuse_unusable
from gridflex.market.registry import pair_key
from gridflex.market.registry_records import read_record, readings_of, registry_event, registry_of
from gridflex.market.settlement.authority import AUTHORITY, Authority
from gridflex.market.settlement.book import (
    DayTotal,
    SettlementBook,
    read_book,
    refuse_endless,
    settle_book,
    write_book,
    write_statement,
)
from gridflex.market.settlement.records import book_of, settlement_event
from gridflex.market.settlement.runs import NO_INTEREST, Run, TrueUp, true_ups
from gridflex.market.settlement.show_back import newest_shares
from gridflex.market.volumes import Rounding
from gridflex.market.working_days import calendar_around, first_and_last_of, half_hours_of
from gridflex.serve.baselines_api import create_baselines_router
from gridflex.serve.clock import Clock
from gridflex.serve.invoices_api import create_invoices_router
from gridflex.serve.known import Known
from gridflex.serve.ledger_api import create_ledger_router
from gridflex.serve.market_checks_api import create_market_checks_router
from gridflex.serve.parameters import (
    AccountName,
    EveryDay,
    FirstDay,
    JobName,
    LastDay,
    MeterName,
    OneDay,
    OnlyRun,
)
from gridflex.serve.positions_api import create_positions_router
from gridflex.serve.problems import ProblemError

NOT_YET: Final = (
    "has no signed receipt yet: it comes an hour after the job's end, when its last reading and "
    "prices are known"
)
MOST_RECORDS: Final = 5_000

REGISTERED: Final = (EventType.SITE_REGISTERED, EventType.CONSENT_RECORDED)
"""What the registry is made of."""


class Recorded(BaseModel):
    """Where what was sent is in the ledger.

    Attributes:
        indexes: Entries, in the order of what was sent; what was there already keeps its place.
    """

    indexes: list[int]


class ReadingsRecorded(Recorded):
    """Where readings are in the ledger.

    Attributes:
        new: How many were not there before.
        known: How many say what the newest version there says; they keep its place.
        unallocated: Meters that no allocation of the registry names, now or on any other day.
    """

    new: int
    known: int
    unallocated: list[str]


class RecordIn(BaseModel, extra="forbid"):
    """One record of the registry.

    Attributes:
        kind: ``site``, ``unit``, ``consent`` or ``allocation``.
        record: Its fields, as in docs/settlement.md.
    """

    kind: str
    record: dict[str, Any]


class RecordsIn(BaseModel, extra="forbid"):
    """Records of the registry, which must agree with each other and with those there are."""

    records: list[RecordIn] = Field(max_length=MOST_RECORDS)


class ReadingOut(BaseModel):
    """One half-hour of a meter.

    Attributes:
        half_hour: Start, UTC.
        net_import_mwh: Import less export; None in a gap.
        evidence: What kind of meter.
        is_substituted: Whether the data collector replaced a value.
        versions: How many versions arrived.
    """

    half_hour: str
    net_import_mwh: str | None
    evidence: str | None
    is_substituted: bool | None
    versions: int


class SharesOut(BaseModel):
    """An account's net, spread three ways; each adds up to the total.

    Attributes:
        total_gbp: The net, in whole pence.
        by_contract_gbp: Per flexibility contract: ``beckn:`` and its transaction where one moved
            the job, else the site's own (``energy.contract``) or ``wholesale:`` and the unit;
            ``portfolio`` for what no job explains.
        by_job_gbp: Per job; ``portfolio`` for what no job explains.
        by_team_gbp: Per team.
        used_more_mwh: Per job, what it used more than expected; it took no revenue.
    """

    total_gbp: Decimal
    by_contract_gbp: dict[str, Decimal]
    by_job_gbp: dict[str, Decimal]
    by_team_gbp: dict[str, Decimal]
    used_more_mwh: dict[str, Decimal]


def create_settlement_router(
    ledger: LedgerStore,
    receipts: ReceiptStore,
    clock: Clock,
    *,
    limits: Dated[PredictabilityLimits] = PREDICTABILITY,
    published: Mapping[tuple[date, Run], date] | None = None,
    interest: Dated[Decimal] = NO_INTEREST,
    authority: Authority = AUTHORITY,
) -> APIRouter:
    """Return the paths below ``/settlement``.

    Args:
        ledger: Where everything is kept.
        receipts: Receipts of jobs.
        clock: GridFlex time.
        limits: Within which a baseline must have met the meter for its unit to be sold.
        published: When runs pay by the published Settlement Calendar, by day; else as usual.
        interest: On the differences between runs, as a fraction per year.
        authority: Which figures of central reports count.
    """
    api = APIRouter(prefix="/settlement", tags=["settlement"])
    api.include_router(create_ledger_router(ledger))
    api.include_router(create_baselines_router(ledger, clock, limits=limits))
    api.include_router(create_market_checks_router(ledger, clock, authority=authority))
    api.include_router(create_positions_router(ledger, clock))
    api.include_router(create_invoices_router(ledger, clock, published=published or {}))
    known = Known(ledger, clock)
    _add_sites_and_meters(api, ledger, clock, known)
    _add_settlements(api, ledger, clock, known, published=published or {}, interest=interest)
    _add_receipts(api, receipts)
    return api


def _add_sites_and_meters(api: APIRouter, ledger: LedgerStore, clock: Clock, known: Known) -> None:
    @api.post("/registry")
    async def register(sent: RecordsIn) -> Recorded:
        """Register sites, units, consents and allocations.

        All of them or none: they must agree with each other and with what is registered already.
        """
        now = clock.now()
        records = [read_record(one.kind, one.record) for one in sent.records]
        events = [registry_event(one) for one in records]
        since = await ledger.size()
        registered = await _entries(ledger, *REGISTERED)
        coming = [{"event_type": one.event_type, "body": one.body} for one in events]
        made = registry_of([*registered, *coming], calendar=calendar_around(now.date()))
        for one in records:
            refuse_unusable(one, registry=made, today=now.astimezone(LONDON).date())
        _refuse_nothing(events)
        indexes = await ledger.append_unless_changed(events, now=now, since=since, kinds=REGISTERED)
        return Recorded(indexes=indexes)

    @api.get("/registry")
    async def registry() -> list[RecordIn]:
        """List what is registered, oldest first.

        Sites, units, consents and allocations, every version of each.
        """
        registered = await _entries(ledger, *REGISTERED)
        return [RecordIn(**entry["body"]) for entry in registered]

    @api.post("/readings")
    async def add_readings(sent: ReadingsIn) -> ReadingsRecorded:
        """Send readings of one meter.

        Of half-hours that are over. What is known already keeps its place in the ledger; what
        differs is a correction.
        """
        now = clock.now()
        return await _record_readings(ledger, sent.received(now), now)

    @api.post("/readings.csv")
    async def add_csv(text: Annotated[str, Body(media_type="text/csv")]) -> ReadingsRecorded:
        """Send readings as CSV.

        Of any meters, all of them or none. Columns: `meter`, `import_kwh`, and `start_utc` or
        `settlement_date` with `settlement_period`; optional `export_kwh`, `evidence` and
        `substituted`.
        """
        now = clock.now()
        return await _record_readings(ledger, read_csv(text, received_at=now), now)

    @api.get("/readings/{meter}")
    async def readings(meter: MeterName, day: OneDay) -> list[ReadingOut]:
        """Readings of a meter on one day.

        Net import (MWh) of every half-hour as it is known now, null in a gap, with the kind of
        meter and how many versions arrived.
        """
        found = await _entries(ledger, EventType.METER_RECEIVED, subject=f"meter:{meter}", day=day)
        history = MeterHistory.of(await known.meter(meter), readings_of(found))
        return [_reading(history, one, now=clock.now()) for one in half_hours_of(day)]


def _add_settlements(
    api: APIRouter,
    ledger: LedgerStore,
    clock: Clock,
    known: Known,
    *,
    published: Mapping[tuple[date, Run], date],
    interest: Dated[Decimal],
) -> None:
    @api.post("/books")
    async def add_book(request: Request) -> Recorded:
        """Settle a book.

        The body is the book as JSON; each half-hour becomes an entry of the ledger with its inputs
        and its outcome.
        """
        book = read_book(await request.body())
        refuse_endless(book)
        did = book.did()
        events = [
            settlement_event(one, contributions=did.get((one.account, one.half_hour), ()))
            for one in book.periods
        ]
        return await _record(ledger, events, clock.now())

    @api.get("/book", response_class=Response)
    async def book(day: EveryDay = None) -> Response:
        """Download the inputs of settlements.

        As a book for `gridflex settle --book`, which computes the same outcome from it offline.
        """
        found = await _book(ledger, day)
        return Response(write_book(found), media_type="application/json")

    @api.get("/days")
    async def days(day: EveryDay = None, run: OnlyRun = None) -> list[DayTotal]:
        """Totals by settlement day and run.

        Energy delivered and sold (MWh), and what it earned (GBP).
        """
        outcome = settle_book(await _book(ledger, day))
        return [one for one in outcome.days if run in {None, one.run}]

    @api.get("/half-hours")
    async def half_hours(day: OneDay, run: OnlyRun = None) -> list[dict[str, Any]]:
        """Settled half-hours of one day.

        What was expected and metered (MWh) and paid (GBP) in each, by run.
        """
        outcome = settle_book(await _book(ledger, day))
        results = json.loads(write_statement(outcome))["results"]
        return [one for one in results if run is None or one["run"] == run]

    @api.get("/true-ups")
    async def differences(account: AccountName) -> list[TrueUp]:
        """What later settlement runs changed.

        What each paying run changed against the one before (GBP), on the day on which it pays.
        """
        await known.account(account)
        outcome = settle_book(await _book(ledger, None))
        calendar = calendar_around(clock.now().date())
        cash = outcome.cash(account, calendar=calendar, published=published)
        return true_ups(cash, interest_fraction_per_year=interest)

    @api.get("/shares")
    async def shares(account: AccountName, first: FirstDay, last: LastDay) -> SharesOut:
        """What contracts, jobs and teams earned.

        An account's net (GBP) spread three ways, each half-hour in its newest paying run.
        """
        await known.account(account)
        span = first_and_last_of(first, last)
        found = await ledger.find(EventType.SETTLEMENT_RUN, first=span[0], last=span[1])
        book = book_of(one.event for one in found)
        made = newest_shares(book, account=account, rounding=Rounding())
        return SharesOut(
            total_gbp=made.total_gbp,
            by_contract_gbp=dict(made.by_contract),
            by_job_gbp=dict(made.by_job),
            by_team_gbp=dict(made.by_team),
            used_more_mwh=dict(made.negative_mwh),
        )


def _add_receipts(api: APIRouter, receipts: ReceiptStore) -> None:
    @api.get("/receipts")
    async def listed() -> list[JobId]:
        """List jobs with a receipt.

        Their submission ids, the last receipt that was issued first.
        """
        return await receipts.jobs()

    @api.get("/receipts/{job_id}", response_class=JSONResponse)
    async def receipt(job_id: JobName, request: Request) -> Response:
        """A job's receipt with its proof.

        JSON for `gridflex settle verify`, or a page where the request says `Accept: text/html`.
        """
        found = await receipts.newest(JobId(job_id))
        if found is None:
            is_known = await receipts.is_known(JobId(job_id))
            why = NOT_YET if is_known else "does not exist, or is not flexible"
            raise ProblemError(HTTPStatus.NOT_FOUND, f"job {job_id} {why}")
        if request.headers.get("accept", "").startswith("text/html"):
            return HTMLResponse(receipt_html(found))
        return JSONResponse(found.as_json())


async def _record(ledger: LedgerStore, events: Sequence[Event], now: datetime) -> Recorded:
    _refuse_nothing(events)
    return Recorded(indexes=await ledger.append(events, now=now))


async def _record_readings(
    ledger: LedgerStore, readings: Iterable[Reading], now: datetime
) -> ReadingsRecorded:
    sent = check_once(readings)
    refuse_unfinished(sent)
    registered = await _entries(ledger, *REGISTERED)
    registry = registry_of(registered, calendar=calendar_around(now.date()))
    allocated = {pair_key(one.pair) for one in registry.allocations}
    _refuse_nothing(sent)
    indexes, new = await record_readings(ledger, sent, now=now)
    return ReadingsRecorded(
        indexes=indexes,
        new=new,
        known=len(indexes) - new,
        unallocated=sorted({one.meter for one in sent} - allocated),
    )


def _refuse_nothing(events: Sequence[Event | Reading]) -> None:
    if not events:
        raise ContractError("there is nothing to record")


async def _entries(
    ledger: LedgerStore, *kinds: EventType, subject: str | None = None, day: date | None = None
) -> list[dict[str, Any]]:
    span = half_hours_of(day) if day else ()
    found = await ledger.find(
        *kinds,
        subject=subject,
        first=span[0] if span else None,
        last=span[-1] if span else None,
    )
    return [one.event for one in found]


async def _book(ledger: LedgerStore, day: date | None) -> SettlementBook:
    return book_of(await _entries(ledger, EventType.SETTLEMENT_RUN, day=day))


def _reading(history: MeterHistory, half_hour: HalfHour, *, now: datetime) -> ReadingOut:
    found: Reading | None = history.at(half_hour, known_at=now)
    return ReadingOut(
        half_hour=str(half_hour),
        net_import_mwh=str(found.net.mwh) if found else None,
        evidence=found.evidence.value if found else None,
        is_substituted=found.is_substituted if found else None,
        versions=len(history.versions.get(half_hour, ())),
    )
