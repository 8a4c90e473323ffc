"""What the ledger says about meters and units, as far as baselines need it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from pydantic import AwareDatetime, BaseModel, Field

from gridflex.adapters.ledger_store import LedgerStore
from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import EventType
from gridflex.market.baseline import BaselineDay, History, baseline
from gridflex.market.baseline import Event as Activation
from gridflex.market.baseline_report import baseline_json
from gridflex.market.baseline_rules import RULES, Rule, Trigger
from gridflex.market.baseline_same_day import PJM_SAME_DAY_3_2, same_day_baseline
from gridflex.market.honesty import Facts, cap_changes_of
from gridflex.market.meters import MeterHistory
from gridflex.market.records import event_days_of, readings_of, registry_of
from gridflex.market.registry import Msid, Registry, UnitId, pair_key
from gridflex.market.submitted import CapChange
from gridflex.market.volumes import NO_IMPORT, ZERO, ImportMWh, Rounding
from gridflex.market.working_days import calendar_around, half_hours_of
from gridflex.serve.clock import Clock

LOOK_BACK: Final = timedelta(days=120)
"""Of readings: the longest look-back of a rule, and as long again to judge it by."""

PLANS_BEFORE: Final = 48
"""Half-hours before the first day from which the log of power caps is read."""


class ActivationIn(BaseModel, extra="forbid"):
    """For which day a baseline is wanted, and for which activation.

    Attributes:
        day: Settlement day.
        rule: Name of the rule.
        event_start: First half-hour of the activation; None for no adjustment.
        event_half_hours: How long it lasts.
        trigger: What the market knows about the unit in it.
    """

    day: date
    rule: str = "BL01"
    event_start: str | None = None
    event_half_hours: int = Field(default=1, ge=1, le=50)
    trigger: Trigger = Trigger.WHOLESALE_ONLY


class CapChangeIn(BaseModel, extra="forbid"):
    """A change of a job's power cap.

    Attributes:
        at: When.
        job: Which job.
        from_kw: Before.
        to_kw: After.
    """

    at: AwareDatetime
    job: str
    from_kw: float
    to_kw: float


class HonestyIn(BaseModel, extra="forbid"):
    """Which commitments are judged.

    Attributes:
        unit: Which unit.
        first: First settlement day.
        last: Last settlement day.
        cap_changes: The log of power caps; None takes the ledger's.
    """

    unit: str
    first: date
    last: date
    cap_changes: list[CapChangeIn] | None = None


class BaselineBooks:
    """What the ledger says about meters and units."""

    def __init__(self, ledger: LedgerStore, clock: Clock) -> None:
        self.ledger = ledger
        self.clock = clock

    async def history(self, meter: Msid, day: date) -> History:
        """Return the readings up to ``day``, as they are known now."""
        known = await self._readings(meter, day - LOOK_BACK, day)
        declared = await self.ledger.find(EventType.CONFIG_CHANGED, subject=f"meter:{meter}")
        now = self.clock.now()
        days = {at.settlement[0] for at in known.versions}
        return History(
            load={one: known.load_mwh(one, known_at=now) for one in days},
            calendar=calendar_around(day),
            event_days=event_days_of((one.event for one in declared), meter=meter),
        )

    async def baseline(self, meter: Msid, sent: ActivationIn) -> dict[str, Any]:
        """Return a meter's baseline as it is shown."""
        history = await self.history(meter, sent.day)
        event = None
        if sent.event_start is not None:
            event = Activation(HalfHour.parse(sent.event_start), sent.event_half_hours)
        made = (
            _same_day(sent.day, event, history)
            if sent.rule == PJM_SAME_DAY_3_2.name
            else baseline(
                rule_named(sent.rule),
                day=sent.day,
                history=history,
                event=event,
                trigger=sent.trigger,
            )
        )
        return baseline_json(made, meter=meter, history=history, rounding=Rounding())

    async def activated(self, meter: Msid, day: date) -> frozenset[date]:
        """Return the days on which something was sold of the meter's unit."""
        registry = await self._registry()
        units = {one.unit for one in registry.allocations if pair_key(one.pair) == meter}
        first, last = _span(day - LOOK_BACK, day)
        found = await self.ledger.find(EventType.ECVN_SUBMITTED, first=first, last=last)
        return frozenset(
            HalfHour.parse(row["half_hour"]).settlement[0]
            for one in found
            for row in one.event["body"]["positions"]
            if row["unit"] in units
        )

    async def facts(self, sent: HonestyIn) -> Facts:
        """Return what the honesty tests judge.

        Raises:
            ContractError: The unit has no meters, or the days are out of order.
        """
        if sent.last < sent.first:
            raise ContractError(f"last {sent.last} is before first {sent.first}")
        registry = await self._registry()
        pairs = [one for one in registry.allocations if one.unit == sent.unit]
        if not pairs:
            raise ContractError(f"unit {sent.unit} has no meters in the registry")
        histories = [
            await self._readings(Msid(pair_key(one.pair)), sent.first - LOOK_BACK, sent.last)
            for one in pairs
        ]
        first, last = _span(sent.first, sent.last)
        entries = await self.ledger.find(
            EventType.BASELINE_COMPUTED, EventType.SEV_SUBMITTED,
            subject=f"unit:{sent.unit}", first=first, last=last,
        )  # fmt: skip
        now = self.clock.now()
        metered = dict(_summed(histories, now))
        given = sent.cap_changes
        sites = {registry.site_of(one.pair).name: registry.site_of(one.pair) for one in pairs}
        return Facts(
            unit=UnitId(sent.unit),
            entries=[(one.index, one.event) for one in entries],
            metered=metered,
            connection_mw=sum((Decimal(str(one.connection_mw)) for one in sites.values()), ZERO),
            history=[net for at, net in metered.items() if at < first],
            cap_changes=await self._caps(first)
            if given is None
            else [CapChange(one.at, one.job, one.from_kw, one.to_kw) for one in given],
        )

    async def _caps(self, first: HalfHour) -> list[CapChange] | None:
        """Return the ledger's changes of power caps, from a day before ``first`` on."""
        plans = await self.ledger.find(
            EventType.PLAN_COMMITTED, first=first + -PLANS_BEFORE, limit=1
        )
        since = plans[0].index if plans else 0
        found = await self.ledger.find(EventType.JOB_CHANGED, since=since)
        return cap_changes_of(one.event for one in found)

    async def _registry(self) -> Registry:
        known = await self.ledger.find(EventType.SITE_REGISTERED, EventType.CONSENT_RECORDED)
        today = self.clock.now().date()
        calendar = calendar_around(today)
        return registry_of((one.event for one in known), calendar=calendar)

    async def _readings(self, meter: Msid, start: date, end: date) -> MeterHistory:
        first, last = _span(start, end)
        found = await self.ledger.find(
            EventType.METER_RECEIVED, subject=f"meter:{meter}", first=first, last=last
        )
        return MeterHistory.of(meter, readings_of(one.event for one in found))


