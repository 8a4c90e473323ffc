"""The page on when flexibility pays says what the arithmetic and the recorded prices say."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from math import ceil
from pathlib import Path

import pandas as pd
import pytest

from gridflex.market.billing.fees import CommissionTerms, subscription_gbp
from tests.shared import ROOT, shared_data

PAGE = ROOT / "docs" / "when-flexibility-pays.md"
DAY = date(2026, 7, 1)

SITE_MW_PER_GPU = Decimal("1.3") * Decimal("1.3") / 1000
FLEXIBLE_MW_PER_GPU = SITE_MW_PER_GPU * Decimal("0.20")
GROSS_GBP_PER_GPU = FLEXIBLE_MW_PER_GPU * 500 * 140
KEPT_FRACTION = 1 - CommissionTerms().fraction


def test_one_gpu_earns_this_much() -> None:
    assert Decimal("23.66") == GROSS_GBP_PER_GPU
    assert round(GROSS_GBP_PER_GPU * KEPT_FRACTION, 2) == Decimal("18.93")
    assert "A GPU brings 23.66 GBP a year, of which 18.93 remain" in PAGE.read_text()


@pytest.mark.parametrize(
    ("gpus", "fee", "gross", "commission"),
    [
        (499, "24000", "11806.34", "2361.268"),
        (2000, "60000", "47320", "9464"),
        (5000, "96000", "118300", "23660"),
    ],
)
def test_a_year_of_a_fleet(gpus: int, fee: str, gross: str, commission: str) -> None:
    earned = gpus * GROSS_GBP_PER_GPU
    kept = earned * KEPT_FRACTION - Decimal(fee)

    assert 12 * subscription_gbp(gpus, day=DAY) == Decimal(fee)
    assert earned == Decimal(gross)
    assert earned * (1 - KEPT_FRACTION) == Decimal(commission)
    row = (
        f"| {gpus:,} | {gpus * SITE_MW_PER_GPU:.2f} | {gpus * FLEXIBLE_MW_PER_GPU:.2f} "
        f"| {Decimal(fee):,.0f} | {earned:,.0f} | {Decimal(commission):,.0f} | {kept:,.0f} |"
    )
    assert row in PAGE.read_text()


@pytest.mark.parametrize(("fee", "gpus"), [("24000", 1268), ("60000", 3170), ("96000", 5072)])
def test_the_fleet_that_covers_a_fee(fee: str, gpus: int) -> None:
    assert ceil(Decimal(fee) / (GROSS_GBP_PER_GPU * KEPT_FRACTION)) == gpus
    assert f"{gpus:,}" in PAGE.read_text()


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
