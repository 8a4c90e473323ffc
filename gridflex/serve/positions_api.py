"""``/v1/settlement``: what was sent about each half-hour, what threatens it, and what it claims."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.market.given_up_log import GivenUpLog
from gridflex.adapters.market.position_book import PositionBook, TrackedPosition, raised
from gridflex.halfhour import HalfHour
from gridflex.market.days import SettlementDay
from gridflex.market.messages.artefacts import ArtefactKind
from gridflex.market.messages.deadlines import deadline
from gridflex.market.settlement.given_up import LateOrder
from gridflex.market.settlement.runs import Run
from gridflex.market.trading.alarms import AHEAD, WATCHED, Urgency
from gridflex.market.trading.position import Stage, Status
from gridflex.market.volumes import ZERO
from gridflex.market.working_days import (
    WorkingCalendar,
    calendar_around,
    first_and_last_of,
    half_hours_of,
)
from gridflex.serve.clock import Clock
from gridflex.serve.known import Known
from gridflex.serve.parameters import FirstDay, LastDay, OneDay

OneUnit = Annotated[str | None, Query(description="Secondary BM Unit; every one if left out.")]


class MessageOut(BaseModel):
    """One message about a position.

    Attributes:
        status: none, logged, sent, received, accepted or rejected.
        mwh: What it says, with the sign of its flow; null for an activity notice.
        due: By when it must have arrived.
        sent_at: When it was last sent.
        attempts: How often.
        reason: Why it was rejected, or what the receipt found.
        index: Of its entry in the ledger.
    """

    status: Status
    mwh: Decimal | None
    due: datetime
    sent_at: datetime | None
    attempts: int
    reason: str
    index: int | None


class PositionOut(BaseModel):
    """One unit in one half-hour.

    Attributes:
        unit: Secondary BM Unit.
        start: Of the half-hour.
        stage: How far it has come, from ``planned`` to the newest settlement run.
        gate_closes: From when nothing of it can be changed.
        expected_mwh: Delivery that the plan expected.
        most_mwh: Most of it that may be sold.
        sold_mwh: What the contract notices say is sold.
        counts: Whether a deviation is measured, as far as the answers tell.
        messages: By kind: wman, sev, ecvn, dvn.
    """

    unit: str
    start: str
    stage: Stage
    gate_closes: datetime
    expected_mwh: Decimal
    most_mwh: Decimal
    sold_mwh: Decimal
    counts: bool
    messages: dict[ArtefactKind, MessageOut]


class AlarmOut(BaseModel):
    """A message that may miss its deadline, or did.

    Attributes:
        unit: Secondary BM Unit.
        start: Of the half-hour.
        message: wman, sev, ecvn or dvn.
        urgency: calm (rejected, but with time left), warning, critical or missed.
        due: The deadline.
        left_s: Seconds until then; negative after it.
        problem: What is wrong.
        consequence: What happens if nobody acts.
    """

    unit: str
    start: str
    message: ArtefactKind
    urgency: Urgency
    due: datetime
    left_s: float
    problem: str
    consequence: str


class DeliveryOut(BaseModel):
    """What one unit may claim as delivered in one half-hour.

    Attributes:
        unit: Secondary BM Unit.
        start: Of the half-hour.
        expected_import_mwh: Committed before gate closure.
        delivered_mwh: Less import than that, by meter; empty where no reading counts.
        unclaimed_mwh: Deviation that rests on a reading which backs no claim.
        why_not: Why something is not claimed.
        notified_mwh: What the newest notification says; null without one.
        status: Of that notification.
        due: By when it must have arrived.
    """

    unit: str
    start: str
    expected_import_mwh: Decimal
    delivered_mwh: dict[str, Decimal]
    unclaimed_mwh: Decimal
    why_not: list[str]
    notified_mwh: Decimal | None
    status: Status
    due: datetime


class GivenUpOut(BaseModel):
    """A settlement run that is not tried any more and left half-hours that nobody settled since.

    Attributes:
        unit: Secondary BM Unit.
        day: Settlement day.
        run: Which run.
        missing: What it lacked when it was given up.
        half_hours: Those that are left.
    """

    unit: str
    day: date
    run: Run
    missing: str
    half_hours: list[str]


class LateIn(BaseModel, extra="forbid"):
    """A run that is to be settled although its time is over.

    Attributes:
        unit: Secondary BM Unit.
        day: Settlement day.
        run: Which run.
        reason: Why, and who decided it.
    """

    unit: str
    day: SettlementDay
    run: Run
    reason: str = Field(min_length=1, max_length=1000)


def create_positions_router(ledger: LedgerStore, clock: Clock) -> APIRouter:
    """Return the paths of positions, alarms and claims of delivery."""
    api = APIRouter()
    today = clock.now().date()
    calendar = calendar_around(today)
    book = PositionBook(ledger, calendar=calendar)
    abandoned = GivenUpLog(ledger)
    known = Known(ledger, clock)

    @api.get("/positions")
    async def positions(first: FirstDay, last: LastDay, unit: OneUnit = None) -> list[PositionOut]:
        """How far each traded half-hour has come.

        What was planned and sold (MWh), and where each message about it stands, as the ledger has
        it.
        """
        if unit is not None:
            await known.unit(unit)
        begin, end = first_and_last_of(first, last)
        found = await book.positions(first=begin, last=end)
        now = clock.now()
        return [_position(one, now, calendar) for one in found if unit in {None, one.position.unit}]

    @api.get("/alarms")
    async def threatened() -> list[AlarmOut]:
        """Messages that may miss their deadline, or did.

        What is missing, rejected or unanswered now, the most pressing first, with the
        seconds left and what happens if nobody acts.
        """
        now = clock.now()
        running = HalfHour.containing(now)
        oldest = HalfHour.containing(now - WATCHED)
        found = await book.positions(first=oldest, last=running + AHEAD)
        return [
            AlarmOut(
                unit=one.unit,
                start=str(one.half_hour),
                message=one.kind,
                urgency=one.urgency,
                due=one.due,
                left_s=(one.due - now).total_seconds(),
                problem=one.problem,
                consequence=one.consequence,
            )
            for one in raised(found, now=now, calendar=calendar)
        ]

    @api.get("/deliveries")
    async def deliveries(day: OneDay) -> list[DeliveryOut]:
        """What may be claimed as delivered in a day.

        By unit, half-hour and meter (MWh), with what was notified and why something is not
        claimed.
        """
        span = half_hours_of(day)
        found = await book.positions(first=span[0], last=span[-1])
        return [_delivery(one, calendar) for one in found]

    @api.get("/given-up")
    async def given_up() -> list[GivenUpOut]:
        """Settlement runs that were given up.

        What each lacked for too long, and its half-hours that nobody settled since.
        """
        known = [(one, await abandoned.open_half_hours(one)) for one in await abandoned.given_up()]
        return [
            GivenUpOut(
                unit=one.unit,
                day=one.day,
                run=one.run,
                missing=one.missing,
                half_hours=[str(at) for at in left],
            )
            for one, left in known
            if left
        ]

    @api.post("/late")
    async def settle_late(sent: LateIn) -> dict[str, int]:
        """Have a given-up run settled after all.

        As soon as its data are there; recorded as an override, with the reason. Refused for any
        other run: an earlier one is not settled after a later one.
        """
        order = LateOrder(await known.unit(sent.unit), sent.day, sent.run, sent.reason)
        return {"index": await abandoned.order(order, now=clock.now())}

    return api


def _position(one: TrackedPosition, now: datetime, calendar: WorkingCalendar) -> PositionOut:
    position = one.position
    messages = {}
    for kind in ArtefactKind:
        track = position.track(kind)
        messages[kind] = MessageOut(
            status=track.status,
            mwh=track.mwh,
            due=deadline(kind, half_hour=position.half_hour, calendar=calendar),
            sent_at=track.sent_at,
            attempts=track.attempts,
            reason=track.reason,
            index=track.ledger_index,
        )
    return PositionOut(
        unit=position.unit,
        start=str(position.half_hour),
        stage=position.stage(now),
        gate_closes=messages[ArtefactKind.WMAN].due,
        expected_mwh=position.expected_mwh,
        most_mwh=position.most_mwh,
        sold_mwh=position.sold_mwh,
        counts=position.counts,
        messages=messages,
    )


def _delivery(one: TrackedPosition, calendar: WorkingCalendar) -> DeliveryOut:
    position, claimed = one.position, one.claim
    track = position.track(ArtefactKind.DVN)
    reasons = list(claimed.reasons) if claimed else ["not one submitted pair in the registry"]
    return DeliveryOut(
        unit=position.unit,
        start=str(position.half_hour),
        expected_import_mwh=one.expected.mwh,
        delivered_mwh=claimed.by_meter(position.half_hour) if claimed else {},
        unclaimed_mwh=claimed.unclaimed.mwh if claimed else ZERO,
        why_not=reasons,
        notified_mwh=track.mwh,
        status=track.status,
        due=deadline(ArtefactKind.DVN, half_hour=position.half_hour, calendar=calendar),
    )