def _summed(
    histories: Iterable[MeterHistory], now: datetime
) -> Iterable[tuple[HalfHour, ImportMWh]]:
    """Yield the net import of a unit where all its meters have a reading."""
    known = list(histories)
    for at in sorted(set.intersection(*(set(one.versions) for one in known))):
        readings = [one.at(at, known_at=now) for one in known]
        yield at, sum((one.net for one in readings if one), NO_IMPORT)


def _same_day(day: date, event: Activation | None, history: History) -> BaselineDay:
    """Return a baseline from the hours around the event; it holds only in the event."""
    if event is None:
        raise ContractError(f"rule {PJM_SAME_DAY_3_2.name} needs event_start")
    load = {
        at: value
        for one, values in history.load.items()
        for at, value in zip(half_hours_of(one), values, strict=True)
        if value is not None
    }
    level = same_day_baseline(PJM_SAME_DAY_3_2, event=event, load=load)
    outturn = [load.get(at) for at in half_hours_of(day)]
    values = tuple(
        level if i in event.indices() else (None if real is None else Fraction(real))
        for i, real in enumerate(outturn)
    )
    return BaselineDay(
        rule=PJM_SAME_DAY_3_2.name,
        day=day,
        is_defined=True,
        eligible=(),
        selected=(day,),
        excluded={},
        unadjusted=values,
        move=None,
        adjusted=values,
        values=values,
    )


def rule_named(name: str) -> Rule:
    """Return a rule by its name.

    Raises:
        ContractError: There is none; the message names those there are.
    """
    try:
        return RULES[name]
    except KeyError as error:
        valid = ", ".join([*RULES, PJM_SAME_DAY_3_2.name])
        raise ContractError(f"rule {name!r} is not valid; valid are {valid}") from error


def _span(first: date, last: date) -> tuple[HalfHour, HalfHour]:
    return half_hours_of(first)[0], half_hours_of(last)[-1]
