"""A month's bill, and the shares beside it, from the same half-hours."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest
from pydantic import ValidationError

from gridflex.errors import ContractError
from gridflex.market.billing.fees import Month
from gridflex.market.billing.monthly import Billed, BillingContract, PartyFile, monthly_bill
from gridflex.market.settlement.attribution import Contribution
from gridflex.market.settlement.book import SettlementBook
from gridflex.market.settlement.runs import Run
from gridflex.market.settlement.show_back import newest_shares
from gridflex.market.volumes import Rounding
from tests.unit.market.days import CALENDAR
from tests.unit.market.test_settlement import EXAMPLE, SIX

CONTRACT = BillingContract(
    seller=PartyFile(name="GridFlex Ltd", address=("1 Example Street",)),
    customer=PartyFile(name="Data Centre Ltd", address=("2 Example Road",)),
    account="GRIDFLEX",
    gpus={"2026-10": 499},
    billed=(
        Billed(
            settlement_month="2026-07",
            commission_gbp=Decimal("151.20"),
            documents=("GF-2026-00001",),
        ),
    ),
    next_number=2,
)
BOTH = (EXAMPLE, replace(EXAMPLE, half_hour=SIX + 1))
JOBS = (
    Contribution(SIX, "job-1", "vision", None, Decimal("2.8")),
    Contribution(SIX + 1, "job-2", "language", None, Decimal("2.8")),
)


def test_a_fleet_is_a_whole_number() -> None:
    with pytest.raises(ValidationError, match="gpus"):
        BillingContract.model_validate(CONTRACT.model_dump() | {"gpus": {"2026-10": True}})


@pytest.mark.parametrize(("known_on", "is_begun"), [("2026-09-30", False), ("2026-10-01", True)])
def test_a_month_is_billed_once_it_has_begun(known_on: str, *, is_begun: bool) -> None:
    refused = pytest.raises(ContractError, match=f"month 2026-10 .* issue, {known_on}: 2026-09 or")

    with nullcontext() if is_begun else refused:
        monthly_bill(
            SettlementBook(BOTH, JOBS),
            contract=CONTRACT,
            month=Month(2026, 10),
            known_on=date.fromisoformat(known_on),
            calendar=CALENDAR,
            rounding=Rounding(),
        )


def test_a_run_of_one_half_hour_credits_what_it_changed_and_shares_say_the_same() -> None:
    revised = replace(EXAMPLE, run=Run.R1, fees_gbp=Decimal(8))
    book = SettlementBook((*BOTH, revised), JOBS)

    bill = monthly_bill(
        book,
        contract=CONTRACT,
        month=Month(2026, 10),
        known_on=date(2026, 11, 1),
        calendar=CALENDAR,
        rounding=Rounding(),
    )

    (_, credit) = bill.documents
    assert credit.net_gbp == Decimal("1.60")
    assert credit.lines[0].basis == (
        "net 748.00 GBP at run SF, due 149.60 GBP, billed before 151.20 GBP"
    )
    assert bill.shares == newest_shares(book, account="GRIDFLEX", rounding=Rounding())
    assert bill.shares.by_team == {"vision": Decimal(370), "language": Decimal(378)}
