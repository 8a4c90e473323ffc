"""How much of an expected delivery to sell, and what it is expected to bring.

Selling q at price p and delivering D leaves ``p q + (D - q) S``, with S the system price: with
one price for shortfall and surplus the expectation is a straight line in q, so a seller without
fear of risk sells all or nothing. Risk is priced by reading S against the seller: a shortfall
at the mean of the dearest system prices, a surplus at the mean of the cheapest. The best q is
then a quantile of the delivery distribution, the newsvendor's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import ceil

from gridflex.errors import ContractError
from gridflex.market.volumes import ZERO, Rounding

ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known about one half-hour when the sale is decided.

    Args:
        delivery_mwh: Equally likely deliveries, from the plan's distribution.
        system_price_gbp_per_mwh: Equally likely system prices.
        sale_price_gbp_per_mwh: Price at which energy can be sold now.
        fee_gbp_per_mwh: Exchange, notification and credit cost of what is sold.
        compensation_gbp_per_mwh: What the trading party itself must pay the supplier per MWh
            delivered; zero under the mutualised regime.
        work_lost_gbp_per_mwh: What pausing the work costs per MWh delivered.

    Raises:
        ContractError: No delivery or no system price is given.
    """

    delivery_mwh: tuple[Decimal, ...]
    system_price_gbp_per_mwh: tuple[Decimal, ...]
    sale_price_gbp_per_mwh: Decimal
    fee_gbp_per_mwh: Decimal = ZERO
    compensation_gbp_per_mwh: Decimal = ZERO
    work_lost_gbp_per_mwh: Decimal = ZERO

    def __post_init__(self) -> None:
        if not self.delivery_mwh or not self.system_price_gbp_per_mwh:
            raise ContractError("an outlook needs at least one delivery and one system price")


@dataclass(frozen=True, slots=True)
class SalePolicy:
    """How the seller weighs risk.

    Args:
        risk_aversion: 0 reads the system price at its mean, 1 at the mean of its worst tail.
        tail_fraction: How much of the prices is the tail, above 0 up to 1.
        sale_fraction: Greatest share of the expected delivery that may be sold.
        lot_mwh: Smallest step of a sale.
    """

    risk_aversion: Decimal = Decimal("0.5")
    tail_fraction: Decimal = Decimal("0.1")
    sale_fraction: Decimal = ONE
    lot_mwh: Decimal = Decimal("0.001")

    def __post_init__(self) -> None:
        for name, value in (
            ("risk_aversion", self.risk_aversion),
            ("sale_fraction", self.sale_fraction),
        ):
            if not 0 <= value <= 1:
                raise ContractError(f"{name} {value} is not valid; valid is 0 to 1")
        if not 0 < self.tail_fraction <= 1:
            raise ContractError(
                f"tail_fraction {self.tail_fraction} is not valid; valid is above 0 up to 1"
            )


@dataclass(frozen=True, slots=True)
class Sale:
    """How much to sell, why, and what comes of it; GBP and MWh for one half-hour.

    Args:
        mwh: Volume to sell.
        quantile: Share of deliveries below it that the prices justify, 0 to 1.
        short_price_gbp_per_mwh: System price at which a shortfall is reckoned.
        long_price_gbp_per_mwh: System price at which a surplus is reckoned.
        expected_mwh: Mean delivery.
        expected_net_gbp: Mean over deliveries and prices, after fees, compensation and lost
            work; deliveries and prices are taken as independent.
        bad_case_gbp: Mean of the worst tail of those outcomes.
        nothing_sold_gbp: Expected net of delivering without selling.
        shortfall_fraction: How often less than the sale is delivered.
        binding: What limits the sale: price, quantile, or share of the expectation.
    """

    mwh: Decimal
    quantile: Decimal
    short_price_gbp_per_mwh: Decimal
    long_price_gbp_per_mwh: Decimal
    expected_mwh: Decimal
    expected_net_gbp: Decimal
    bad_case_gbp: Decimal
    nothing_sold_gbp: Decimal
    shortfall_fraction: Decimal
    binding: str

    @property
    def is_worthwhile(self) -> bool:
        """Whether delivering at all is expected to earn more than it costs."""
        return max(self.expected_net_gbp, self.nothing_sold_gbp) > 0


def decide_sale(outlook: Outlook, policy: SalePolicy, *, rounding: Rounding) -> Sale:
    """Return how much to sell in one half-hour.

    Args:
        outlook: Deliveries, prices and costs.
        policy: Weight of risk and limits.
        rounding: How contract volumes are rounded, always down.
    """
    short, long = _risk_prices(outlook.system_price_gbp_per_mwh, policy)
    quantile = _critical_ratio(
        outlook.sale_price_gbp_per_mwh - outlook.fee_gbp_per_mwh, short, long
    )
    expected = _mean(outlook.delivery_mwh)
    wanted = _quantile(outlook.delivery_mwh, quantile) if quantile > 0 else ZERO
    most = max(expected * policy.sale_fraction, ZERO)
    bounded = max(min(wanted, most), ZERO)
    mwh = rounding.contract(bounded // policy.lot_mwh * policy.lot_mwh)
    outcomes = sorted(_outcomes(outlook, mwh))
    short_of = sum(1 for one in outlook.delivery_mwh if one < mwh)
    return Sale(
        mwh=mwh,
        quantile=quantile,
        short_price_gbp_per_mwh=short,
        long_price_gbp_per_mwh=long,
        expected_mwh=expected,
        expected_net_gbp=_mean(outcomes),
        bad_case_gbp=_mean(outcomes[: _tail(len(outcomes), policy)]),
        nothing_sold_gbp=_mean(list(_outcomes(outlook, ZERO))),
        shortfall_fraction=Decimal(short_of) / len(outlook.delivery_mwh),
        binding=_binding(quantile, wanted, most),
    )


def _risk_prices(prices: Sequence[Decimal], policy: SalePolicy) -> tuple[Decimal, Decimal]:
    ranked = sorted(prices)
    tail = _tail(len(ranked), policy)
    mean, dear, cheap = _mean(ranked), _mean(ranked[-tail:]), _mean(ranked[:tail])
    weight = policy.risk_aversion
    return mean + weight * (dear - mean), mean + weight * (cheap - mean)


def _critical_ratio(price: Decimal, short: Decimal, long: Decimal) -> Decimal:
    if price >= short:
        return ONE
    if price <= long:
        return ZERO
    return (price - long) / (short - long)


def _quantile(values: Sequence[Decimal], share: Decimal) -> Decimal:
    ranked = sorted(values)
    return ranked[max(ceil(share * len(ranked)) - 1, 0)]


def _outcomes(outlook: Outlook, sold: Decimal) -> list[Decimal]:
    income = sold * (outlook.sale_price_gbp_per_mwh - outlook.fee_gbp_per_mwh)
    per_mwh = outlook.compensation_gbp_per_mwh + outlook.work_lost_gbp_per_mwh
    return [
        income + (delivered - sold) * price - delivered * per_mwh
        for delivered in outlook.delivery_mwh
        for price in outlook.system_price_gbp_per_mwh
    ]


def _binding(quantile: Decimal, wanted: Decimal, most: Decimal) -> str:
    if quantile == 0:
        return "price: a surplus is expected to earn more than a sale"
    if wanted > most:
        return "share of the expected delivery"
    return "quantile of the delivery" if quantile < 1 else "largest delivery"


def _tail(size: int, policy: SalePolicy) -> int:
    return max(ceil(policy.tail_fraction * size), 1)


def _mean(values: Sequence[Decimal]) -> Decimal:
    return sum(values, ZERO) / len(values)
