"""What the customer pays: a monthly fee by size and a share of what P415 earned.

Commission belongs to the settlement month in which the energy was delivered and follows its
settlement runs: each bill charges the difference between what is due as known now and what was
billed before, so a later run yields a further charge or a credit note, and the bills of a month
add up to its final commission.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import StrEnum
from typing import Final

from gridflex.errors import ContractError
from gridflex.market.policy import Dated, Effective
from gridflex.market.settlement.runs import HalfHourCash, Run, newest_paying
from gridflex.market.volumes import ZERO, Rounding


@dataclass(frozen=True, slots=True)
class Tier:
    """Fee for a range of fleet sizes.

    Args:
        least_gpus: Smallest fleet of the tier.
        most_gpus: Largest; None for no limit.
        gbp_per_month: Fee.
    """

    least_gpus: int
    most_gpus: int | None
    gbp_per_month: Decimal


TIERS: Final[Dated[tuple[Tier, ...]]] = Dated(
    "subscription tiers",
    (
        Effective(
            date(2026, 1, 1),
            (
                Tier(0, 499, Decimal("2000.00")),
                Tier(500, 2000, Decimal("5000.00")),
                Tier(2001, None, Decimal("8000.00")),
            ),
            "GridFlex price list",
        ),
    ),
)

VAT: Final = Dated(
    "value added tax, standard rate",
    (Effective(date(2011, 1, 4), Decimal("0.20"), "VAT Act 1994, standard rate since 2011"),),
)


class LossRule(StrEnum):
    """What becomes of a settlement month with a negative net; a choice of the contract."""

    FLOOR = "floor"
    CARRY_FORWARD = "carry-forward"


@dataclass(frozen=True, slots=True)
class CommissionTerms:
    """The customer's contract on commission.

    "20 % of P415 net revenue: contract sales plus or minus imbalance on delivered volume, minus
    exchange, notification and credit fees, per settlement run, trued up to RF." Supplier
    compensation is no revenue of the trading party and is left out, unless a bilateral rule makes
    the trading party pay it; then it is a cost.

    Args:
        fraction: Share of the net revenue.
        loss_rule: Whether a loss is forgotten or reduces later months.
        hold_back_fraction: Part of the commission that is billed only when the whole month has
            its final run.
    """

    fraction: Decimal = Decimal("0.20")
    loss_rule: LossRule = LossRule.CARRY_FORWARD
    hold_back_fraction: Decimal = ZERO


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month.

    Args:
        year: Year.
        month: 1 to 12.
    """

    year: int
    month: int

    @classmethod
    def of(cls, day: date) -> Month:
        """Return the month of a day."""
        return cls(day.year, day.month)

    @property
    def first(self) -> date:
        """First day."""
        return date(self.year, self.month, 1)

    @property
    def end(self) -> date:
        """First day of the next month."""
        year, month = (self.year + 1, 1) if self.month == 12 else (self.year, self.month + 1)  # noqa: PLR2004 - December
        return date(year, month, 1)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"


@dataclass(frozen=True, slots=True)
class MonthNet:
    """Net revenue of one settlement month as known on one day.

    Args:
        month: Settlement month.
        net_gbp: Sum over its half-hours, each in its newest paying run.
        days: Settlement days with a paying run.
        oldest_run: The run that is furthest behind among these half-hours.
    """

    month: Month
    net_gbp: Decimal
    days: int
    oldest_run: Run

    @property
    def is_final(self) -> bool:
        """Whether every half-hour has its final run."""
        return not Run.RF.is_after(self.oldest_run)


def subscription_gbp(gpus: int, *, day: date, tiers: Dated[tuple[Tier, ...]] = TIERS) -> Decimal:
    """Return the monthly fee for a fleet.

    Args:
        gpus: GPUs under management on the first day of the month.
        day: That day.
        tiers: Price list.

    Raises:
        ContractError: No tier holds such a fleet.
    """
    for tier in tiers.on(day):
        if tier.least_gpus <= gpus and (tier.most_gpus is None or gpus <= tier.most_gpus):
            return tier.gbp_per_month
    raise ContractError(f"no tier for {gpus} GPUs on {day}")


