"""GB Carbon Intensity API: average operational intensity of generation, in gCO2/kWh.

Rows are taken by their own ``from``, never by position: an answer begins one half-hour early.
``actual`` is labelled half an hour early and is moved by ``outturn_label_shift``; forecasts
are not moved. ``/intensity`` and ``/intensity/date`` are not used: the first answers with a
half-hour that is over, the second with the local day. ``forecast`` of a past half-hour is a
nowcast and is never returned.

Source:
    https://carbon-intensity.github.io/api-definitions/ (CC BY 4.0).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from pydantic import BaseModel

from gridflex.adapters.grid.series import Start, tidy
from gridflex.adapters.http import Answer, Fetcher
from gridflex.errors import SourceError
from gridflex.halfhour import HALF_HOUR, HalfHour
from gridflex.signals import NATIONAL, Kind, Series, Signal

PROVIDER: Final = "carbon-intensity"
FORECAST: Final = "carbon-intensity/fw48h"
OUTTURN: Final = "carbon-intensity/actual"
MIX: Final = "carbon-intensity/generation"
MAX_RANGE: Final = timedelta(days=14)


class _Intensity(BaseModel):
    forecast: float | None = None
    actual: float | None = None


class _Share(BaseModel):
    fuel: str
    perc: float


class _Row(BaseModel):
    intensity: _Intensity
    generationmix: list[_Share] | None = None
    from_: Start

    model_config = {"alias_generator": lambda name: name.rstrip("_")}

    @property
    def is_blank(self) -> bool:
        """A region whose every fuel is at 0 %: the service had nothing to say."""
        mix = self.generationmix
        return mix is not None and not any(share.perc for share in mix)


class _National(BaseModel):
    data: list[_Row]


class _Region(BaseModel):
    regionid: int | None = None
    data: list[_Row]


class _Regional(BaseModel):
    data: _Region | list[_Region]


class _Mix(BaseModel):
    from_: Start
    generationmix: list[_Share]

    model_config = {"alias_generator": lambda name: name.rstrip("_")}


class _Generation(BaseModel):
    data: _Mix | list[_Mix]


class CarbonIntensity:
    """What the API says.

    Args:
        fetcher: Asks it.
        outturn_label_shift: Added to the start of ``actual`` rows, a multiple of 30 minutes.
    """

    def __init__(
        self, fetcher: Fetcher, *, outturn_label_shift: timedelta = timedelta(minutes=30)
    ) -> None:
        self._fetcher = fetcher
        self._shift_half_hours = outturn_label_shift // HALF_HOUR

    async def forecast(self, *, now: datetime, region: str = NATIONAL) -> Series:
        """Return the forecast of the next 48 h from the running half-hour on.

        Args:
            now: GridFlex time.
            region: ``GB``, an outward postcode such as ``RG10``, or ``region-13``.

        Raises:
            SourceError: No usable answer.
            ContractError: A row is malformed.
        """
        first = HalfHour.containing(now)
        stamp = _inside(first)
        if region == NATIONAL:
            answer = await self._fetcher.get(f"intensity/{stamp}/fw48h", now=now)
            rows = answer.parse(_National).data
        else:
            place = _place(region)
            answer = await self._fetcher.get(f"regional/intensity/{stamp}/fw48h/{place}", now=now)
            rows = _only_region(answer)
        values = {
            row.from_: np.nan if row.is_blank else row.intensity.forecast
            for row in rows
            if row.from_ >= first and row.intensity.forecast is not None
        }
        return tidy(
            values,
            signal=Signal.INTENSITY,
            kind=Kind.FORECAST,
            source=FORECAST,
            origin=answer.origin,
            now=now,
            region=region,
        )

    async def outturn(self, *, start: HalfHour, end: HalfHour, now: datetime) -> Series:
        """Return the national outturn of half-hours from ``start`` up to, not including, ``end``.

        Estimates that are still null are NaN. There is no regional outturn.

        Raises:
            SourceError: No usable answer.
            ContractError: A row is malformed.
        """
        values: dict[HalfHour, float] = {}
        origin = None
        for first, last in _chunks(start - self._shift_half_hours, end - self._shift_half_hours):
            answer = await self._fetcher.get(f"intensity/{_inside(first)}/{last}", now=now)
            origin = origin or answer.origin
            for row in answer.parse(_National).data:
                half_hour = row.from_ + self._shift_half_hours
                if start <= half_hour < end and row.intensity.actual is not None:
                    values[half_hour] = row.intensity.actual
        if origin is None:
            raise ValueError(f"an outturn needs start before end, got {start} and {end}")
        return tidy(
            values,
            signal=Signal.INTENSITY,
            kind=Kind.OUTTURN,
            source=OUTTURN,
            origin=origin,
            now=now,
        )

    async def generation_mix(
        self, *, start: HalfHour, end: HalfHour, now: datetime
    ) -> Sequence[Series]:
        """Return for each fuel its share of national generation; imports count as a fuel.

        Raises:
            SourceError: No usable answer.
            ContractError: A row is malformed.
        """
        shares: defaultdict[str, dict[HalfHour, float]] = defaultdict(dict)
        origin = None
        for first, last in _chunks(start, end):
            answer = await self._fetcher.get(f"generation/{_inside(first)}/{last}", now=now)
            origin = origin or answer.origin
            data = answer.parse(_Generation).data
            for row in data if isinstance(data, list) else [data]:
                if start <= row.from_ < end:
                    for share in row.generationmix:
                        shares[share.fuel][row.from_] = share.perc / 100
        if origin is None or not shares:
            raise SourceError(f"{MIX}: nothing is said of {start} to {end}")
        return [
            tidy(
                values,
                signal=Signal.GENERATION_SHARE,
                kind=Kind.OUTTURN,
                source=mix_source(fuel),
                origin=origin,
                now=now,
            )
            for fuel, values in shares.items()
        ]


def mix_source(fuel: str) -> str:
    """Return the source of one fuel's share."""
    return f"{MIX}/{fuel}"


def _inside(first: HalfHour) -> str:
    """A stamp inside a half-hour, so that it is the first one answered."""
    return (first.start + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%MZ")


def _chunks(start: HalfHour, end: HalfHour) -> Iterator[tuple[HalfHour, HalfHour]]:
    step = MAX_RANGE // HALF_HOUR
    while start < end:
        last = min(start + step, end)
        yield start, last
        start = last


def _place(region: str) -> str:
    if region.startswith("region-"):
        return f"regionid/{region.removeprefix('region-')}"
    return f"postcode/{region.split(maxsplit=1)[0].upper()}"


def _only_region(answer: Answer) -> list[_Row]:
    data = answer.parse(_Regional).data
    if isinstance(data, _Region):
        return data.data
    if len(data) != 1:
        raise SourceError(f"{answer.provider}: {answer.url}: {len(data)} regions, not one")
    return data[0].data
