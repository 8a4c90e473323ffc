"""A simulated central settlement report, computed from the agents' books and the meters.

It does its own arithmetic, so that comparing it with ours is a check and not an echo.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from gridflex.halfhour import HalfHour
from gridflex.market.registry import UnitId
from gridflex.market.settlement.runs import Run
from gridflex.market.volumes import ZERO, ImportMWh
from gridflex.market.working_days import half_hours_of
from gridflex.sandbox.market import AgentBook

_MWH: Final = Decimal("0.001")
_GBP: Final = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class ReportInputs:
    """What the central systems know after a settlement day.

    Args:
        day: Settlement day.
        run: Which run.
        created_at: When the report is made; aware UTC.
        party: Trading party.
        supplier: Supplier of its sites.
        book: The agents' books.
        metered: Net import per half-hour and unit.
        system_price: GBP/MWh per half-hour.
        reference_price_gbp_per_mwh: For compensation.
    """

    day: date
    run: Run
    created_at: datetime
    party: str
    supplier: str
    book: AgentBook
    metered: Mapping[tuple[HalfHour, UnitId], ImportMWh]
    system_price: Mapping[HalfHour, Decimal]
    reference_price_gbp_per_mwh: Decimal


def settlement_report(inputs: ReportInputs) -> str:
    """Return the report as text."""
    half_hours = [one for one in half_hours_of(inputs.day) if one in inputs.system_price]
    head = f"{inputs.day:%Y%m%d}|{inputs.run}|1|1|{inputs.day:%Y%m%d}|1|1"
    lines = [
        f"AAA|S0142013|D|{inputs.created_at:%Y%m%d%H%M%S}|SA|UKDC|PB|PORTAL|1|SIML|",
        f"SRH|{head}|NGC|",
        *(_prices(one, inputs) for one in half_hours),
        f"BPH|{head}|{inputs.party}|",
        _record("APC", 13, {11: _gbp(_compensation(inputs, half_hours))}),
        *(line for one in half_hours for line in _trading_party(one, inputs)),
        f"BPH|{head}|{inputs.supplier}|",
        _record("APC", 13, {12: _gbp(_compensation(inputs, half_hours))}),
        *(line for one in half_hours for line in _supplier(one, inputs)),
    ]
    return "\n".join([*lines, f"ZZZ|{len(lines) + 1}|0|", ""])


def _prices(half_hour: HalfHour, inputs: ReportInputs) -> str:
    price = str(inputs.system_price[half_hour])
    return _record("SPI", 54, {1: _period(half_hour), 2: price, 3: price})


def _trading_party(half_hour: HalfHour, inputs: ReportInputs) -> list[str]:
    deviations = {unit: _deviation(half_hour, unit, inputs) for unit in _units(half_hour, inputs)}
    sold = inputs.book.contracted_mwh(half_hour)
    credited = sum(deviations.values(), ZERO)
    account = {6: _mwh(sold), 7: "0", 8: _mwh(credited - sold), 9: _mwh(credited)}
    rows = [f"SP7|{_period(half_hour)}|", _record("APD", 10, account)]
    for unit, deviation in deviations.items():
        expected = inputs.book.expected_of(half_hour, unit)
        values = {
            1: unit,
            8: _mwh(-inputs.metered[half_hour, unit].mwh),
            11: "0",
            12: "1",
            18: "" if expected is None else _mwh(expected.mwh),
            19: _mwh(deviation),
            23: _mwh(deviation),
        }
        rows.append(_record("BP7", 26, values))
    return rows


def _supplier(half_hour: HalfHour, inputs: ReportInputs) -> list[str]:
    total = _delivered(half_hour, inputs)
    values = {
        1: f"2__{inputs.supplier[:5]}001",
        16: _mwh(total),
        22: _mwh(total),
        25: _gbp(total * inputs.reference_price_gbp_per_mwh),
    }
    return [f"SP7|{_period(half_hour)}|", _record("BP7", 26, values)]


def _units(half_hour: HalfHour, inputs: ReportInputs) -> list[UnitId]:
    return sorted(unit for at, unit in inputs.metered if at == half_hour)


def _deviation(half_hour: HalfHour, unit: UnitId, inputs: ReportInputs) -> Decimal:
    expected = inputs.book.expected_of(half_hour, unit)
    if expected is None or not inputs.book.is_active(half_hour, unit):
        return ZERO
    return -inputs.metered[half_hour, unit].mwh - expected.mwh


def _delivered(half_hour: HalfHour, inputs: ReportInputs) -> Decimal:
    return sum((_deviation(half_hour, unit, inputs) for unit in _units(half_hour, inputs)), ZERO)


def _compensation(inputs: ReportInputs, half_hours: list[HalfHour]) -> Decimal:
    volume = sum((_delivered(one, inputs) for one in half_hours), ZERO)
    return volume * inputs.reference_price_gbp_per_mwh


def _record(tag: str, size: int, values: Mapping[int, str]) -> str:
    return "|".join([tag, *(values.get(position, "") for position in range(1, size)), ""])


def _period(half_hour: HalfHour) -> str:
    return str(half_hour.settlement[1])


def _mwh(value: Decimal) -> str:
    return str(value.quantize(_MWH))


def _gbp(value: Decimal) -> str:
    return str(value.quantize(_GBP))
