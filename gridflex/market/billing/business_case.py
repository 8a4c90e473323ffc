"""Whether flexibility pays for a fleet: a year's P415 revenue against the fees.

Plain arithmetic on stated assumptions; nothing here is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from math import ceil
from typing import Final

from gridflex.errors import ContractError
from gridflex.market.billing.fees import TIERS, CommissionTerms, Tier, subscription_gbp
from gridflex.market.policy import Dated

MONTHS: Final = 12
_KW_PER_MW: Final = Decimal(1000)


@dataclass(frozen=True, slots=True)
class FleetAssumptions:
    """What a fleet is taken to be and to earn.

    Args:
        kw_per_gpu: Power of one GPU with its share of the server.
        pue: Facility power per IT power.
        flexible_fraction: Share of the site's power that can be sold.
        hours_per_year: Hours in which it is sold.
        price_gbp_per_mwh: Mean price of those hours.
    """

    kw_per_gpu: Decimal = Decimal("1.3")
    pue: Decimal = Decimal("1.3")
    flexible_fraction: Decimal = Decimal("0.20")
    hours_per_year: Decimal = Decimal(500)
    price_gbp_per_mwh: Decimal = Decimal(140)

    @property
    def gross_gbp_per_gpu(self) -> Decimal:
        """P415 revenue of one GPU in a year, before commission."""
        mwh = self.flexible_kw_per_gpu * self.hours_per_year / _KW_PER_MW
        return mwh * self.price_gbp_per_mwh

    @property
    def flexible_kw_per_gpu(self) -> Decimal:
        """Power of one GPU that can be sold."""
        return self.kw_per_gpu * self.pue * self.flexible_fraction


@dataclass(frozen=True, slots=True)
class YearCase:
    """One fleet over a year, GBP.

    Args:
        gpus: Its size.
        site_mw: Power of the site.
        flexible_mw: Part of it that can be sold.
        fee_gbp: Subscription.
        gross_gbp: P415 revenue.
        commission_gbp: Commission on it.
        kept_gbp: What remains to the customer of revenue, commission and fee.
    """

    gpus: int
    site_mw: Decimal
    flexible_mw: Decimal
    fee_gbp: Decimal
    gross_gbp: Decimal
    commission_gbp: Decimal
    kept_gbp: Decimal


def year_case(
    gpus: int,
    *,
    assumptions: FleetAssumptions,
    day: date,
    terms: CommissionTerms | None = None,
    tiers: Dated[tuple[Tier, ...]] = TIERS,
) -> YearCase:
    """Return a year of a fleet under the price list of ``day``."""
    fraction = (terms or CommissionTerms()).fraction
    gross = gpus * assumptions.gross_gbp_per_gpu
    fee = MONTHS * subscription_gbp(gpus, day=day, tiers=tiers)
    return YearCase(
        gpus=gpus,
        site_mw=gpus * assumptions.kw_per_gpu * assumptions.pue / _KW_PER_MW,
        flexible_mw=gpus * assumptions.flexible_kw_per_gpu / _KW_PER_MW,
        fee_gbp=fee,
        gross_gbp=gross,
        commission_gbp=gross * fraction,
        kept_gbp=gross * (1 - fraction) - fee,
    )


def break_even_gpus(
    fee_gbp_per_year: Decimal,
    *,
    assumptions: FleetAssumptions,
    terms: CommissionTerms | None = None,
) -> int:
    """Return the smallest fleet whose P415 revenue after commission covers a yearly fee.

    Raises:
        ContractError: A GPU earns nothing.
    """
    kept = assumptions.gross_gbp_per_gpu * (1 - (terms or CommissionTerms()).fraction)
    if kept <= 0:
        raise ContractError(f"a GPU keeps {kept} GBP a year; no fleet covers a fee")
    return ceil(fee_gbp_per_year / kept)
