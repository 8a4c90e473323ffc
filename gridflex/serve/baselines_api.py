"""``/v1/settlement/baselines``: what a meter or unit would have used, and whether that may be sold.

Everything is computed from the readings, declarations and commitments in the ledger.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.market.baseline_facts import JUDGED_BY
from gridflex.halfhour import LONDON, HalfHour
from gridflex.ledger.event import EventType
from gridflex.market.baselines.commitments import is_commitment, read_commitment
from gridflex.market.baselines.computed import baseline_event
from gridflex.market.baselines.quality import (
    PREDICTABILITY,
    USUAL_LIMITS,
    Predictability,
    PredictabilityLimits,
    budget,
    exhausted_on,
    predictability,
)
from gridflex.market.baselines.rules import RULES, Rule
from gridflex.market.baselines.same_day import PJM_SAME_DAY_3_2, SameDay
from gridflex.market.baselines.waivers import Waiver, waiver_event
from gridflex.market.days import SettlementDay
from gridflex.market.policy import Dated
from gridflex.market.registry_records import event_day_event
from gridflex.market.working_days import DAY, first_and_last_of
from gridflex.serve.baseline_books import ActivationIn, BaselineBooks, rule_named
from gridflex.serve.clock import Clock
from gridflex.serve.honesty_api import create_honesty_router
from gridflex.serve.parameters import FirstDay, LastDay, MeterName, OneDay, UnitName

LOOK_AHEAD: Final = timedelta(days=120)
RuleName = Annotated[
    str, Query(description="Baseline method, by its name in `/v1/settlement/baselines/rules`.")
]


class RuleOut(BaseModel):
    """A baseline method.

    Attributes:
        name: As requests name it.
        days: Look-back, pool, minimum and days taken, by kind of day; none where the hours around
            the event are all that counts, and no budget or prediction is asked of it.
        adjustment: How the hours before an event move it.
        source: Where it is described, and how far it is confirmed.
    """

    name: str
    days: dict[str, dict[str, Any]]
    adjustment: str
    source: str


class EventDayIn(BaseModel, extra="forbid"):
    """A day that counts no longer as history.

    Attributes:
        day: Settlement day.
        reason: Balancing service, wholesale trading, outage or abnormal use, with its evidence.
    """

    day: SettlementDay
    reason: str = Field(min_length=1, max_length=1000)


class BudgetOut(BaseModel):
    """The baseline budget of a meter.

    Attributes:
        day: For which day the baseline would be computed.
        alike_days: Days of its kind in the look-back.
        eligible: Those that still count.
        minimum: Fewest that are needed.
        spare_days: Event days that may still be declared without losing the baseline.
        is_exhausted: Whether it is undefined already.
        undeclared: Selected days on which something was sold without declaring it.
        erosion_fraction: Share of the average that these hold.
        exhausted_on: First day without a baseline if every day that is named were declared.
    """

    day: date
    alike_days: int
    eligible: int
    minimum: int
    spare_days: int
    is_exhausted: bool
    undeclared: int
    erosion_fraction: float
    exhausted_on: date | None


class PredictabilityOut(BaseModel):
    """How well a rule met days without events.

    Attributes:
        days: Days compared.
        bias_fraction: Mean of metered minus baseline, relative to mean load; null if not known.
        rrmse_fraction: Root mean square error, relative to mean load; null if not known.
        may_trade: Whether both are within the limits.
        reason: Why not.
        limits: By which limits, and where they come from.
    """

    days: int
    bias_fraction: float | None
    rrmse_fraction: float | None
    may_trade: bool
    reason: str
    limits: dict[str, Any]


class OverrideIn(BaseModel, extra="forbid"):
    """An operator's word that a unit is sold although its baseline may not predict well.

    Attributes:
        until: First settlement day on which it no longer is; a past one ends it.
        reason: Why, and who decided it.
    """

    until: date
    reason: str = Field(min_length=1, max_length=1000)


class OverrideOut(BaseModel):
    """An operator's word, as it is recorded.

    Attributes:
        index: Of its entry in the ledger.
        holds: Whether it holds today; if not, it ended the one before.
    """

    index: int
    holds: bool


class AdmissionOut(PredictabilityOut):
    """Whether a unit may be sold: how its baseline met the meter, and who overrides that.

    Attributes:
        day: On which settlement day.
        override: Which holds on that day; None without one.
        is_sold: Whether the seller offers it.
    """

    day: date
    override: OverrideIn | None
    is_sold: bool


class HeldBackOut(BaseModel):
    """A half-hour in which something could have been sold and nothing was offered.

    Attributes:
        start: Of the half-hour.
        free_mwh: What the plan left free.
        reason: Why it was not offered.
    """

    start: str
    free_mwh: Decimal
    reason: str


def create_baselines_router(
    ledger: LedgerStore, clock: Clock, *, limits: Dated[PredictabilityLimits] = PREDICTABILITY
) -> APIRouter:
    """Return the paths below ``/baselines``.

    Args:
        ledger: Where everything is recorded.
        clock: GridFlex time.
        limits: Within which a baseline must have met the meter for its unit to be sold.
    """
    api = APIRouter(prefix="/baselines", tags=["baselines"])
    books = BaselineBooks(ledger, clock)
    _add_rules(api, books)
    _add_quality(api, books)
    _add_admission(api, books, limits)
    api.include_router(create_honesty_router(books))
    return api


def _add_rules(api: APIRouter, books: BaselineBooks) -> None:
    @api.get("/rules")
    async def rules() -> list[RuleOut]:
        """List baseline methods.

        Which days each looks back to, how the hours before an event move it, and where it is
        described.
        """
        return [*map(_rule_out, RULES.values()), _same_day_out(PJM_SAME_DAY_3_2)]

    @api.post("/meters/{meter}/show")
    async def show(meter: MeterName, sent: ActivationIn) -> dict[str, Any]:
        """Compute a meter's baseline.

        What it would have used in each half-hour of a day (MWh), and how that came about; nothing
        is recorded.
        """
        return await books.baseline(await books.known.meter(meter), sent)

    @api.post("/meters/{meter}")
    async def record(meter: MeterName, sent: ActivationIn) -> dict[str, Any]:
        """Compute a meter's baseline and record it.

        As `show` answers it, with `index`, its place in the ledger.
        """
        shown = await books.baseline(await books.known.meter(meter), sent)
        (index,) = await books.ledger.append([baseline_event(shown)], now=books.clock.now())
        return {"index": index, **shown}

    @api.post("/meters/{meter}/event-days")
    async def declare(meter: MeterName, sent: EventDayIn) -> dict[str, int]:
        """Declare an event day of a meter.

        The day counts no longer as history of its baselines; recorded in the ledger.
        """
        known = await books.known.meter(meter)
        event = event_day_event(known, sent.day, reason=sent.reason)
        (index,) = await books.ledger.append([event], now=books.clock.now())
        return {"index": index}


def _add_quality(api: APIRouter, books: BaselineBooks) -> None:
    @api.get("/meters/{meter}/budget")
    async def gauge(
        meter: MeterName,
        day: OneDay,
        rule: RuleName = "BL01",
        planned: Annotated[
            list[SettlementDay] | None,
            Query(description="Event days to come, one parameter each; as if they were declared."),
        ] = None,
    ) -> BudgetOut:
        """Event days a meter has left.

        How many more may be declared before it has no baseline, and the first day without one if
        all of `planned` were.
        """
        known = await books.known.meter(meter)
        chosen, history = rule_named(rule), await books.history(known, day)
        traded = await books.activated(known, day)
        found = budget(chosen, day=day, history=history, activated=traded)
        lost = exhausted_on(
            chosen,
            first=day,
            last=max([day, *(planned or [])]) + LOOK_AHEAD,
            history=history,
            planned=planned or [],
        )
        return BudgetOut(
            **{name: value for name, value in asdict(found).items() if name != "erosion_fraction"},
            erosion_fraction=float(found.erosion_fraction),
            spare_days=found.spare_days,
            is_exhausted=found.is_exhausted,
            exhausted_on=lost,
        )

    @api.get("/meters/{meter}/predictability")
    async def judged(
        *,
        meter: MeterName,
        until: Annotated[
            SettlementDay, Query(description="The 60 settlement days before this one are compared.")
        ],
        rule: RuleName = "BL01",
        first_period: Annotated[
            int, Query(ge=1, le=48, description="First half-hour of the day compared, 1 to 48.")
        ] = 33,
        periods: Annotated[
            int, Query(ge=1, le=48, description="How many half-hours from it on, 1 to 48.")
        ] = 8,
        bias_fraction: Annotated[
            float, Query(gt=0, description="Largest bias to trade on, 0.1 being 10 % of mean load.")
        ] = USUAL_LIMITS.bias_fraction,
        rrmse_fraction: Annotated[
            float, Query(gt=0, description="Largest error (RMSE) likewise, 0.2 being 20 %.")
        ] = USUAL_LIMITS.rrmse_fraction,
    ) -> PredictabilityOut:
        """How well a method predicts a meter.

        Bias and error of its baselines on the 60 days before `until` that had no event, and
        whether both are small enough to trade on them.
        """
        known = await books.known.meter(meter)
        chosen, history = rule_named(rule), await books.history(known, until)
        limits = PredictabilityLimits(
            bias_fraction, rrmse_fraction, USUAL_LIMITS.sample_days, USUAL_LIMITS.source
        )
        found: Predictability = predictability(
            chosen,
            days=[until - back * DAY for back in range(1, JUDGED_BY + 1)],
            window=range(first_period - 1, min(first_period - 1 + periods, 48)),
            history=history,
            limits=limits,
        )
        return PredictabilityOut(**asdict(found), limits=asdict(limits))


def _add_admission(
    api: APIRouter, books: BaselineBooks, limits: Dated[PredictabilityLimits]
) -> None:
    @api.get("/units/{unit}/predictability")
    async def admitted(
        unit: UnitName,
        day: Annotated[
            SettlementDay | None, Query(description="Settlement day in London; today if left out.")
        ] = None,
    ) -> AdmissionOut:
        """Whether a unit may be sold on a day.

        How its baseline met the meter, by which limits, and who overrides that; what the seller
        asks once a day.
        """
        now, known = books.clock.now(), await books.known.unit(unit)
        at = day or now.astimezone(LONDON).date()
        used = limits.on(at)
        found = await books.recorded.predictability(known, day=at, limits=used, now=now)
        waiver = await books.recorded.waiver(known, day=at)
        return AdmissionOut(
            **asdict(found),
            limits=asdict(used),
            day=at,
            override=None
            if waiver is None
            else OverrideIn(until=waiver.until, reason=waiver.reason),
            is_sold=found.may_trade or waiver is not None,
        )

    @api.post("/units/{unit}/override")
    async def allow(unit: UnitName, sent: OverrideIn) -> OverrideOut:
        """Have a unit sold whatever its baseline.

        Until a day, with the reason; recorded in the ledger as an override. A past day ends it.
        """
        now, known = books.clock.now(), await books.known.unit(unit)
        event = waiver_event(Waiver(known, sent.until, sent.reason))
        (index,) = await books.ledger.append([event], now=now)
        return OverrideOut(index=index, holds=now.astimezone(LONDON).date() < sent.until)

    @api.get("/units/{unit}/held-back")
    async def held_back(unit: UnitName, first: FirstDay, last: LastDay) -> list[HeldBackOut]:
        """Half-hours in which nothing was offered.

        Those of a unit in which the plan left something free (MWh), and why it was not offered.
        """
        known = await books.known.unit(unit)
        span = first_and_last_of(first, last)
        found = await books.ledger.find(
            EventType.BASELINE_COMPUTED, subject=f"unit:{known}", first=span[0], last=span[1]
        )
        made = [
            (one.event["valid_time"], read_commitment(one.event["body"]))
            for one in found
            if is_commitment(one.event)
        ]
        return [
            HeldBackOut(
                start=str(HalfHour.parse(at)),
                free_mwh=(one.expected - one.planned).mwh,
                reason=one.held_back,
            )
            for at, one in made
            if one.held_back is not None
        ]


def _same_day_out(rule: SameDay) -> RuleOut:
    before, after, gap = (count / 2 for count in (rule.before, rule.after, rule.gap))
    return RuleOut(
        name=rule.name,
        days={},
        adjustment=f"mean of {before:g} h before the event and {after:g} h after, {gap:g} h away",
        source=rule.source,
    )


def _rule_out(rule: Rule) -> RuleOut:
    adjusts = rule.adjustment
    cap = "" if adjusts.cap is None else f", at most {float(adjusts.cap):.0%}"
    hours = f" over {adjusts.length / 2:g} h ending {adjusts.gap / 2:g} h before{cap}"
    return RuleOut(
        name=rule.name,
        days={kind: asdict(one) for kind, one in rule.selections.items()},
        adjustment=adjusts.kind.value + (hours if adjusts.kind.value != "none" else ""),
        source=rule.source,
    )
