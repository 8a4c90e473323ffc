"""What the ledger says about meters and units, as far as baselines need it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Final

from gridflex.adapters.ledger.store import LedgerStore
from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import Entry, EventType
from gridflex.market.baselines.engine import History
from gridflex.market.baselines.honesty import Facts, cap_changes_of, outcomes
from gridflex.market.baselines.quality import (
    Predictability,
    PredictabilityLimits,
    submitted_predictability,
    weakest,
)
from gridflex.market.baselines.quality import predictability as rule_predictability
from gridflex.market.baselines.rules import RULES
from gridflex.market.baselines.submitted import CapChange
from gridflex.market.baselines.waivers import Waiver, waiver_on
from gridflex.market.meters import METERED, Evidence, MeterHistory
from gridflex.market.registration import is_connection
from gridflex.market.registry import (
    Allocation,
    BaselineIndicator,
    MeteredSite,
    Msid,
    Registry,
    UnitId,
    pair_key,
)
from gridflex.market.registry_records import event_days_of, readings_of, registry_of
from gridflex.market.volumes import NO_IMPORT, ZERO, ImportMWh
from gridflex.market.working_days import DAY, calendar_around, first_and_last_of

LOOK_BACK: Final = timedelta(days=120)
"""Of readings: the longest look-back of a rule, and as long again to judge it by."""

JUDGED_BY: Final = 60
"""Days before a day by which its baseline is judged."""

EVENING: Final = range(32, 40)
"""Positions in the day at which a computed baseline is judged: 16:00 to 20:00 in London."""

PLANS_BEFORE: Final = 48
"""Half-hours before the first day from which the log of power caps is read."""


class BaselineFacts:
    """Reads what baselines are computed and judged from.

    Args:
        ledger: Where everything is recorded.
    """

    def __init__(self, ledger: LedgerStore) -> None:
        self._ledger = ledger

    async def history(self, meter: Msid, day: date, *, now: datetime) -> History:
        """Return the readings up to ``day``, as they are known ``now``."""
        known = await self._readings(meter, day - LOOK_BACK, day)
        declared = await self._ledger.find(EventType.CONFIG_CHANGED, subject=f"meter:{meter}")
        days = {at.settlement[0] for at in known.versions}
        return History(
            load={one: known.load_mwh(one, known_at=now) for one in days},
            calendar=calendar_around(day),
            event_days=event_days_of((one.event for one in declared), meter=meter),
        )

    async def activated(self, meter: Msid, day: date, *, now: datetime) -> frozenset[date]:
        """Return the days on which something was sold of the meter's unit."""
        registry = await self.registry(now)
        units = {one.unit for one in registry.allocations if pair_key(one.pair) == meter}
        first, last = first_and_last_of(day - LOOK_BACK, day)
        found = await self._ledger.find(EventType.ECVN_SUBMITTED, first=first, last=last)
        return frozenset(
            HalfHour.parse(row["half_hour"]).settlement[0]
            for one in found
            for row in one.event["body"]["positions"]
            if row["unit"] in units
        )

    async def facts(
        self,
        unit: UnitId,
        *,
        first: date,
        last: date,
        now: datetime,
        cap_changes: Sequence[CapChange] | None = None,
    ) -> Facts:
        """Return what the honesty tests judge.

        Args:
            unit: Which unit.
            first: First settlement day.
            last: Last settlement day.
            now: GridFlex time.
            cap_changes: The log of power caps; None takes the ledger's.

        Raises:
            ContractError: The unit has no meters, or the days are out of order.
        """
        begin, _ = first_and_last_of(first, last)
        registry = await self.registry(now)
        pairs = [one for one in registry.allocations if one.unit == unit]
        if not pairs:
            raise ContractError(f"unit {unit} has no meters in the registry")
        metered = await self._metered(
            pairs, first - LOOK_BACK, last, now, evidence=frozenset(Evidence)
        )
        sites = {site.name: site for site in (registry.site_of(one.pair) for one in pairs)}
        return Facts(
            unit=unit,
            entries=await self._entries(unit, first, last),
            metered=metered,
            connection_mw=_connection_mw(sites.values()),
            history=[net for at, net in metered.items() if at < begin],
            cap_changes=await self._caps(begin) if cap_changes is None else cap_changes,
        )

    async def predictability(
        self, unit: UnitId, *, day: date, limits: PredictabilityLimits, now: datetime
    ) -> Predictability:
        """Return how well the baseline that a unit is settled by on a day met the days before.

        Args:
            unit: Which unit.
            day: Settlement day on which it is to be traded.
            limits: What is good enough.
            now: GridFlex time.

        Raises:
            ContractError: The registry does not know the unit or does not agree with itself.
        """
        allocations = (await self.registry(now)).in_unit(unit, day=day)
        by_rule = [one for one in allocations if one.indicator is BaselineIndicator.BASELINED]
        submitted = [one for one in allocations if one.indicator is BaselineIndicator.SUBMITTED]
        found = [await self._by_rule(one, day, limits, now) for one in by_rule]
        if submitted or not found:
            found.append(await self._submitted(unit, submitted, day, limits, now))
        return weakest(found)

    async def waiver(self, unit: UnitId, *, day: date) -> Waiver | None:
        """Return who may trade a unit on a day however its baseline is judged; None if nobody."""
        found = await self._ledger.find(EventType.OVERRIDE_MADE, subject=f"unit:{unit}")
        return waiver_on((one.event for one in found), day=day)

    async def newest_reading(self) -> int | None:
        """Return the index of the reading that was recorded last; None without any."""
        found = await self._ledger.newest(EventType.METER_RECEIVED)
        return None if found is None else found.index

    async def registry(self, now: datetime) -> Registry:
        """Return the sites, units, consents and allocations, as they are recorded."""
        known = await self._ledger.find(EventType.SITE_REGISTERED, EventType.CONSENT_RECORDED)
        return registry_of((one.event for one in known), calendar=calendar_around(now.date()))

    async def _by_rule(
        self, allocation: Allocation, day: date, limits: PredictabilityLimits, now: datetime
    ) -> Predictability:
        rule = RULES[allocation.methodology or ""]
        history = await self.history(Msid(pair_key(allocation.pair)), day, now=now)
        return rule_predictability(
            rule,
            days=[day - back * DAY for back in range(1, JUDGED_BY + 1)],
            window=EVENING,
            history=history,
            limits=limits,
        )

    async def _submitted(
        self,
        unit: UnitId,
        pairs: Sequence[Allocation],
        day: date,
        limits: PredictabilityLimits,
        now: datetime,
    ) -> Predictability:
        first, last = day - JUDGED_BY * DAY, day - DAY
        facts = Facts(
            unit=unit,
            entries=await self._entries(unit, first, last),
            metered=await self._metered(pairs, first, last, now, evidence=METERED),
            connection_mw=None,
            history=(),
            cap_changes=None,
        )
        return submitted_predictability(outcomes(facts), limits=limits)

    async def _entries(self, unit: UnitId, first: date, last: date) -> list[tuple[int, Entry]]:
        begin, end = first_and_last_of(first, last)
        entries = await self._ledger.find(
            EventType.BASELINE_COMPUTED, EventType.SEV_SUBMITTED,
            subject=f"unit:{unit}", first=begin, last=end,
        )  # fmt: skip
        return [(one.index, one.event) for one in entries]

    async def _metered(
        self,
        pairs: Sequence[Allocation],
        first: date,
        last: date,
        now: datetime,
        *,
        evidence: Collection[Evidence],
    ) -> dict[HalfHour, ImportMWh]:
        histories = [await self._readings(Msid(pair_key(one.pair)), first, last) for one in pairs]
        return dict(_summed(histories, now, frozenset(evidence)))

    async def _caps(self, first: HalfHour) -> list[CapChange] | None:
        """Return the ledger's changes of power caps, from a day before ``first`` on."""
        plans = await self._ledger.find(
            EventType.PLAN_COMMITTED, first=first + -PLANS_BEFORE, limit=1
        )
        since = plans[0].index if plans else 0
        found = await self._ledger.find(EventType.JOB_CHANGED, since=since)
        return cap_changes_of(one.event for one in found)

    async def _readings(self, meter: Msid, start: date, end: date) -> MeterHistory:
        first, last = first_and_last_of(start, end)
        found = await self._ledger.find(
            EventType.METER_RECEIVED, subject=f"meter:{meter}", first=first, last=last
        )
        return MeterHistory.of(meter, readings_of(one.event for one in found))


def _connection_mw(sites: Iterable[MeteredSite]) -> Decimal | None:
    """Return the capacity of sites; None where a ledger has one that is no capacity."""
    each = [one.connection_mw for one in sites]
    if not all(map(is_connection, each)):
        return None
    return sum((Decimal(str(one)) for one in each), ZERO)


def _summed(
    histories: Sequence[MeterHistory], now: datetime, evidence: frozenset[Evidence]
) -> Iterable[tuple[HalfHour, ImportMWh]]:
    """Yield the net import of a unit where all its meters have a reading."""
    common = set.intersection(*(set(one.versions) for one in histories)) if histories else set()
    for at in sorted(common):
        readings = [one.at(at, known_at=now) for one in histories]
        known = [one for one in readings if one is not None and one.evidence in evidence]
        if len(known) == len(histories):
            yield at, sum((one.net for one in known), NO_IMPORT)
