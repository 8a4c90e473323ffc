"""Elexon Insights as the sandbox serves it, with the quirks of the real one.

The market index comes newest first with a second provider that is always 0; days are
settlement days; wind is forecast by the hour, eight times a day; ``/history`` answers with
what had been published, ``/latest`` with what was published just before each half-hour. What
is forecast is said to be simulated even in a recorded world.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, HTTPException, Query

from gridflex.halfhour import LONDON, HalfHour, periods_in
from gridflex.sandbox.grid.desk import ELEXON_DELAY, Desk, known, say_simulated
from gridflex.sandbox.grid.vintages import ErrorModel
from gridflex.sandbox.grid.world import Values

Json = dict[str, Any]

MAX_RANGE: Final = timedelta(days=7)
WIND_PUBLISHED: Final = tuple(time(hour, 30, tzinfo=UTC) for hour in (3, 5, 8, 10, 12, 16, 19, 23))
WIND_AHEAD_H: Final = 72
DEMAND_LEAD: Final = timedelta(minutes=15)
"""The demand forecast is published this long before every half-hour."""

_NOT_TOLD: Final = (
    "sellPriceAdjustment",
    "buyPriceAdjustment",
    "replacementPrice",
    "replacementPriceReferenceVolume",
    "totalAcceptedOfferVolume",
    "totalAcceptedBidVolume",
    "totalAdjustmentSellVolume",
    "totalAdjustmentBuyVolume",
    "totalSystemTaggedAcceptedOfferVolume",
    "totalSystemTaggedAcceptedBidVolume",
    "totalSystemTaggedAdjustmentSellVolume",
    "totalSystemTaggedAdjustmentBuyVolume",
)
"""How a system price was derived: fields that are there and empty."""

From = Annotated[datetime, Query(alias="from")]
To = Annotated[datetime, Query(alias="to")]
DateFrom = Annotated[date, Query(alias="settlementDateFrom")]
DateTo = Annotated[date, Query(alias="settlementDateTo")]
Published = Annotated[datetime, Query(alias="publishTime")]
FuelTypes = Annotated[list[str] | None, Query(alias="fuelType")]
DataProviders = Annotated[list[str] | None, Query(alias="dataProviders")]


def elexon_router(desk: Desk, *, demand: ErrorModel, wind: ErrorModel) -> APIRouter:
    """Return the API over one desk."""
    office = _Office(desk, demand=demand, wind=wind)
    api = APIRouter()
    api.include_router(_outturns(desk, office))
    api.include_router(_forecasts(desk, office))
    return api


def _outturns(desk: Desk, office: _Office) -> APIRouter:
    api = APIRouter()
    world = desk.world

    @api.get("/balancing/pricing/market-index")
    def market_index(start: From, end: To, providers: DataProviders = None) -> Json:
        rows = [
            {**_started(h), "dataProvider": provider, **_settled(h), **numbers}
            for h in reversed(_range(start, end))
            for provider, numbers in office.index(h)
            if not providers or provider in providers
        ]
        return office.answer("MID", rows)

    @api.get("/balancing/settlement/system-prices/{day}")
    def system_prices(day: date) -> Json:
        return office.answer("DISEBSP", [office.system(h, v) for h, v in _prices(day)])

    @api.get("/balancing/settlement/system-prices/{day}/{period}")
    def system_price(day: date, period: int) -> Json:
        rows = [office.system(h, v) for h, v in _prices(day) if h.settlement[1] == period]
        return office.answer("DISEBSP", rows)

    def _prices(day: date) -> Iterator[tuple[HalfHour, float]]:
        return office.over(world.system_gbp_per_mwh, _days(day, day))

    @api.get("/demand/outturn")
    def demand_outturn(start: DateFrom, end: DateTo) -> Json:
        rows = [
            {
                "publishTime": _stamp(h.end + ELEXON_DELAY),
                **_started(h),
                **_settled(h),
                "initialDemandOutturn": round(value),
                "initialTransmissionSystemDemandOutturn": office.whole(
                    world.transmission_demand_mw, h
                ),
            }
            for h, value in office.over(world.demand_mw, _days(start, end))
        ]
        return office.answer("INDO", rows)

    @api.get("/datasets/FUELHH")
    def fuels(start: DateFrom, end: DateTo, fuel_types: FuelTypes = None) -> Json:
        rows = [
            {
                "dataset": "FUELHH",
                "publishTime": _stamp(h.end + ELEXON_DELAY),
                **_started(h),
                **_settled(h),
                "fuelType": fuel,
                "generation": round(value),
            }
            for fuel, values in world.fuels_mw.items()
            if not fuel_types or fuel in fuel_types
            for h, value in office.over(values, _days(start, end))
        ]
        return office.answer(None, rows)

    return api


def _forecasts(desk: Desk, office: _Office) -> APIRouter:
    api = APIRouter(prefix="/forecast", dependencies=[Depends(say_simulated)])

    @api.get("/demand/day-ahead/history")
    def demand_history(published: Published) -> Json:
        issued = office.demand_publication(_aware(published))
        start, half_hours = _day_ahead(issued)
        return office.answer("NDF", office.demand_rows(issued, start, half_hours))

    @api.get("/demand/day-ahead/latest")
    def demand_latest(start: From, end: To) -> Json:
        newest = office.demand_publication(desk.now())
        rows = []
        for h in _range(start, end):
            issued = min(h.start - DEMAND_LEAD, newest)
            rows += office.demand_rows(issued, h, 1)
        return office.answer("NDF", rows)

    @api.get("/generation/wind/history")
    def wind_history(published: Published) -> Json:
        issued = _wind_publication(min(_aware(published), desk.now()))
        return office.answer("WINDFOR", office.wind_rows(issued))

    @api.get("/generation/wind/latest")
    def wind_latest(start: From, end: To) -> Json:
        wanted = {str(h.start) for h in _range(start, end)}
        rows = office.wind_rows(_wind_publication(desk.now()))
        shown = [row for row in rows if str(datetime.fromisoformat(row["startTime"])) in wanted]
        return office.answer("WINDFOR", shown)

    return api


class _Office:
    """Writes rows from what the desk knows."""

    def __init__(self, desk: Desk, *, demand: ErrorModel, wind: ErrorModel) -> None:
        self._desk = desk
        self._demand = demand
        self._wind = wind

    def answer(self, dataset: str | None, rows: list[Json]) -> Json:
        return {"metadata": {"datasets": [dataset]} if dataset else None, "data": rows}

    def over(self, values: Values, half_hours: list[HalfHour]) -> Iterator[tuple[HalfHour, float]]:
        """The half-hours whose value is known by now."""
        for half_hour in half_hours:
            value = self._desk.outturn(values, half_hour, delay=ELEXON_DELAY)
            if known(value):
                yield half_hour, value

    def whole(self, values: Values, half_hour: HalfHour) -> int | None:
        value = self._desk.world.at(values, half_hour)
        return round(value) if known(value) else None

    def index(self, half_hour: HalfHour) -> Iterator[tuple[str, Json]]:
        world = self._desk.world
        price = self._desk.outturn(world.mid_gbp_per_mwh, half_hour, delay=ELEXON_DELAY)
        if known(price):
            volume = world.at(world.mid_volume_mwh, half_hour)
            traded = round(volume, 2) if known(volume) else 0.0
            yield "APXMIDP", {"price": round(price, 2), "volume": traded}
            yield "N2EXMIDP", {"price": 0.0, "volume": 0.0}

    def system(self, half_hour: HalfHour, price: float) -> Json:
        niv = self._desk.world.at(self._desk.world.niv_mwh, half_hour)
        return {
            **_settled(half_hour),
            **_started(half_hour),
            "createdDateTime": _stamp(half_hour.end + ELEXON_DELAY),
            "systemSellPrice": round(price, 2),
            "systemBuyPrice": round(price, 2),
            "bsadDefaulted": False,
            "priceDerivationCode": "N",
            "reserveScarcityPrice": 0.0,
            "netImbalanceVolume": round(niv, 4) if known(niv) else None,
            **dict.fromkeys(_NOT_TOLD),
        }

    def demand_publication(self, by: datetime) -> datetime:
        """When the newest demand forecast by then was published."""
        moment = min(by, self._desk.now())
        return HalfHour.containing(moment + DEMAND_LEAD).start - DEMAND_LEAD

    def demand_rows(self, issued: datetime, start: HalfHour, half_hours: int) -> list[Json]:
        world = self._desk.world

        def forecast(values: Values) -> Values:
            return self._forecast(values, self._demand, issued, start, half_hours)

        return [
            {
                "publishTime": _stamp(issued),
                **_started(h),
                **_settled(h),
                "boundary": "N",
                "nationalDemand": round(national),
                "transmissionSystemDemand": round(transmission) if known(transmission) else 0,
            }
            for h, national, transmission in zip(
                start.span(half_hours),
                forecast(world.demand_mw),
                forecast(world.transmission_demand_mw),
                strict=True,
            )
            if known(national)
        ]

    def wind_rows(self, issued: datetime) -> list[Json]:
        start = HalfHour.containing(issued.replace(minute=0)) + 2
        values = self._forecast(
            self._desk.world.fuels_mw["WIND"], self._wind, issued, start, 2 * WIND_AHEAD_H
        )
        hourly = values.reshape(-1, 2).mean(axis=1)
        return [
            {
                "publishTime": _stamp(issued),
                **_started(start + 2 * i),
                **_settled(start + 2 * i),
                "generation": round(value),
            }
            for i, value in enumerate(hourly)
            if known(value)
        ]

    def _forecast(
        self,
        values: Values,
        errors: ErrorModel,
        issued: datetime,
        start: HalfHour,
        half_hours: int,
    ) -> Values:
        return self._desk.forecast(
            values,
            errors=errors,
            issued=HalfHour.containing(issued),
            start=start,
            half_hours=half_hours,
        )


def _wind_publication(by: datetime) -> datetime:
    days = (by.date() - timedelta(days=back) for back in range(2))
    times = (datetime.combine(day, at) for day in days for at in WIND_PUBLISHED)
    return max(moment for moment in times if moment <= by)


def _day_ahead(issued: datetime) -> tuple[HalfHour, int]:
    """From the next half-hour to the end of tomorrow, by the clock in London."""
    start = HalfHour.at_or_after(issued)
    tomorrow = start.start.astimezone(LONDON).date() + timedelta(days=1)
    end = HalfHour.from_settlement(tomorrow, 1) + periods_in(tomorrow)
    return start, start.until(end)


def _range(start: datetime, end: datetime) -> list[HalfHour]:
    first, last = HalfHour.at_or_after(_aware(start)), HalfHour.containing(_aware(end))
    if last.start - first.start > MAX_RANGE:
        raise HTTPException(400, "The date range between From and To inclusive must be 7 days")
    return list(first.span(max(first.until(last) + 1, 0)))


def _days(start: date, end: date) -> list[HalfHour]:
    if end - start > MAX_RANGE:
        raise HTTPException(400, "The settlement date range must not exceed 7 days")
    days = (start + timedelta(days=i) for i in range((end - start).days + 1))
    return [h for day in days for h in HalfHour.from_settlement(day, 1).span(periods_in(day))]


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _settled(half_hour: HalfHour) -> Json:
    day, period = half_hour.settlement
    return {"settlementDate": str(day), "settlementPeriod": period}


def _started(half_hour: HalfHour) -> Json:
    return {"startTime": _stamp(half_hour.start)}


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
