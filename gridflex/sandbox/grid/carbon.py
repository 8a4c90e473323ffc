"""The GB Carbon Intensity API as the sandbox serves it, with the quirks of the real one.

A range begins with the half-hour that ends at ``from``; ``actual`` is labelled half an hour
early and first repeats the value before; ``/intensity`` answers with the half-hour that is
over; a day is London's; a bad long postcode gets an empty answer. What is only forecast is
said to be simulated even in a recorded world: it is an outturn with drawn errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import numpy as np
from fastapi import APIRouter, Depends, HTTPException, Response

from gridflex.halfhour import HALF_HOUR, LONDON, HalfHour, periods_in
from gridflex.sandbox.grid.desk import CARBON_DELAY, Desk, known, say_simulated
from gridflex.sandbox.grid.regions import REGIONS, Region, by_id, by_postcode
from gridflex.sandbox.grid.vintages import ErrorModel

Json = dict[str, Any]

LABEL_SHIFT: Final = 1
"""Half-hours by which ``actual`` is labelled early."""

MAX_RANGE: Final = timedelta(days=14)
MAX_STATISTICS: Final = timedelta(days=30)
AHEAD: Final = timedelta(hours=48)
_BANDS: Final = ((40, "very low"), (120, "low"), (200, "moderate"), (290, "high"))
"""Upper edges of the index in 2023, in gCO2/kWh."""

_SPANS: Final = {
    "fw24h": timedelta(hours=24),
    "fw48h": timedelta(hours=48),
    "pt24h": timedelta(hours=-24),
}
_NATIONS: Final = {"england": 15, "scotland": 16, "wales": 17}
_FACTORS: Final = {
    "Biomass": 120,
    "Coal": 937,
    "Dutch Imports": 474,
    "French Imports": 53,
    "Gas (Combined Cycle)": 394,
    "Gas (Open Cycle)": 651,
    "Hydro": 0,
    "Irish Imports": 458,
    "Nuclear": 0,
    "Oil": 935,
    "Other": 300,
    "Pumped Storage": 0,
    "Solar": 0,
    "Wind": 0,
}


class EmptyAnswerError(Exception):
    """The real service says nothing at all here; neither does the sandbox."""


def carbon_router(desk: Desk, *, errors: ErrorModel) -> APIRouter:
    """Return the API over one desk."""
    office = _Office(desk, errors)
    api = APIRouter()
    api.include_router(_national(desk, office))
    api.include_router(_mixes(desk, office))
    api.include_router(_regional(desk, office))
    return api


def _national(desk: Desk, office: _Office) -> APIRouter:  # noqa: C901 - one route each
    api = APIRouter(prefix="/intensity")

    @api.get("")
    def just_ended() -> Json:
        return {"data": office.national([HalfHour.containing(desk.now()) - 1])}

    @api.get("/factors")
    def factors() -> Json:
        return {"data": [_FACTORS]}

    @api.get("/date")
    def today() -> Json:
        return local_day(desk.now().astimezone(LONDON).date())

    @api.get("/date/{day}")
    def local_day(day: date) -> Json:
        first = HalfHour.from_settlement(day, 1)
        return {"data": office.national(list(first.span(periods_in(day))))}

    @api.get("/stats/{start}/{end}")
    def statistics(start: str, end: str) -> Json:
        half_hours = list(_half_hours(start, end, longest=MAX_STATISTICS))
        return {"data": office.statistics(half_hours)}

    @api.get("/{start}")
    def one(start: str) -> Json:
        return {"data": office.national([HalfHour.at_or_after(_instant(start) - HALF_HOUR)])}

    @api.get("/{start}/{end}")
    def between(start: str, end: str, response: Response) -> Json:
        if end.startswith("fw"):
            say_simulated(response)
        return {"data": office.national(list(_half_hours(start, end)))}

    return api


def _mixes(desk: Desk, office: _Office) -> APIRouter:
    api = APIRouter(prefix="/generation")

    @api.get("")
    def now() -> Json:
        rows = office.mixes([HalfHour.containing(desk.now() - CARBON_DELAY) - 1])
        return {"data": rows[0] if rows else {}}

    @api.get("/{start}/{end}")
    def between(start: str, end: str) -> Json:
        return {"data": office.mixes(list(_half_hours(start, end)))}

    return api


def _regional(desk: Desk, office: _Office) -> APIRouter:  # noqa: C901 - one route each
    """Every regional value is simulated, whatever the world."""
    api = APIRouter(prefix="/regional", dependencies=[Depends(say_simulated)])

    def running() -> list[HalfHour]:
        return [HalfHour.containing(desk.now())]

    @api.get("")
    def all_now() -> Json:
        return {"data": office.all_regions(running())}

    @api.get("/postcode/{postcode}")
    def postcode_now(postcode: str) -> Json:
        return {"data": [office.placed(_by_postcode(postcode), running(), postcode=postcode)]}

    @api.get("/regionid/{region_id}")
    def region_now(region_id: int) -> Json:
        return {"data": [office.placed(_by_id(region_id), running())]}

    @api.get("/{nation}")
    def nation_now(nation: str) -> Json:
        if nation not in _NATIONS:
            raise HTTPException(400, f"{nation!r} is not one of {', '.join(_NATIONS)}")
        return {"data": [office.placed(_by_id(_NATIONS[nation]), running())]}

    @api.get("/intensity/{start}/{end}")
    def all_between(start: str, end: str) -> Json:
        return {"data": office.all_regions(list(_half_hours(start, end)))}

    @api.get("/intensity/{start}/{end}/postcode/{postcode}")
    def postcode_between(start: str, end: str, postcode: str) -> Json:
        half_hours = list(_half_hours(start, end))
        return {"data": office.placed(_by_postcode(postcode), half_hours, postcode=postcode)}

    @api.get("/intensity/{start}/{end}/regionid/{region_id}")
    def region_between(start: str, end: str, region_id: int) -> Json:
        return {"data": office.placed(_by_id(region_id), list(_half_hours(start, end)))}

    return api


class _Office:
    """Writes rows from what the desk knows."""

    def __init__(self, desk: Desk, errors: ErrorModel) -> None:
        self._desk = desk
        self._errors = errors

    def national(self, half_hours: list[HalfHour]) -> list[Json]:
        rows = []
        for half_hour, forecast in self._forecasts(half_hours):
            actual = self._actual(half_hour)
            shown = actual if known(actual) else forecast
            rows.append(
                {
                    **_span(half_hour),
                    "intensity": {
                        "forecast": round(forecast),
                        "actual": round(actual) if known(actual) else None,
                        "index": _index(shown),
                    },
                }
            )
        return rows

    def mixes(self, half_hours: list[HalfHour]) -> list[Json]:
        world, now = self._desk.world, self._desk.now()
        over = [h for h in half_hours if h.end + CARBON_DELAY <= now]
        shares = [(h, world.shares(h)) for h in over]
        return [{**_span(h), "generationmix": _mix(share)} for h, share in shares if share]

    def statistics(self, half_hours: list[HalfHour]) -> list[Json]:
        rows = self.national(half_hours)
        if not rows:
            return []
        shown = [_shown(row["intensity"]) for row in rows]
        mean = round(sum(shown) / len(shown))
        span = {"from": rows[0]["from"], "to": rows[-1]["to"]}
        levels = {"max": max(shown), "average": mean, "min": min(shown), "index": _index(mean)}
        return [{**span, "intensity": levels}]

    def all_regions(self, half_hours: list[HalfHour]) -> list[Json]:
        return [
            {
                **_span(half_hour),
                "regions": [
                    {**_named(region), **self._in_region(region, half_hour, forecast)}
                    for region in REGIONS
                ],
            }
            for half_hour, forecast in self._forecasts(half_hours)
        ]

    def placed(
        self, region: Region, half_hours: list[HalfHour], *, postcode: str | None = None
    ) -> Json:
        rows = [
            {**_span(half_hour), **self._in_region(region, half_hour, forecast)}
            for half_hour, forecast in self._forecasts(half_hours)
        ]
        return {**_named(region), **({"postcode": postcode} if postcode else {}), "data": rows}

    def _in_region(self, region: Region, half_hour: HalfHour, national: float) -> Json:
        forecast = round(national * region.relative)
        mix = self._expected_mix(half_hour)
        return {
            "intensity": {"forecast": forecast, "index": _index(forecast)},
            **({"generationmix": mix} if mix else {}),
        }

    def _forecasts(self, half_hours: list[HalfHour]) -> Iterator[tuple[HalfHour, float]]:
        """What is forecast of each; of the past what a nowcast said. Unknown ones are left out."""
        now = self._desk.now()
        within = [h for h in half_hours if h.start <= now + AHEAD]
        if not within:
            return
        values = self._desk.forecast(
            self._desk.world.intensity_gco2_per_kwh,
            errors=self._errors,
            issued=HalfHour.containing(now),
            start=within[0],
            half_hours=len(within),
        )
        for half_hour, value in zip(within, values, strict=True):
            if known(value):
                yield half_hour, float(value)

    def _actual(self, label: HalfHour) -> float:
        """The outturn under its early label; until it is known, the newest one before it."""
        if self._desk.now() < label.end:
            return np.nan
        for back in range(3):
            value = self._desk.outturn(
                self._desk.world.intensity_gco2_per_kwh,
                label + (LABEL_SHIFT - back),
                delay=CARBON_DELAY,
            )
            if known(value):
                return value
        return np.nan

    def _expected_mix(self, half_hour: HalfHour) -> list[Json]:
        """The mix of the last day whose same half-hour is over; nothing is known better."""
        now = self._desk.now()
        while half_hour.end + CARBON_DELAY > now:
            half_hour -= 48
        return _mix(self._desk.world.shares(half_hour))


def _half_hours(start: str, end: str, *, longest: timedelta = MAX_RANGE) -> Iterator[HalfHour]:
    first = _instant(start)
    last = first + _SPANS[end] if end in _SPANS else _instant(end)
    first, last = min(first, last), max(first, last)
    if last - first > longest:
        raise HTTPException(400, f"The date range must be at most {longest.days} days")
    half_hour = HalfHour.at_or_after(first - HALF_HOUR)
    while half_hour.start < last:
        yield half_hour
        half_hour += 1


def _instant(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%MZ").replace(tzinfo=UTC)
    except ValueError:
        raise HTTPException(
            400, f"{text!r} is not a date and time in the form 2026-01-15T10:00Z"
        ) from None


def _by_postcode(postcode: str) -> Region:
    if len(postcode) == 1:
        raise HTTPException(400, f"{postcode!r} is not an outward postcode")
    region = by_postcode(postcode)
    if region is None:
        raise EmptyAnswerError
    return region


def _by_id(region_id: int) -> Region:
    region = by_id(region_id)
    if region is None:
        raise HTTPException(400, f"region {region_id} does not exist; valid is 1 to 17")
    return region


def _shown(intensity: Json) -> int:
    shown: int = intensity["forecast"] if intensity["actual"] is None else intensity["actual"]
    return shown


def _span(half_hour: HalfHour) -> Json:
    return {"from": str(half_hour), "to": str(half_hour + 1)}


def _index(intensity: float) -> str:
    return next((word for edge, word in _BANDS if intensity < edge), "very high")


def _named(region: Region) -> Json:
    name = region.short_name
    return {"regionid": region.id, "dnoregion": f"{name} (simulated)", "shortname": name}


def _mix(shares: dict[str, float]) -> list[Json]:
    return [{"fuel": fuel, "perc": round(100 * share, 1)} for fuel, share in shares.items()]
