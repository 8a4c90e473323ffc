"""From a provider's rows to a `Series`: sorted, gaps as NaN, keyed by their own time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Final

import numpy as np
from pydantic import PlainValidator, TypeAdapter

from gridflex.errors import ContractError, SourceError
from gridflex.halfhour import HalfHour
from gridflex.instants import Instant
from gridflex.signals import NATIONAL, Kind, Origin, Series, Signal

LONGEST: Final = 400 * 48
"""Half-hours that an answer spans at most; more is a wrong date."""

_MOMENT: Final = TypeAdapter(Instant)


def _half_hour(raw: object) -> HalfHour:
    moment = _MOMENT.validate_python(raw)
    half_hour = HalfHour.containing(moment)
    if half_hour.start != moment:
        raise ValueError("must be on the hour or half-hour")
    return half_hour


Start = Annotated[HalfHour, PlainValidator(_half_hour)]
"""A half-hour that a provider names by its start."""


class PartlyToldError(SourceError):
    """Only a part of what was asked for could be had, of a source whose values are final.

    Args:
        reason: Why the rest could not.
        told: The part.
    """

    def __init__(self, reason: str, told: Series) -> None:
        super().__init__(reason)
        self.told = told

    def __reduce__(self) -> tuple[type[PartlyToldError], tuple[str, Series]]:
        return type(self), (str(self), self.told)


def tidy(
    values: Mapping[HalfHour, float],
    *,
    signal: Signal,
    kind: Kind,
    source: str,
    origin: Origin,
    now: datetime,
    region: str = NATIONAL,
    issued_at: datetime | None = None,
) -> Series:
    """Return the values as one series from the first to the last half-hour.

    Args:
        values: In the signal's unit; NaN is the same as absent.
        signal: What the values are.
        kind: Forecast or outturn.
        source: Provider and product.
        origin: What the answering server said.
        now: When the answer arrived; ``available_at``.
        region: Region of the source.
        issued_at: When the source made the statement; None where it does not say, which
            takes ``now``.

    Raises:
        SourceError: There is no value at all.
        ContractError: A value is implausible, or the first is years from the last.
    """
    known = {half_hour: value for half_hour, value in values.items() if np.isfinite(value)}
    if not known:
        raise SourceError(f"{source}: the answer has no values")
    start, last = min(known), max(known)
    if start.until(last) >= LONGEST:
        raise ContractError(f"{source}: the answer spans {start} to {last}, over a year")
    series = np.full(start.until(last) + 1, np.nan)
    for half_hour, value in known.items():
        series[start.until(half_hour)] = value
    return Series(
        signal=signal,
        kind=kind,
        source=source,
        origin=origin,
        region=region,
        start=start,
        values=series,
        issued_at=issued_at or now,
        available_at=now,
    )


def agreed(half_hour: HalfHour, *, day: date, period: int, source: str) -> HalfHour:
    """Return the half-hour on which a row's start and its settlement period agree.

    Raises:
        ContractError: They do not, or the day has no such period.
    """
    if HalfHour.from_settlement(day, period) != half_hour:
        raise ContractError(
            f"{source}: startTime {half_hour} is not settlement period {period} of {day}"
        )
    return half_hour
