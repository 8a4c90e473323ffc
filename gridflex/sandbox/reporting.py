"""*Simulated* central settlement reports, published when a run of a day is due.

What was announced and sold is in the agents' books; what was metered is in a CSV file of
readings, such as a data collector would send to both sides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

from gridflex.halfhour import LONDON, HalfHour
from gridflex.market.meter_files import read_csv
from gridflex.market.registry import UnitId
from gridflex.market.settlement.due_runs import due_days
from gridflex.market.settlement.runs import Run
from gridflex.market.volumes import NO_IMPORT, ImportMWh
from gridflex.market.working_days import WorkingCalendar, half_hours_of
from gridflex.sandbox.market import AgentBook
from gridflex.sandbox.market_report import ReportInputs, settlement_report


@dataclass(frozen=True, slots=True)
class ReportBasis:
    """What the central systems know that no message tells them.

    Args:
        readings: CSV file of meter readings; without it nothing is reported.
        calendar: Working days.
        system_price_gbp_per_mwh: In every half-hour without a price of its own.
        system_prices: Per half-hour.
        reference_price_gbp_per_mwh: For supplier compensation.
        supplier: Who supplies the sites.
        published: Rows of the Settlement Calendar.
    """

    readings: Path
    calendar: WorkingCalendar
    system_price_gbp_per_mwh: Decimal
    system_prices: Mapping[HalfHour, Decimal] = field(default_factory=dict)
    reference_price_gbp_per_mwh: Decimal = Decimal(90)
    supplier: str = "SUPPLY"
    published: Mapping[tuple[date, Run], date] = field(default_factory=dict)


def due_reports(
    book: AgentBook, basis: ReportBasis, *, now: datetime, done: Collection[str]
) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each report that is due, unless it is done.

    A day is reported once all half-hours for which an activity notice is in force are metered.

    Args:
        book: The agents' books.
        basis: What else they know.
        now: GridFlex time.
        done: Names of those that were published.
    """
    if not book.active or not basis.readings.exists():
        return
    due = due_days(
        now.astimezone(LONDON).date(), calendar=basis.calendar, published=basis.published
    )
    days = {at.settlement[0] for (at, _), is_active in book.active.items() if is_active}
    wanted = {f"S0142-{day:%Y%m%d}-{due[day]}": day for day in sorted(days & due.keys())}
    left = {name: day for name, day in wanted.items() if name not in done}
    metered = _metered(book, basis, now) if left else {}
    for name, day in left.items():
        span = half_hours_of(day)
        active = {key for key, is_active in book.active.items() if is_active and key[0] in span}
        if active <= metered.keys():
            yield (
                name,
                settlement_report(
                    ReportInputs(
                        day=day,
                        run=due[day],
                        created_at=now,
                        party=book.party,
                        supplier=basis.supplier,
                        book=book,
                        metered={key: volume for key, volume in metered.items() if key[0] in span},
                        system_price={
                            at: basis.system_prices.get(at, basis.system_price_gbp_per_mwh)
                            for at in span
                        },
                        reference_price_gbp_per_mwh=basis.reference_price_gbp_per_mwh,
                    )
                ),
            )


def _metered(
    book: AgentBook, basis: ReportBasis, now: datetime
) -> dict[tuple[HalfHour, UnitId], ImportMWh]:
    """Return net imports by unit; a meter that no delivery named is the only unit's, if one is."""
    units = {unit for _, unit in book.active}
    only = next(iter(units)) if len(units) == 1 else None
    total: dict[tuple[HalfHour, UnitId], ImportMWh] = {}
    for reading in read_csv(basis.readings.read_text(encoding="utf-8"), received_at=now):
        unit = book.units.get(int(reading.meter), only)
        if unit is not None:
            key = (reading.half_hour, unit)
            total[key] = total.get(key, NO_IMPORT) + reading.net
    return total
