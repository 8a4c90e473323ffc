"""Amounts from outside are exact and bounded."""

from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import BaseModel, ValidationError

from gridflex.market.amounts import MOST, amount
from gridflex.market.billing.monthly import Billed
from gridflex.market.tariff import Band
from gridflex.serve.market_checks_api import DfsIn, ReservationIn, SaleIn


@pytest.mark.parametrize("said", ["-10000000", "1e7", "+.5", "0.00000000000000000001", 812.5, 7])
def test_an_amount_is_taken_as_it_was_said(said: object) -> None:
    assert amount(said) == Decimal(str(said))


@pytest.mark.parametrize(
    "said",
    [
        *("1e999999", "1e-999999", "1e8", "-10000000.1", "1e-21", "NaN", "inf"),
        *("1_000", "\u0661", "0x10", "", "1,5", "1 000", "--1", None, True, float("inf")),
    ],
)
def test_what_is_no_amount_is_refused(said: object) -> None:
    with pytest.raises(ValueError, match=f"from -{MOST} to {MOST}"):
        amount(said)


DFS = {"contracted_mw": "30", "price_gbp_per_mwh": "300", "delivered_mwh": "15"}
SALE = {
    "delivery_mwh": ["1"],
    "system_price_gbp_per_mwh": ["100"],
    "sale_price_gbp_per_mwh": "140",
}
RESERVATION = {
    "meter": "1200012345679",
    "start": "2026-07-01T17:00Z",
    "product": "dfs",
    "mwh": "0.8",
    "contract": "DFS-7",
    "flexible_mwh": "1",
}

BILLED = {"settlement_month": "2026-07", "commission_gbp": "75.60", "documents": ["GF-2026-00001"]}
BAND = {"name": "red", "gbp_per_mwh": "60", "windows": [{}]}


@pytest.mark.parametrize(
    ("kind", "sent", "field"),
    [
        *((DfsIn, DFS, field) for field in DFS),
        (SaleIn, SALE, "sale_price_gbp_per_mwh"),
        *((ReservationIn, RESERVATION, field) for field in ("mwh", "flexible_mwh")),
        (Billed, BILLED, "commission_gbp"),
        (Band, BAND, "gbp_per_mwh"),
    ],
)
@pytest.mark.parametrize("amount_", ["1e999999", "1e-999999"])
def test_no_amount_of_a_request_is_beyond_what_adds_up(
    kind: type[BaseModel], sent: dict[str, object], field: str, amount_: str
) -> None:
    kind.model_validate(sent)

    with pytest.raises(ValidationError, match=field):
        kind.model_validate(sent | {field: amount_})
