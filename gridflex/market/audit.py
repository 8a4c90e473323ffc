"""Whether settlements rest on what the ledger recorded before them, not on figures of their own.

Running a settlement again shows that its outcome follows from its inputs. This follows each input
back to the entry it comes from: the expected volume that was sent, the reading that arrived, the
trade that was made and the answer to its notice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date

from gridflex.halfhour import HalfHour
from gridflex.ledger.event import Entry, EventType
from gridflex.market.messages.artefacts import ExpectedVolumes
from gridflex.market.messages.drafts import read_draft
from gridflex.market.meters import Reading
from gridflex.market.registry import UnitId
from gridflex.market.registry_records import readings_of
from gridflex.market.settlement.account import AccountPeriod
from gridflex.market.settlement.records import settlement_inputs
from gridflex.market.settlement.reported import UnitReport, all_notified, reports_of, volumes_of
from gridflex.market.settlement.runs import Run
from gridflex.market.trading.position import Status
from gridflex.market.trading.reconciliation import Notified, Trade
from gridflex.market.trading.records import notices_of, trades_of
from gridflex.market.volumes import ExportMWh


@dataclass(frozen=True, slots=True)
class Traced:
    """One settlement.

    Args:
        entry: Id of the event.
        same: Inputs that are what an earlier entry says.
        alone: Inputs that no earlier entry says anything about.
        different: Inputs that are not what an earlier entry says, and what it says.
    """

    entry: str
    same: tuple[str, ...]
    alone: tuple[str, ...]
    different: tuple[str, ...]


@dataclass(slots=True)
class _Known:
    """What the entries so far say."""

    expected: dict[tuple[UnitId, HalfHour], ExportMWh] = field(default_factory=dict)
    readings: dict[tuple[str, HalfHour], Reading] = field(default_factory=dict)
    trades: dict[str, Trade] = field(default_factory=dict)
    messages: list[Entry] = field(default_factory=list)
    reports: dict[tuple[UnitId, date, Run], UnitReport] = field(default_factory=dict)

    def take(self, entry: Entry) -> None:
        """Note one more entry."""
        kind = entry["event_type"]
        if kind == EventType.SEV_SUBMITTED:
            artefact, _ = read_draft(entry["body"])
            if isinstance(artefact, ExpectedVolumes):
                for unit, volumes in artefact.volumes.items():
                    self.expected |= {(unit, at): volume for at, volume in volumes.items()}
        elif kind in {EventType.ECVN_SUBMITTED, EventType.ACK_RECEIVED}:
            self.messages.append(entry)
        self.reports |= reports_of([entry])
        for reading in readings_of([entry]):
            self.readings[reading.meter, reading.half_hour] = reading
        for trade in trades_of([entry]):
            self.trades[trade.id] = trade

    def notices(self) -> dict[tuple[str, HalfHour], Notified]:
        """Return the contract notices, as they were answered so far."""
        made = notices_of(self.messages, self.trades.values())
        return {(one.reference, one.half_hour): one for one in made}


def trace(entries: Iterable[Entry]) -> Iterator[Traced]:
    """Follow the inputs of every settlement among entries, oldest first, back to earlier ones."""
    known = _Known()
    for entry in entries:
        if entry["event_type"] == EventType.SETTLEMENT_RUN:
            (period,) = settlement_inputs(entry).periods
            yield _traced(entry["id"], period, known)
        else:
            known.take(entry)


def _traced(name: str, period: AccountPeriod, known: _Known) -> Traced:
    same: list[str] = []
    alone: list[str] = []
    different: list[str] = []
    for what, used, said in _inputs(period, known):
        if said is None:
            alone.append(what)
        elif used == said:
            same.append(what)
        else:
            different.append(f"{what} is {used}, the ledger says {said}")
    return Traced(name, tuple(same), tuple(alone), tuple(different))


def _inputs(period: AccountPeriod, known: _Known) -> Iterator[tuple[str, object, object]]:
    """Yield each input with what was used and what an earlier entry says; None for nothing."""
    at = period.half_hour
    reported: UnitReport | None = None
    for unit in period.units:
        if unit.reported is not None:
            reported = known.reports.get((unit.unit, at.settlement[0], period.run))
            volumes = reported and (half_hour := reported.at(at)) and volumes_of(half_hour)
            yield f"reported volumes of {unit.unit}", unit.reported, volumes
        expected = known.expected.get((unit.unit, at))
        said = None if expected is None else expected.mwh
        used = None if unit.submitted is None else unit.submitted.mwh
        yield f"expected volume of {unit.unit}", used, said
        for pair in unit.pairs:
            reading = known.readings.get((pair.meter, at))
            yield f"reading of {pair.meter}", pair.metered.mwh, reading and reading.net.mwh
            yield f"evidence of {pair.meter}", pair.evidence, reading and reading.evidence
    notices = known.notices()
    for sold in period.sold:
        trade, notice = known.trades.get(sold.trade), notices.get((sold.trade, at))
        price = trade and trade.price_gbp_per_mwh
        yield f"volume of trade {sold.trade}", sold.mwh, trade and trade.mwh
        yield f"price of trade {sold.trade}", sold.price_gbp_per_mwh, price
        is_accepted = None if notice is None else notice.status is Status.ACCEPTED
        if reported and (is_notified := all_notified(period, reported)) is not None:
            is_accepted = is_notified
        yield f"notice of trade {sold.trade}", sold.is_notified, is_accepted
