"""What the ledger says about meters and units, as far as baselines need it."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import Any

from pydantic import BaseModel, Field

from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.market.baseline_facts import BaselineFacts
from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.instants import HalfHourStart, Instant
from gridflex.market.baselines.computed import baseline_json
from gridflex.market.baselines.engine import BaselineDay, History, baseline
from gridflex.market.baselines.engine import Event as Activation
from gridflex.market.baselines.honesty import Facts
from gridflex.market.baselines.rules import RULES, Rule, Trigger
from gridflex.market.baselines.same_day import PJM_SAME_DAY_3_2, same_day_baseline
from gridflex.market.baselines.submitted import CapChange
from gridflex.market.days import SettlementDay
from gridflex.market.registry import Msid
from gridflex.market.volumes import Rounding
from gridflex.market.working_days import half_hours_of
from gridflex.serve.clock import Clock
from gridflex.serve.known import Known


class ActivationIn(BaseModel, extra="forbid"):
    """For which day a baseline is wanted, and for which activation.

    Attributes:
        day: Settlement day.
        rule: Name of the rule.
        event_start: First half-hour of the activation; None for no adjustment.
        event_half_hours: How long it lasts.
        trigger: What the market knows about the unit in it.
    """

    day: SettlementDay
    rule: str = "BL01"
    event_start: HalfHourStart | None = None
    event_half_hours: int = Field(default=1, ge=1, le=50)
    trigger: Trigger = Trigger.WHOLESALE_ONLY


class CapChangeIn(BaseModel, extra="forbid"):
    """A change of a job's power cap.

    Attributes:
        at: When.
        job: Which job.
        from_kw: Before.
        to_kw: After.
    """

    at: Instant
    job: str
    from_kw: float
    to_kw: float


class HonestyIn(BaseModel, extra="forbid"):
    """Which commitments are judged.

    Attributes:
        unit: Which unit.
        first: First settlement day.
        last: Last settlement day.
        cap_changes: The log of power caps; None takes the ledger's.
    """

    unit: str
    first: SettlementDay
    last: SettlementDay
    cap_changes: list[CapChangeIn] | None = Field(default=None, max_length=10_000)


class BaselineBooks:
    """What the ledger says about meters and units."""

    def __init__(self, ledger: LedgerStore, clock: Clock) -> None:
        self.ledger = ledger
        self.clock = clock
        self.recorded = BaselineFacts(ledger)
        self.known = Known(ledger, clock)

    async def history(self, meter: Msid, day: date) -> History:
        """Return the readings up to ``day``, as they are known now."""
        return await self.recorded.history(meter, day, now=self.clock.now())

    async def baseline(self, meter: Msid, sent: ActivationIn) -> dict[str, Any]:
        """Return a meter's baseline as it is shown."""
        history = await self.history(meter, sent.day)
        event = None
        if sent.event_start is not None:
            event = Activation(HalfHour.parse(sent.event_start), sent.event_half_hours)
        made = (
            _same_day(sent.day, event, history)
            if sent.rule == PJM_SAME_DAY_3_2.name
            else baseline(
                rule_named(sent.rule, beside=(PJM_SAME_DAY_3_2.name,)),
                day=sent.day,
                history=history,
                event=event,
                trigger=sent.trigger,
            )
        )
        return baseline_json(made, meter=meter, history=history, rounding=Rounding())

    async def activated(self, meter: Msid, day: date) -> frozenset[date]:
        """Return the days on which something was sold of the meter's unit."""
        return await self.recorded.activated(meter, day, now=self.clock.now())

    async def facts(self, sent: HonestyIn) -> Facts:
        """Return what the honesty tests judge.

        Raises:
            ContractError: The unit is unknown or has no meters, or the days are out of order.
        """
        given = sent.cap_changes
        return await self.recorded.facts(
            await self.known.unit(sent.unit),
            first=sent.first,
            last=sent.last,
            now=self.clock.now(),
            cap_changes=None
            if given is None
            else [CapChange(one.at, one.job, one.from_kw, one.to_kw) for one in given],
        )


def _same_day(day: date, event: Activation | None, history: History) -> BaselineDay:
    """Return a baseline from the hours around the event; it holds only in the event."""
    if event is None:
        raise ContractError(f"rule {PJM_SAME_DAY_3_2.name} needs event_start")
    load = {
        at: value
        for one, values in history.load.items()
        for at, value in zip(half_hours_of(one), values, strict=True)
        if value is not None
    }
    level = same_day_baseline(PJM_SAME_DAY_3_2, event=event, load=load)
    outturn = [load.get(at) for at in half_hours_of(day)]
    values = tuple(
        level if i in event.indices() else (None if real is None else Fraction(real))
        for i, real in enumerate(outturn)
    )
    return BaselineDay(
        rule=PJM_SAME_DAY_3_2.name,
        day=day,
        is_defined=True,
        eligible=(),
        selected=(day,),
        excluded={},
        unadjusted=values,
        move=None,
        adjusted=values,
        values=values,
    )


def rule_named(name: str, *, beside: tuple[str, ...] = ()) -> Rule:
    """Return a rule of earlier days by its name.

    Args:
        name: As `GET rules` has it.
        beside: What else would be valid.

    Raises:
        ContractError: There is none; the message names those there are.
    """
    try:
        return RULES[name]
    except KeyError as error:
        valid = ", ".join([*RULES, *beside])
        raise ContractError(f"rule {name!r} is not valid; valid are {valid}") from error
