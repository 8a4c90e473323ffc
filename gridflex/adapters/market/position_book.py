"""Where every message about every half-hour stands, as the ledger has it.

Whoever sends messages records them first, and every answer; whoever wants to know how they stand
follows the entries, and needs nothing of the sender, not even that it is alive.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from gridflex.adapters.ledger.store import LedgerStore, Logged
from gridflex.adapters.market.traded_entries import open_since, start_of_day, traded_entries
from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import EventType
from gridflex.market.baselines.commitments import Committed
from gridflex.market.messages.artefacts import ArtefactKind, channels_of
from gridflex.market.messages.drafts import Key
from gridflex.market.meters import MeterHistory, Reading
from gridflex.market.registry import Allocation, Msid, Registry, UnitId, pair_key
from gridflex.market.registry_records import readings_of, registry_of
from gridflex.market.settlement.records import settlement_inputs
from gridflex.market.trading.alarms import Alarm, AlarmLimits, alarms
from gridflex.market.trading.delivery import Claim, PairOutturn, claim
from gridflex.market.trading.desk import TradingDesk
from gridflex.market.trading.position import Metered, Position, Settled, Status, advance
from gridflex.market.trading.reconciliation import Trade
from gridflex.market.trading.records import trades_of
from gridflex.market.trading.restoring import TRADED, ordering_unit, restore
from gridflex.market.volumes import ExportMWh, ImportMWh, Rounding
from gridflex.market.working_days import WorkingCalendar

log = logging.getLogger(__name__)

BATCH: Final = 5_000
FOLLOWED: Final = (*TRADED, EventType.ACK_RECEIVED, EventType.SETTLEMENT_RUN)
_SOMEBODY: Final = "SENDER"
"""Names the sender in files that are made again only for their numbers."""


@dataclass(frozen=True, slots=True)
class TrackedPosition:
    """A position, with what became of its half-hour.

    Args:
        position: Its messages, its metering and its newest settlement run.
        expected: Import that was committed for it.
        submitted: The same as its unit's expected volume, at the grid supply point.
        claim: What may be notified as delivered; None where the registry has no submitted pair
            of the unit, or several: the commitment is the unit's, and how its pairs share it is
            not recorded.
        reading: Newest reading of its pair; None without one, and where ``claim`` is.
        trades: Its sales that are recorded.
    """

    position: Position
    expected: ImportMWh
    submitted: ExportMWh
    claim: Claim | None
    reading: Reading | None = None
    trades: tuple[Trade, ...] = ()

    @property
    def is_sold(self) -> bool:
        """Whether a sale of it is recorded."""
        return bool(self.trades)


def raised(
    tracked: Iterable[TrackedPosition],
    *,
    now: datetime,
    calendar: WorkingCalendar,
    limits: AlarmLimits | None = None,
) -> list[Alarm]:
    """Return the alarms about positions, the most pressing first.

    A contract notice that was never sent is missed only where something was sold.

    Args:
        tracked: The positions.
        now: Aware UTC.
        calendar: Working days.
        limits: When to warn; None for the usual ones.
    """
    known = {_key(one.position): one for one in tracked}
    found = alarms(
        [one.position for one in known.values()], now=now, calendar=calendar, limits=limits
    )
    return [one for one in found if not _is_unsold(known[one.unit, one.half_hour], one.kind)]


class PositionBook:
    """Follows the ledger; each call reads what is new since the one before.

    It follows what may still change. What is older is read again when it is asked for.

    Args:
        ledger: Where everything is recorded.
        calendar: Working days.
    """

    def __init__(self, ledger: LedgerStore, *, calendar: WorkingCalendar) -> None:
        self._ledger = ledger
        self._calendar = calendar
        self._followed: _Followed | None = None
        self._reading = asyncio.Lock()

    async def positions(self, *, first: HalfHour, last: HalfHour) -> list[TrackedPosition]:
        """Return the positions of some half-hours, by half-hour and unit.

        Args:
            first: First half-hour.
            last: Last half-hour, included.

        Raises:
            SourceError: The database cannot be reached.
            ContractError: The registry does not agree with itself.
        """
        known = await self._known(first, last)
        registry = await self.registry()
        wanted = [one for one in known.desk.positions if first <= one.half_hour <= last]
        pairs = {
            _key(one): registry.submitted(one.unit, day=one.half_hour.settlement[0])
            for one in wanted
        }
        meters = {Msid(pair_key(one.pair)) for some in pairs.values() for one in some}
        readings = {meter: await self._history(meter, first, last) for meter in sorted(meters)}
        return [known.tracked(one, pairs[_key(one)], readings, registry) for one in wanted]

    async def registry(self) -> Registry:
        """Return the sites, units, consents and allocations, as they are recorded.

        Raises:
            SourceError: The database cannot be reached.
            ContractError: They do not agree with each other.
        """
        found = await self._ledger.find(EventType.SITE_REGISTERED, EventType.CONSENT_RECORDED)
        return registry_of([one.event for one in found], calendar=self._calendar)

    async def _history(self, meter: Msid, first: HalfHour, last: HalfHour) -> MeterHistory:
        found = await self._ledger.find(
            EventType.METER_RECEIVED, subject=f"meter:{meter}", first=first, last=last
        )
        return MeterHistory.of(meter, readings_of(one.event for one in found))

    async def _known(self, first: HalfHour, last: HalfHour) -> _Followed:
        """Return what the ledger says about these half-hours."""
        async with self._reading:
            if self._followed is None:
                self._followed = await self._begin()
            if self._followed is None or first < self._followed.since:
                return await self._read(start_of_day(first), last)
            while new := await self._ledger.find(
                *FOLLOWED, since=self._followed.next_index, limit=BATCH
            ):
                self._followed.take(new)
            return self._followed

    async def _begin(self) -> _Followed | None:
        """Return what is known about half-hours of late; None while nothing is traded."""
        newest = await self._ledger.newest(EventType.BASELINE_COMPUTED)
        about = newest and newest.event["valid_time"]
        return await self._read(open_since(HalfHour.parse(about).start)) if about else None

    async def _read(self, first: HalfHour, last: HalfHour | None = None) -> _Followed:
        made = _Followed(first, calendar=self._calendar)
        end = await self._ledger.size()
        settled = await self._ledger.find(EventType.SETTLEMENT_RUN, first=first, last=last)
        traded = await traded_entries(self._ledger, first=first, last=last)
        entries = sorted([*traded, *settled], key=lambda one: one.index)
        made.take([one for one in entries if one.index < end])
        made.next_index = end
        return made


class _Followed:
    """What the entries about half-hours from one on say.

    Args:
        since: First half-hour.
        calendar: Working days.
    """

    def __init__(self, since: HalfHour, *, calendar: WorkingCalendar) -> None:
        self.since = since
        self.next_index = 0
        self.desk = TradingDesk([], channels=channels_of(_SOMEBODY), keys=None, calendar=calendar)
        self._committed: dict[Key, Committed] = {}
        self._settled: dict[Key, Settled] = {}
        self._trades: dict[Key, dict[str, Trade]] = {}

    def take(self, entries: Sequence[Logged]) -> None:
        """Follow further entries."""
        for entry in entries:
            self._take(entry)
            self.next_index = entry.index + 1

    def tracked(
        self,
        position: Position,
        pairs: Sequence[Allocation],
        readings: Mapping[Msid, MeterHistory],
        registry: Registry,
    ) -> TrackedPosition:
        """Return a position with what became of its half-hour."""
        unit, half_hour = key = _key(position)
        committed = self._committed[key]
        expected = committed.expected
        outturns = [
            PairOutturn(
                pair=one.pair,
                gsp_group=registry.site_of(one.pair).gsp_group,
                expected=expected,
                reading=_newest(readings[Msid(pair_key(one.pair))], half_hour),
            )
            for one in pairs
        ]
        arrived = [one.reading.received_at for one in outturns if one.reading]
        if arrived and len(arrived) == len(outturns):
            position = advance(position, Metered(max(*arrived, half_hour.end)))
        if settled := self._settled.get(key):
            position = advance(position, settled)
        claimed, reading = None, None
        if len(outturns) == 1:
            claimed = claim(outturns, unit=unit, half_hour=half_hour, rounding=Rounding())
            reading = outturns[0].reading
        trades = tuple(self._trades.get(key, {}).values())
        return TrackedPosition(position, expected, committed.submitted, claimed, reading, trades)

    def _take(self, entry: Logged) -> None:
        try:
            if entry.event["event_type"] == EventType.SETTLEMENT_RUN:
                self._settle(entry)
                return
            subject = entry.event["subject"] or ""
            unit = UnitId(subject.removeprefix("unit:"))
            restored = restore([entry], desk=self.desk, unit=unit)
            for trade in trades_of([entry.event]):
                if (seller := ordering_unit(trade)) is not None:
                    for at in trade.first.span(trade.half_hours):
                        self._trades.setdefault((seller, at), {})[trade.id] = trade
            self._committed |= {(unit, at): one for at, one in restored.committed.items()}
        except ContractError as error:
            log.warning("entry %s is passed over: %s", entry.index, error)

    def _settle(self, entry: Logged) -> None:
        for period in settlement_inputs(entry.event).periods:
            for unit in period.units:
                key = (UnitId(unit.unit), period.half_hour)
                before = self._settled.get(key)
                if before is None or period.run.is_after(before.run):
                    self._settled[key] = Settled(period.half_hour.end, period.run)


def _key(position: Position) -> Key:
    return position.unit, position.half_hour


def _is_unsold(one: TrackedPosition, kind: ArtefactKind) -> bool:
    was_sent = one.position.track(kind).status is not Status.NONE
    return kind is ArtefactKind.ECVN and not one.is_sold and not was_sent


def _newest(history: MeterHistory, half_hour: HalfHour) -> Reading | None:
    versions = history.versions.get(half_hour, ())
    return versions[-1] if versions else None