def counting_on(cash: Iterable[HalfHourCash], *, known_on: date) -> list[HalfHourCash]:
    """Return what counts: each half-hour in the newest run that has it and paid by ``known_on``."""
    return newest_paying(one for one in cash if one.paid_on <= known_on)


def month_nets(counting: Iterable[HalfHourCash]) -> list[MonthNet]:
    """Return each settlement month's net.

    Args:
        counting: Each half-hour once, in the run that counts.
    """
    months: dict[Month, list[HalfHourCash]] = {}
    for one in counting:
        months.setdefault(Month.of(one.day), []).append(one)
    return [
        MonthNet(
            month=month,
            net_gbp=sum((one.net_gbp for one in months[month]), ZERO),
            days=len({one.day for one in months[month]}),
            oldest_run=min((one.run for one in months[month]), key=lambda run: run.position),
        )
        for month in sorted(months)
    ]


@dataclass(frozen=True, slots=True)
class CommissionDue:
    """Commission of one settlement month as known now.

    Args:
        month: Settlement month.
        net_gbp: Its net revenue.
        due_gbp: Commission in whole pence, hold-back taken off.
        is_final: Whether every half-hour has its final run.
    """

    month: Month
    net_gbp: Decimal
    due_gbp: Decimal
    is_final: bool


def commission_due(
    nets: Iterable[MonthNet], *, terms: CommissionTerms, rounding: Rounding
) -> list[CommissionDue]:
    """Return what commission each settlement month has earned as known now.

    Args:
        nets: Settlement months in any order.
        terms: The contract.
        rounding: How money is rounded.
    """
    dues: list[CommissionDue] = []
    carried = ZERO
    for net in sorted(nets, key=lambda one: one.month):
        base = net.net_gbp + carried
        earned = rounding.cash(terms.fraction * max(base, ZERO))
        held = ZERO if net.is_final else rounding.cash(earned * terms.hold_back_fraction)
        dues.append(CommissionDue(net.month, net.net_gbp, earned - held, net.is_final))
        carried = min(base, ZERO) if terms.loss_rule is LossRule.CARRY_FORWARD else ZERO
    return dues


@dataclass(frozen=True, slots=True)
class CommissionLine:
    """What one bill charges or credits for one settlement month.

    Args:
        month: Settlement month.
        amount_gbp: Charge, or credit if negative.
        billed_before_gbp: Sum of earlier bills for the month.
        due_gbp: Commission as known now.
        net_gbp: Net revenue it rests on.
        run: Furthest-behind settlement run of the month's half-hours.
    """

    month: Month
    amount_gbp: Decimal
    billed_before_gbp: Decimal
    due_gbp: Decimal
    net_gbp: Decimal
    run: Run


def commission_lines(
    nets: Iterable[MonthNet],
    *,
    billed_gbp: Mapping[Month, Decimal],
    terms: CommissionTerms,
    rounding: Rounding,
) -> list[CommissionLine]:
    """Return the differences to bill now; months without a difference have no line.

    Args:
        nets: Settlement months as known now.
        billed_gbp: What earlier bills charged per settlement month.
        terms: The contract.
        rounding: How money is rounded.
    """
    known = {net.month: net for net in nets}
    lines = []
    for due in commission_due(known.values(), terms=terms, rounding=rounding):
        before = billed_gbp.get(due.month, ZERO)
        if due.due_gbp != before:
            lines.append(
                CommissionLine(
                    month=due.month,
                    amount_gbp=due.due_gbp - before,
                    billed_before_gbp=before,
                    due_gbp=due.due_gbp,
                    net_gbp=due.net_gbp,
                    run=known[due.month].oldest_run,
                )
            )
    return lines
