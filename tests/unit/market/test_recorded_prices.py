"""Whole recorded days settled twice, the days on which the clocks change among them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pandas as pd
import pytest

from gridflex.halfhour import HalfHour, periods_in
from gridflex.market.registry import UnitId
from gridflex.market.settlement.account import AccountPeriod, SoldVolume, SystemPrice
from gridflex.market.settlement.authority import AUTHORITY
from gridflex.market.settlement.book import (
    SettlementBook,
    read_book,
    settle_book,
    write_book,
    write_statement,
)
from gridflex.market.settlement.reported import (
    unconfirmed,
)
from gridflex.market.settlement.runs import Run
from gridflex.market.settlement.s0142 import read_s0142
from gridflex.market.volumes import ExportMWh, ImportMWh
from gridflex.market.working_days import half_hours_of
from gridflex.sandbox.market import AgentBook
from gridflex.sandbox.market_report import ReportInputs, settlement_report
from tests.shared import shared_data
from tests.unit.market.test_reported import by_unit
from tests.unit.market.test_settlement import EXAMPLE

UNIT = UnitId("V__CGRID001")
CENTS = Decimal("0.01")

Prices = dict[HalfHour, tuple[Decimal, Decimal]]


def recorded(day: date) -> Prices:
    """Market-index price and system price of each half-hour of a settlement day."""
    frame = pd.read_parquet(
        shared_data("grid", "gb_master_hh.parquet"),
        columns=["ts_utc", "mid_price_gbp_mwh", "system_price_gbp_mwh"],
        filters=[("settlement_date", "==", day.isoformat())],
    )
    rows: Prices = {}
    for start, sale, system in frame.itertuples(index=False):
        moment = datetime.fromisoformat(str(start)).astimezone(UTC)
        prices = [Decimal(str(value)).quantize(CENTS) for value in (sale, system)]
        rows[HalfHour(moment)] = (prices[0], prices[1])
    return {half_hour: rows[half_hour] for half_hour in half_hours_of(day)}


def metered(number: int) -> Decimal:
    """A load that wanders around the 10 MWh expected: 7 to 11."""
    return Decimal(7) + Decimal(number * 7 % 41) / 10


def period(number: int, half_hour: HalfHour, prices: tuple[Decimal, Decimal]) -> AccountPeriod:
    unit = EXAMPLE.units[0]
    load = metered(number)
    pair = replace(unit.pairs[0], metered=ImportMWh(load), delivered=ExportMWh(Decimal(10) - load))
    return replace(
        EXAMPLE,
        half_hour=half_hour,
        units=(replace(unit, pairs=(pair,)),),
        sold=(SoldVolume("T1", Decimal("1.5"), prices[0]),),
        system_price=SystemPrice.single(prices[1]),
    )


@pytest.mark.parametrize(
    ("day", "count"),
    [
        pytest.param(date(2024, 3, 31), 46, id="clocks go forward"),
        pytest.param(date(2024, 4, 6), 48, id="negative prices"),
        pytest.param(date(2024, 10, 27), 50, id="clocks go back"),
    ],
)
def test_a_recorded_day_settles_to_the_same_bytes_and_agrees_with_the_report(
    day: date, count: int
) -> None:
    prices = recorded(day)
    assert len(prices) == count == periods_in(day)
    book = SettlementBook(tuple(period(n, at, prices[at]) for n, at in enumerate(prices, start=1)))

    statement = settle_book(book)

    assert write_statement(settle_book(read_book(write_book(book)))) == write_statement(statement)
    agents = AgentBook(
        active={(at, UNIT): True for at in prices},
        expected={(at, UNIT): ExportMWh(Decimal(-10)) for at in prices},
        contracts={("R1", day): dict.fromkeys(prices, Decimal("1.5"))},
    )
    report = read_s0142(
        settlement_report(
            ReportInputs(
                day=day,
                run=Run.SF,
                created_at=datetime(2024, 12, 1, tzinfo=UTC),
                party="GRIDFLEX",
                supplier="SUPPLIER",
                book=agents,
                metered={(at, UNIT): ImportMWh(metered(n)) for n, at in enumerate(prices, start=1)},
                system_price={at: pair[1] for at, pair in prices.items()},
                reference_price_gbp_per_mwh=Decimal("98.53"),
            )
        )
    )
    assert not any(unconfirmed(one, by_unit(report), AUTHORITY) for one in book.periods)
    assert len(report.prices) == count
    by_hand = sum(
        (
            Decimal("1.5") * sale + (Decimal(10) - metered(n) - Decimal("1.5")) * system
            for n, (sale, system) in enumerate(prices.values(), start=1)
        ),
        Decimal(0),
    )
    assert statement.days[0].net_gbp == by_hand


def test_the_recorded_negative_prices_are_in_the_test() -> None:
    assert min(system for _, system in recorded(date(2024, 4, 6)).values()) < 0
