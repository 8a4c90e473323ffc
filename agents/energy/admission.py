"""Whether a unit may be sold: its baseline must have met the meter, or an operator says so."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Final

from gridflex.adapters.market.baseline_facts import BaselineFacts
from gridflex.errors import ContractError
from gridflex.halfhour import LONDON
from gridflex.market.baselines.quality import (
    PREDICTABILITY,
    Predictability,
    PredictabilityLimits,
    way_out,
)
from gridflex.market.policy import Dated
from gridflex.market.registry import UnitId

log = logging.getLogger(__name__)

TOLD_BEFORE: Final = timedelta(days=14)
"""How long before an override ends it is told that nothing would be sold after it."""


@dataclass(frozen=True, slots=True)
class Admission:
    """Whether a unit may be sold.

    Args:
        said: How its baseline was judged, and who overrides that.
        held_back: Why nothing is sold; None where it may be.
        ends: From when on nothing will be sold, and why, if nothing changes until then; None where
            that is not soon.
    """

    said: str
    held_back: str | None = None
    ends: str | None = None


@dataclass(frozen=True, slots=True)
class _Judged:
    """A verdict, its day, and the ledger's newest reading before it."""

    day: date
    readings: int | None
    found: Predictability


class Admissions:
    """Judges units: each once a day, and again when readings came in while it is held back.

    An override counts at once.

    Args:
        facts: What was committed, metered and overridden.
        limits: What is good enough, over time.
    """

    def __init__(
        self, facts: BaselineFacts, *, limits: Dated[PredictabilityLimits] = PREDICTABILITY
    ) -> None:
        self._facts = facts
        self._limits = limits
        self._judged: dict[UnitId, _Judged] = {}

    async def of(self, unit: UnitId, *, day: date, now: datetime) -> Admission:
        """Return whether a unit may be sold on a settlement day.

        Args:
            unit: Which unit.
            day: Settlement day of what would be sold.
            now: GridFlex time.

        Raises:
            SourceError: The database cannot be reached.
        """
        try:
            found = await self._judge(unit, now)
        except ContractError as error:
            return Admission(str(error), held_back=str(error))
        said = judged_text(found)
        if found.may_trade:
            return Admission(said)
        waiver = await self._facts.waiver(unit, day=day)
        if waiver is None:
            return Admission(said, held_back=f"{said}; {way_out(unit)}")
        allowed = f"sold all the same until {waiver.until}: {waiver.reason}"
        is_soon = waiver.until - day <= TOLD_BEFORE
        ends = f"from {waiver.until} on, when the override ends: {said}" if is_soon else None
        return Admission(f"{said}; {allowed}", ends=ends)

    async def _judge(self, unit: UnitId, now: datetime) -> Predictability:
        today = now.astimezone(LONDON).date()
        known = self._judged.get(unit)
        if known is not None and known.day == today and known.found.may_trade:
            return known.found
        readings = await self._facts.newest_reading()
        if known is None or (known.day, known.readings) != (today, readings):
            limits = self._limits.on(today)
            found = await self._facts.predictability(unit, day=today, limits=limits, now=now)
            log.info("%s on %s: %s", unit, today, judged_text(found))
            known = self._judged[unit] = _Judged(today, readings, found)
        return known.found


def judged_text(found: Predictability) -> str:
    """Return a verdict in words."""
    if not found.may_trade or found.bias_fraction is None or found.rrmse_fraction is None:
        return f"baseline is not known to predict the meter: {found.reason}"
    return (
        f"baseline met the meter on {found.days} days: bias {found.bias_fraction:+.1%}, error "
        f"{found.rrmse_fraction:.1%}"
    )
