"""``/v1/settlement/baselines``: a submitted baseline, held against what was metered.

Everything is computed from the readings and commitments in the ledger.
"""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal

from fastapi import APIRouter
from pydantic import BaseModel

from gridflex.market.baselines.honesty import coverage, honesty, outcomes
from gridflex.market.baselines.submitted import Finding, HonestyLimits
from gridflex.market.trading.delivery import rebound
from gridflex.market.volumes import Rounding
from gridflex.market.working_days import first_and_last_of
from gridflex.serve.baseline_books import BaselineBooks, HonestyIn


class ReboundOut(BaseModel):
    """What was delivered, and what came back, over all half-hours with a commitment and a reading.

    Attributes:
        half_hours: How many there are.
        window_half_hours: How many half-hours the days have.
        without_reading: Those of them in which no meter said anything: what came back is not known.
        without_commitment: Those with a reading in which nobody said what was expected.
        is_covered: Whether there is none of either, so that what is saved is saved.
        delivered_mwh: Less import than expected where something was sold, net.
        rebound_mwh: More import than expected in the other half-hours, net.
        saved_mwh: What was not made up for within these half-hours.
        rebound_fraction: Share of the delivery that came back; None without delivery.
    """

    half_hours: int
    window_half_hours: int
    without_reading: int
    without_commitment: int
    is_covered: bool
    delivered_mwh: Decimal
    rebound_mwh: Decimal
    saved_mwh: Decimal
    rebound_fraction: float | None


class FindingOut(BaseModel):
    """What one honesty test found.

    Attributes:
        test: Its name.
        verdict: Passed, failed or inconclusive.
        detail: What was compared with what.
    """

    test: str
    verdict: str
    detail: str


def create_honesty_router(books: BaselineBooks) -> APIRouter:
    """Return the paths that judge a submitted baseline by what was metered."""
    api = APIRouter()

    @api.post("/honesty")
    async def judged(sent: HonestyIn) -> list[FindingOut]:
        """Test a submitted baseline for honesty.

        Five tests of what a unit's plan expected over some days against what was metered, each
        passed, failed or inconclusive, with what was compared.
        """
        facts = await books.facts(sent)
        found = honesty(facts, limits=HonestyLimits(), rounding=Rounding())
        return [_finding(one) for one in found]

    @api.post("/rebound")
    async def came_back(sent: HonestyIn) -> ReboundOut:
        """What was delivered and what came back.

        Energy (MWh) that a unit used less where something was sold, what it used more in the
        other half-hours, and how much of the days is covered by readings.
        """
        facts = await books.facts(sent)
        happened = outcomes(facts)
        found = rebound(happened)
        begin, end = first_and_last_of(sent.first, sent.last)
        window = coverage(facts, first=begin, last=end)
        share = found.rebound_fraction
        return ReboundOut(
            half_hours=len(happened),
            is_covered=window.is_whole,
            **asdict(window),
            delivered_mwh=found.delivered.mwh,
            rebound_mwh=found.rebound.mwh,
            saved_mwh=found.saved.mwh,
            rebound_fraction=None if share is None else float(share),
        )

    return api


def _finding(one: Finding) -> FindingOut:
    return FindingOut(test=one.test, verdict=one.verdict.value, detail=one.detail)
