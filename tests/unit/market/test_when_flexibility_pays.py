"""The page on when flexibility pays says what the arithmetic and the recorded prices say."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from gridflex.errors import ContractError
from gridflex.market.billing.business_case import FleetAssumptions, break_even_gpus, year_case
from tests.shared import ROOT, shared_data

PAGE = ROOT / "docs" / "when-flexibility-pays.md"
DAY = date(2026, 7, 1)
CASE = FleetAssumptions()


@pytest.mark.parametrize(
    ("gpus", "fee", "gross", "commission"),
    [
        (499, "24000", "11806.34", "2361.268"),
        (2000, "60000", "47320", "9464"),
        (5000, "96000", "118300", "23660"),
    ],
)
def test_a_year_of_a_fleet(gpus: int, fee: str, gross: str, commission: str) -> None:
    case = year_case(gpus, assumptions=CASE, day=DAY)

    assert case.fee_gbp == Decimal(fee)
    assert case.gross_gbp == Decimal(gross)
    assert case.commission_gbp == Decimal(commission)
    row = (
        f"| {gpus:,} | {case.site_mw:.2f} | {case.flexible_mw:.2f} | {case.fee_gbp:,.0f} "
        f"| {case.gross_gbp:,.0f} | {case.commission_gbp:,.0f} | {case.kept_gbp:,.0f} |"
    )
    assert row in PAGE.read_text()


@pytest.mark.parametrize(("fee", "gpus"), [("24000", 1268), ("60000", 3170), ("96000", 5072)])
def test_the_fleet_that_covers_a_fee(fee: str, gpus: int) -> None:
    assert break_even_gpus(Decimal(fee), assumptions=CASE) == gpus
    assert f"{gpus:,}" in PAGE.read_text()


def test_one_gpu_earns_this_much() -> None:
    assert CASE.gross_gbp_per_gpu == Decimal("23.66")


def test_no_fleet_covers_a_fee_at_negative_prices() -> None:
    with pytest.raises(ContractError, match="no fleet"):
        break_even_gpus(Decimal(24000), assumptions=FleetAssumptions(price_gbp_per_mwh=Decimal(-1)))


def recorded() -> pd.DataFrame:
    """Day-ahead prices with their UTC year and day."""
    path: Path = shared_data("grid", "gb_master_hh.parquet")
    frame = pd.read_parquet(path, columns=["ts_utc", "day_ahead_price_gbp_mwh"]).dropna()
    return pd.DataFrame(
        {
            "price": frame["day_ahead_price_gbp_mwh"],
            "year": frame["ts_utc"].dt.year,
            "day": frame["ts_utc"].dt.date,
        }
    )


def test_the_page_quotes_the_recorded_prices() -> None:
    prices = recorded()
    text = PAGE.read_text()

    for year in range(2020, 2025):
        own = prices[prices["year"] == year]
        dearest = own["price"].nlargest(1000).mean()
        hours = (own["price"] > 145).sum() / 2
        spreads = [
            day.nlargest(4).mean() - day.nsmallest(4).mean()
            for _, day in own.groupby("day")["price"]
            if len(day) >= 46
        ]
        spread = sum(spreads) / len(spreads)
        row = f"| {year} | {own['price'].mean():.1f} | {dearest:.1f} | {hours:.0f} | {spread:.1f} |"
        assert row in text
