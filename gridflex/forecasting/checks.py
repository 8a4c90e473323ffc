"""Whether a history can be learnt from: enough of it, alive, and in the unit it says."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Final

import numpy as np

from gridflex.errors import ContractError
from gridflex.forecasting.history import Array, History, Knowledge
from gridflex.halfhour import HalfHour
from gridflex.signals import BOUNDS, Signal

HALF_HOURS_A_DAY: Final = 48
LEAST_DAYS: Final = 28
"""Four of every weekday."""

_RECENT_DAYS: Final = 28
_SAME_UNIT_FACTOR: Final = 1.9
"""Less lies between levels of one unit; lb/MWh is 2.2 times g/kWh, p/kWh a tenth of GBP/MWh."""

_LEAST_LEVEL: Final = 20.0
_LARGEST_INTENSITY_GCO2_PER_KWH: Final = 1_100.0
"""Lignite; no grid emits more for long, so a higher level is lb/MWh."""

_SMALLEST_PRICE_GBP_PER_MWH: Final = 15.0
"""No month of the GB wholesale price was as low; p/kWh is a tenth of GBP/MWh."""

_UNITS: Final = {
    "gco2_per_kwh": (BOUNDS[Signal.INTENSITY], 0.0, _LARGEST_INTENSITY_GCO2_PER_KWH),
    "gbp_per_mwh": (BOUNDS[Signal.PRICE], _SMALLEST_PRICE_GBP_PER_MWH, np.inf),
}
"""Ending of a name to the bounds of one value and those of a month's median size."""


def learnable(known: Knowledge, *, least_days: int = LEAST_DAYS) -> Array:
    """Return all known outturns of the target, shape ``(issued,)`` with NaN in gaps.

    Raises:
        ContractError: Fewer than ``least_days`` days are known, or none of the last
            ``least_days``; the values never change; or they cannot be in the unit of their name.
    """
    past = known.past()
    told = np.isfinite(past)
    days = told.sum() / HALF_HOURS_A_DAY
    if days < least_days:
        raise ContractError(
            f"{known.target}: {days:.1f} days are known at {known.issued}, {least_days} are needed"
        )
    recent = past[-least_days * HALF_HOURS_A_DAY :]
    if not np.isfinite(recent).any():
        raise ContractError(
            f"{known.target}: nothing is known of the {least_days} days before {known.issued}"
        )
    if np.ptp(past[told]) == 0.0:
        raise ContractError(f"{known.target}: it is {past[told][0]:g} throughout")
    _check_unit(known.target, past[told])
    _check_agreement(known)
    return past


def level_before(history: History, end: HalfHour) -> float | None:
    """Return the usual size of the target in the four weeks before ``end``, None if not known."""
    count = _RECENT_DAYS * HALF_HOURS_A_DAY
    return _level(history.outturn(end - count, count))


def check_same_level(history: History, end: HalfHour, level: float | None) -> None:
    """Refuse a history that has the four weeks before ``end`` at another level than once.

    Whoever learnt from the same half-hours before knows their level, so this tells another unit
    where the level itself would be plausible.

    Args:
        history: Is to be learnt from.
        end: Of what was learnt from before.
        level: `level_before` as it was then; None if it is not known.

    Raises:
        ContractError: The levels lie a factor apart.
    """
    now = level_before(history, end)
    if now is None or level is None or not history.target.endswith(tuple(_UNITS)):
        return
    low, high = sorted((now, level))
    if high > _LEAST_LEVEL and high > _SAME_UNIT_FACTOR * low:
        raise ContractError(
            f"{history.target}: the four weeks before {end} were usually {level:.1f} when "
            f"the champion learnt from them and are {now:.1f} now; is it in another unit "
            "(lb/MWh, p/kWh)? If the champion is wrong, roll it back first"
        )


def _check_unit(name: str, values: Array) -> None:
    for ending, ((low, high), least, most) in _UNITS.items():
        if not name.endswith(ending):
            continue
        wrong = values[(values < low) | (values > high)]
        if wrong.size:
            raise ContractError(f"{name}: {wrong[0]:g} is outside {low:g} to {high:g}")
        level = float(np.median(np.abs(values)))
        if not least <= level <= most:
            raise ContractError(
                f"{name}: a usual size of {level:g} is outside {least:g} to {most:g}; "
                "is it in another unit (lb/MWh, p/kWh)?"
            )


def _check_agreement(known: Knowledge) -> None:
    """Refuse two inputs of one unit whose levels lie a factor apart."""
    for ending in _UNITS:
        levels = _levels(known, [name for name in known.names if name.endswith(ending)])
        for one, other in combinations(levels, 2):
            low, high = sorted((levels[one], levels[other]))
            if high > _LEAST_LEVEL and high > _SAME_UNIT_FACTOR * low:
                raise ContractError(
                    f"{one} is usually {levels[one]:.1f} and {other} {levels[other]:.1f}; "
                    "one of them is in another unit (lb/MWh, p/kWh)"
                )


def _levels(known: Knowledge, names: Sequence[str]) -> dict[str, float]:
    count = _RECENT_DAYS * HALF_HOURS_A_DAY
    levels = {name: _level(known.window(name, -count, count)) for name in names}
    return {name: level for name, level in levels.items() if level is not None}


def _level(values: Array) -> float | None:
    told = values[np.isfinite(values)]
    return float(np.median(np.abs(told))) if told.size > values.size / 2 else None
