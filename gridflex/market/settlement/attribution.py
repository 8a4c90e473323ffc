"""Who earned what: an account's net revenue spread over contracts, jobs and teams.

Revenue of a half-hour goes to what reduced import in it, in proportion; work that used more
than expected takes nothing and is shown. What no job explains stays with the portfolio, so the
parts always add up to the whole, to the penny.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Annotated, Final

from pydantic import Field

from gridflex.halfhour import HalfHour
from gridflex.market.volumes import ZERO, Rounding, rounded_together

PORTFOLIO: Final = "portfolio"
"""Receives what no job's reduction explains."""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one job did in one half-hour.

    Args:
        half_hour: When.
        job: Which job.
        team: Its owner.
        contract: Flexibility contract it served, if one.
        reduction_mwh: Less import than its no-flexibility plan; negative if it used more.
        account: Behind whose units it ran; None where its book says that by the half-hour.
    """

    half_hour: HalfHour
    job: str
    team: str
    contract: str | None
    reduction_mwh: Decimal
    account: Annotated[str | None, Field(exclude_if=lambda one: one is None)] = None


@dataclass(frozen=True, slots=True)
class Shares:
    """One net sum, spread three ways; each adds up to the sum in whole pence.

    Args:
        total_gbp: The sum.
        by_contract: Per contract.
        by_job: Per job.
        by_team: Per team.
        negative_mwh: Per job, what it used more than expected; it took no revenue.
    """

    total_gbp: Decimal
    by_contract: Mapping[str, Decimal]
    by_job: Mapping[str, Decimal]
    by_team: Mapping[str, Decimal]
    negative_mwh: Mapping[str, Decimal]


def attribute(
    net_gbp: Mapping[HalfHour, Decimal],
    *,
    contributions: Iterable[Contribution],
    rounding: Rounding,
) -> Shares:
    """Spread the net of each half-hour over what was done in it.

    Args:
        net_gbp: Exact net per half-hour.
        contributions: What jobs did; those in other half-hours are not used.
        rounding: How money is rounded.
    """
    by_half_hour: dict[HalfHour, list[Contribution]] = {half_hour: [] for half_hour in net_gbp}
    for one in contributions:
        if one.half_hour in by_half_hour:
            by_half_hour[one.half_hour].append(one)
    total = rounding.cash(sum(net_gbp.values(), ZERO))

    def spread(key: Callable[[Contribution], str]) -> dict[str, Decimal]:
        exact: dict[str, Fraction] = {}
        for half_hour, gbp in net_gbp.items():
            for name, share in _shares(by_half_hour[half_hour], key).items():
                exact[name] = exact.get(name, Fraction(0)) + Fraction(gbp) * share
        return _to_pence(exact, total)

    return Shares(
        total_gbp=total,
        by_contract=spread(lambda one: one.contract or PORTFOLIO),
        by_job=spread(lambda one: one.job),
        by_team=spread(lambda one: one.team),
        negative_mwh=_negative(by_half_hour.values()),
    )


def _shares(
    contributions: list[Contribution], key: Callable[[Contribution], str]
) -> dict[str, Fraction]:
    positive = [one for one in contributions if one.reduction_mwh > 0]
    whole = sum((Fraction(one.reduction_mwh) for one in positive), Fraction(0))
    if not whole:
        return {PORTFOLIO: Fraction(1)}
    shares: dict[str, Fraction] = {}
    for one in positive:
        name = key(one)
        shares[name] = shares.get(name, Fraction(0)) + Fraction(one.reduction_mwh) / whole
    return shares


def _to_pence(exact: dict[str, Fraction], total: Decimal) -> dict[str, Decimal]:
    """Round shares together; the rounding of the sum itself falls to the largest share."""
    if not exact:
        return {}
    rest = Fraction(total) - sum(exact.values(), Fraction(0))
    largest = max(sorted(exact), key=lambda name: abs(exact[name]))
    return rounded_together(exact | {largest: exact[largest] + rest})


def _negative(groups: Iterable[list[Contribution]]) -> dict[str, Decimal]:
    used: dict[str, Decimal] = {}
    for group in groups:
        for one in group:
            if one.reduction_mwh < 0:
                used[one.job] = used.get(one.job, ZERO) - one.reduction_mwh
    return dict(sorted(used.items()))
