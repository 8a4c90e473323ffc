"""``/v1/grid``: what GridFlex knows of price and carbon intensity, and how well it knows it.

Every value says its source, its rung on the ladder, its age and what it rests on, so that a
simulated or recorded number cannot be taken for a live one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any, Final, Protocol

import numpy as np
from fastapi import APIRouter, Query
from numpy.typing import NDArray
from pydantic import BaseModel

from gridflex.adapters.tables import AgentRow
from gridflex.agents.feeds import FeedReport
from gridflex.agents.grid import Grid, Mix
from gridflex.agents.roles import GRID
from gridflex.halfhour import HalfHour
from gridflex.places import PLACE, VALID_PLACE
from gridflex.quantiles import LEVELS
from gridflex.serve.clock import Clock
from gridflex.serve.problems import ProblemError
from gridflex.signals import NATIONAL, Band, Blend, Origin, Rung, weakest

LONGEST_H: Final = 14 * 24
_REGION: Final = re.compile(f"{NATIONAL}|{PLACE}")
_VALID_REGION: Final = f"{NATIONAL}, {VALID_PLACE}"

Hours = Annotated[
    int, Query(ge=1, le=LONGEST_H, description=f"How far to look ahead, hours, 1 to {LONGEST_H}.")
]
Region = Annotated[str, Query(description=f"Where intensity is asked for: {_VALID_REGION}.")]


class Agents(Protocol):
    """The last sign of life of each agent."""

    async def all(self) -> Sequence[AgentRow]:
        """Return them."""
        ...


class Known(BaseModel):
    """How well a value is known.

    Attributes:
        source: Provider and product, ``climatology`` for the usual level, ``unknown`` for the
            mean of the rest.
        region: What the value is about: a national one stands in where no regional one is known.
        rung: Step of the ladder from ``fresh`` to ``unknown``.
        age_s: Seconds of GridFlex time since it became available; None where it never did.
        origin: ``live``, ``recorded``, ``simulated`` or ``computed``.
        quantiles: Level, such as ``0.05``, to the value that is undercut with that probability,
            in the value's unit; None where nobody knows how sure it is.
        band: What they rest on: ``said`` by the source, ``measured`` from its past errors,
            ``assumed`` from published ones, or ``none``.
    """

    source: str
    region: str
    rung: str
    age_s: float | None
    origin: Origin
    quantiles: dict[str, float] | None
    band: Band


class Intensity(Known):
    """Average carbon intensity of generation."""

    gco2_per_kwh: float


class Price(Known):
    """Wholesale price."""

    gbp_per_mwh: float


class GridHalfHour(BaseModel):
    """Intensity and price of one half-hour, known by its start in UTC."""

    start: datetime
    intensity: Intensity
    price: Price


class GenerationMix(BaseModel):
    """Where the electricity of a half-hour came from.

    Attributes:
        start: The newest half-hour that is known.
        share_fraction: Fuel to its share, 0 to 1.
        age_s: Seconds of GridFlex time since it became available.
        origin: What the shares rest on.
    """

    start: datetime
    share_fraction: dict[str, float]
    age_s: float
    origin: Origin


class FeedStanding(BaseModel):
    """How fresh what is stored of one feed is.

    Attributes:
        provider: Whose feed it is.
        source: Provider and product.
        region: Region of its series.
        last_good_at: When its newest stored statement became available; None if none ever did.
        age_s: Seconds of GridFlex time since then.
        reason: Why the grid agent's last poll failed; empty if it did not.
    """

    provider: str
    source: str
    region: str
    last_good_at: datetime | None
    age_s: float | None
    reason: str


class Asked(BaseModel):
    """What was asked for, and how far it is known.

    Attributes:
        now: GridFlex time of the answer.
        region: What was asked for.
        regions: Those besides GB of which intensity is asked for, by the sites' postcodes.
        national_half_hours: Half-hours whose intensity is national because no regional one is
            known of them; 0 where GB was asked for.
        origin: The weakest origin among the values.
    """

    now: datetime
    region: str
    regions: list[str]
    national_half_hours: int
    origin: Origin


class GridNow(Asked):
    """The running half-hour.

    Attributes:
        half_hour: What is known of it.
        generation_mix: The newest national one of the last day; None if none is known.
        feeds: How fresh every feed is.
    """

    half_hour: GridHalfHour
    generation_mix: GenerationMix | None
    feeds: list[FeedStanding]


class GridForecast(Asked):
    """The half-hours from the running one on.

    Attributes:
        worst_rung: The weakest rung among the values.
        half_hours: In order of time.
    """

    worst_rung: str
    half_hours: list[GridHalfHour]


def create_grid_router(grid: Grid, clock: Clock, agents: Agents | None = None) -> APIRouter:
    """Return the paths below ``/grid``.

    Args:
        grid: What is known.
        clock: GridFlex time.
        agents: Where the grid agent says why a poll failed; None leaves the reasons out.
    """
    api = APIRouter(prefix="/grid", tags=["grid"])

    @api.get("/now")
    async def now(region: Region = NATIONAL) -> GridNow:
        """Price and carbon intensity of this half-hour.

        GBP per MWh and gCO2 per kWh with their source, age (s) and quantiles; the generation mix;
        and how fresh every feed is, with the reason where its last poll failed.
        """
        forecast = await _forecast(grid, clock.now(), half_hours=1, region=region)
        standing = await grid.standing(forecast.now)
        reasons = _reasons(await agents.all()) if agents else {}
        return GridNow(
            now=forecast.now,
            region=forecast.region,
            regions=forecast.regions,
            national_half_hours=forecast.national_half_hours,
            origin=forecast.origin,
            half_hour=forecast.half_hours[0],
            generation_mix=_mix(await grid.mix(forecast.now)),
            feeds=[_standing(feed, reasons) for feed in standing],
        )

    @api.get("/forecast")
    async def forecast(hours: Hours = 48, region: Region = NATIONAL) -> GridForecast:
        """Price and carbon intensity of the hours ahead.

        GBP per MWh and gCO2 per kWh of every half-hour from the running one on, each with its
        source, age (s) and quantiles.
        """
        return await _forecast(grid, clock.now(), half_hours=2 * hours, region=region)

    return api


async def _forecast(grid: Grid, now: datetime, *, half_hours: int, region: str) -> GridForecast:
    place = _place(region)
    start = HalfHour.containing(now)
    intensity, price = await grid.outlook(now, start=start, half_hours=half_hours, region=place)
    return GridForecast(
        now=now,
        region=place,
        regions=_regional(grid, now),
        national_half_hours=intensity.regions.count(NATIONAL) if place != NATIONAL else 0,
        origin=weakest({intensity.origin, price.origin}),
        worst_rung=max(intensity.worst_rung, price.worst_rung).name.lower(),
        half_hours=[
            GridHalfHour(
                start=half_hour.start,
                intensity=Intensity(gco2_per_kwh=intensity.values[i], **_known(intensity, i)),
                price=Price(gbp_per_mwh=price.values[i], **_known(price, i)),
            )
            for i, half_hour in enumerate(start.span(half_hours))
        ],
    )


def _regional(grid: Grid, now: datetime) -> list[str]:
    return sorted({feed.region for feed in grid.report(now).feeds} - {NATIONAL})


def _known(blend: Blend, index: int) -> dict[str, Any]:
    age_s = float(blend.ages_s[index])
    return {
        "source": blend.sources[index],
        "region": blend.regions[index],
        "rung": Rung(int(blend.rungs[index])).name.lower(),
        "age_s": age_s if np.isfinite(age_s) else None,
        "origin": blend.origins[index],
        "quantiles": _quantiles(blend.quantiles[index]),
        "band": blend.bands[index],
    }


def _quantiles(row: NDArray[np.float64]) -> dict[str, float] | None:
    if not np.isfinite(row).all():
        return None
    return {f"{level:g}": value for level, value in zip(LEVELS, row.tolist(), strict=True)}


def _mix(mix: Mix | None) -> GenerationMix | None:
    if mix is None:
        return None
    return GenerationMix(
        start=mix.half_hour.start,
        share_fraction=dict(mix.share_fraction),
        age_s=mix.age_s,
        origin=mix.origin,
    )


def _reasons(agents: Sequence[AgentRow]) -> Mapping[str, str]:
    details = (agent.detail for agent in agents if agent.name == GRID)
    return next((detail.get("degraded", {}) for detail in details), {})


def _standing(feed: FeedReport, reasons: Mapping[str, str]) -> FeedStanding:
    return FeedStanding(
        provider=feed.provider,
        source=feed.source,
        region=feed.region,
        last_good_at=feed.last_good_at,
        age_s=feed.age_s,
        reason=reasons.get(feed.name, ""),
    )


def _place(region: str) -> str:
    place = region.split(maxsplit=1)[0] if region.split() else region
    place = place.lower() if place.lower().startswith("region-") else place.upper()
    if not _REGION.fullmatch(place):
        raise ProblemError(
            HTTPStatus.BAD_REQUEST,
            f"region is {region!r}; valid is {_VALID_REGION}",
        )
    return place
