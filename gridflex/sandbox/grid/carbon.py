"""The GB Carbon Intensity API as the sandbox serves it, with the quirks of the real one.

A range begins with the half-hour that ends at ``from``; ``actual`` is labelled half an hour
early and first repeats the value before; ``/intensity`` answers with the half-hour that is
over; a day is London's; a bad long postcode gets an empty answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import numpy as np
from fastapi import APIRouter, HTTPException, Response

from gridflex.adapters.http import ORIGIN_HEADER
from gridflex.halfhour import HALF_HOUR, LONDON, HalfHour, periods_in
from gridflex.sandbox.grid.desk import CARBON_DELAY, Desk, known
from gridflex.sandbox.grid.regions import REGIONS, Region, by_id, by_postcode
from gridflex.sandbox.grid.vintages import ErrorModel
from gridflex.signals import Origin

Json = dict[str, Any]

LABEL_SHIFT: Final = 1
"""Half-hours by which ``actual`` is labelled early."""

MAX_RANGE: Final = timedelta(days=14)
AHEAD: Final = timedelta(hours=48)
_BANDS: Final = ((40, "very low"), (120, "low"), (200, "moderate"), (290, "high"))
"""Upper edges of the index in 2023, in gCO2/kWh."""

_SPANS: Final = {
    "fw24h": timedelta(hours=24),
    "fw48h": timedelta(hours=48),
    "pt24h": timedelta(hours=-24),
}
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


def carbon_router(desk: Desk, *, errors: ErrorModel) -> APIRouter:  # noqa: C901 - one route each
    """Return the API over one desk."""
    api = APIRouter()
    office = _Office(desk, errors)

    @api.get("/intensity")
    def just_ended() -> Json:
        return {"data": office.national([HalfHour.containing(desk.now()) - 1])}

    @api.get("/intensity/factors")
    def factors() -> Json:
        return {"data": [_FACTORS]}

    @api.get("/intensity/date")
    def today() -> Json:
        return local_day(desk.now().astimezone(LONDON).date())

    @api.get("/intensity/date/{day}")
    def local_day(day: date) -> Json:
        return {"data": office.national(list(_first(day).span(periods_in(day))))}

    @api.get("/intensity/{start}/{end}")
    def national(start: str, end: str) -> Json:
        return {"data": office.national(list(_half_hours(start, end)))}

    @api.get("/generation")
    def mix_now() -> Json:
        rows = office.mixes([HalfHour.containing(desk.now()) - 1])
        return {"data": rows[0] if rows else {}}

    @api.get("/generation/{start}/{end}")
    def mixes(start: str, end: str) -> Json:
        return {"data": office.mixes(list(_half_hours(start, end)))}

    @api.get("/regional")
    def all_regions(response: Response) -> Json:
        response.headers[ORIGIN_HEADER] = Origin.SIMULATED.value
        return {"data": office.all_regions([HalfHour.containing(desk.now())])}

    @api.get("/regional/intensity/{start}/{end}")
    def all_regions_range(start: str, end: str, response: Response) -> Json:
        response.headers[ORIGIN_HEADER] = Origin.SIMULATED.value
        return {"data": office.all_regions(list(_half_hours(start, end)))}

    @api.get("/regional/postcode/{postcode}")
    def postcode_now(postcode: str, response: Response) -> Response | Json:
        return office.placed(
            _by_postcode(postcode), [HalfHour.containing(desk.now())], response, as_list=True
        )

    @api.get("/regional/regionid/{region_id}")
    def region_now(region_id: int, response: Response) -> Response | Json:
        return office.placed(
            _by_id(region_id), [HalfHour.containing(desk.now())], response, as_list=True
        )

    @api.get("/regional/intensity/{start}/{end}/postcode/{postcode}")
    def postcode_range(start: str, end: str, postcode: str, response: Response) -> Response | Json:
        half_hours = list(_half_hours(start, end))
        return office.placed(_by_postcode(postcode), half_hours, response, postcode=postcode)

    @api.get("/regional/intensity/{start}/{end}/regionid/{region_id}")
    def region_range(start: str, end: str, region_id: int, response: Response) -> Response | Json:
        return office.placed(_by_id(region_id), list(_half_hours(start, end)), response)

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

    def all_regions(self, half_hours: list[HalfHour]) -> list[Json]:
        return [
            {
                **_span(half_hour),
                "regions": [
                    {
                        **_named(region),
                        **_regional(region, forecast),
                        "generationmix": self._expected_mix(half_hour),
                    }
                    for region in REGIONS
                ],
            }
            for half_hour, forecast in self._forecasts(half_hours)
        ]

    def placed(
        self,
        region: Region | None,
        half_hours: list[HalfHour],
        response: Response,
        *,
        postcode: str | None = None,
        as_list: bool = False,
    ) -> Response | Json:
        if region is None:
            return Response(b"", headers={ORIGIN_HEADER: Origin.SIMULATED.value})
        response.headers[ORIGIN_HEADER] = Origin.SIMULATED.value
        rows = [
            {
                **_span(half_hour),
                **_regional(region, forecast),
                "generationmix": self._expected_mix(half_hour),
            }
            for half_hour, forecast in self._forecasts(half_hours)
        ]
        named = {**_named(region), **({"postcode": postcode} if postcode else {}), "data": rows}
        return {"data": [named] if as_list else named}

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


def _half_hours(start: str, end: str) -> Iterator[HalfHour]:
    first = _instant(start)
    last = first + _SPANS[end] if end in _SPANS else _instant(end)
    first, last = min(first, last), max(first, last)
    if last - first > MAX_RANGE:
        raise HTTPException(400, "The date range must be at most 14 days")
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


def _by_postcode(postcode: str) -> Region | None:
    if len(postcode) == 1:
        raise HTTPException(400, f"{postcode!r} is not an outward postcode")
    return by_postcode(postcode)


def _by_id(region_id: int) -> Region | None:
    region = by_id(region_id)
    if region is None:
        raise HTTPException(400, f"region {region_id} does not exist; valid is 1 to 17")
    return region


def _first(day: date) -> HalfHour:
    return HalfHour.from_settlement(day, 1)


def _span(half_hour: HalfHour) -> Json:
    return {"from": str(half_hour), "to": str(half_hour + 1)}


def _index(intensity: float) -> str:
    return next((word for edge, word in _BANDS if intensity < edge), "very high")


def _named(region: Region) -> Json:
    name = region.short_name
    return {"regionid": region.id, "dnoregion": f"{name} (simulated)", "shortname": name}


def _regional(region: Region, national: float) -> Json:
    forecast = round(national * region.relative)
    return {"intensity": {"forecast": forecast, "index": _index(forecast)}}


def _mix(shares: dict[str, float]) -> list[Json]:
    return [{"fuel": fuel, "perc": round(100 * share, 1)} for fuel, share in shares.items()]
