"""Nord Pool's data portal as the sandbox serves it: the hourly GB auction, a day at a time.

A day runs from 23:00 to 23:00 in London. Before its results are out, and where none are
recorded, the answer has no content. Only GB is traded here, in GBP.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime
from typing import Annotated, Any, Final

import numpy as np
from fastapi import APIRouter, HTTPException, Query, Response

from gridflex.adapters.grid.nord_pool import AREA, CURRENCY, MARKET, PATH
from gridflex.halfhour import HalfHour, auction_half_hours
from gridflex.sandbox.grid.desk import AuctionSource, Desk, auction_published_at, known

Json = dict[str, Any]

_BLOCKS: Final = (("Off-peak 1", 0, 8), ("Peak", 8, 20), ("Off-peak 2", 20, None))
"""Name, first hour and first hour after, as counted in a day of 24 hours."""

FIRST_DAY: Final = date(1848, 1, 1)
"""Before it London's clock was not a whole number of half-hours off UTC."""

Day = Annotated[date, Query(alias="date", ge=FIRST_DAY, lt=date.max)]
Market = Annotated[str, Query()]
Area = Annotated[str, Query(alias="deliveryArea")]
Currency = Annotated[str, Query()]


def nord_pool_router(desk: Desk) -> APIRouter:
    """Return the API over one desk."""
    api = APIRouter()

    @api.get(f"/{PATH}", response_model=None)
    def prices(day: Day, market: Market, area: Area, currency: Currency) -> Json | Response:
        _only(market=(market, MARKET), deliveryArea=(area, AREA), currency=(currency, CURRENCY))
        hours = list(_hours(desk, day))
        if not hours:
            return Response(status_code=204)
        return _answer(day, hours)

    return api


def _only(**told: tuple[str, str]) -> None:
    for name, (value, valid) in told.items():
        if value != valid:
            raise HTTPException(400, f"{name} is {value!r}; valid is {valid!r}")


def _hours(desk: Desk, day: date) -> Iterator[tuple[HalfHour, float]]:
    """The hours of a day whose price is known, each by its first half-hour."""
    half_hours = list(auction_half_hours(day))
    for first, second in zip(half_hours[::2], half_hours[1::2], strict=True):
        both = [desk.day_ahead_price(h, source=AuctionSource.EXCHANGE) for h in (first, second)]
        if all(map(known, both)):
            yield first, round(float(np.mean(both)), 2)


def _answer(day: date, hours: list[tuple[HalfHour, float]]) -> Json:
    published = auction_published_at(hours[0][0], source=AuctionSource.EXCHANGE)
    return {
        "deliveryDateCET": f"{day}",
        "version": 1,
        "updatedAt": published.strftime("%Y-%m-%dT%H:%M:%S.%f0Z"),
        "deliveryAreas": [AREA],
        "market": MARKET,
        "multiAreaEntries": [
            {**_between(first, first + 2), "entryPerArea": {AREA: price}} for first, price in hours
        ],
        "blockPriceAggregates": list(_blocks(hours)),
        "currency": CURRENCY,
        "exchangeRate": 1,
        "areaStates": [{"state": "Final", "areas": [AREA]}],
        "areaAverages": [{"areaCode": AREA, "price": _mean(hours)}],
    }


def _blocks(hours: list[tuple[HalfHour, float]]) -> Iterator[Json]:
    for name, first, after in _BLOCKS:
        if block := hours[first:after]:
            prices = [price for _, price in block]
            told = {"average": _mean(block), "min": min(prices), "max": max(prices)}
            yield {
                "blockName": name,
                **_between(block[0][0], block[-1][0] + 2),
                "averagePricePerArea": {AREA: told},
            }


def _between(start: HalfHour, end: HalfHour) -> Json:
    return {"deliveryStart": _stamp(start.start), "deliveryEnd": _stamp(end.start)}


def _mean(hours: list[tuple[HalfHour, float]]) -> float:
    return round(float(np.mean([price for _, price in hours])), 2)


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
