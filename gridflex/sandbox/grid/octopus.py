"""Octopus products and Agile rates as the sandbox serves them.

Rates follow from the world's day-ahead price by the tariff of the region. They come newest
first, 100 a page unless asked otherwise; tomorrow's appear in the afternoon; a stamp without
an offset is London's.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, HTTPException, Query, Request

from gridflex.adapters.grid.octopus import TARIFFS, Tariff
from gridflex.halfhour import LONDON, HalfHour
from gridflex.sandbox.grid.desk import Desk, known
from gridflex.sandbox.grid.regions import by_postcode

Json = dict[str, Any]

_DAY: Final = "%Y-%m-%d"
_PRODUCTS: Final = (
    ("AGILE-18-02-21", "2018-02-21", "2022-07-22"),
    ("AGILE-22-08-31", "2022-07-22", "2022-11-25"),
    ("AGILE-FLEX-22-11-25", "2022-11-25", "2023-12-06"),
    ("AGILE-23-12-06", "2023-12-06", "2024-10-01"),
    ("AGILE-24-10-01", "2024-10-01", None),
    ("AGILE-OUTGOING-19-05-13", "2019-05-13", None),
    ("VAR-22-11-01", "2018-01-01", None),
)
"""Code, first and last day on offer."""

_LETTER_OF_REGION: Final = dict(
    zip(
        range(1, 15),
        ("P", "N", "G", "F", "M", "D", "K", "E", "B", "A", "L", "H", "C", "J"),
        strict=True,
    )
)
_VAT: Final = 1.05

PageSize = Annotated[int, Query(ge=1, le=1500)]
Page = Annotated[int, Query(ge=1)]


def octopus_router(desk: Desk) -> APIRouter:
    """Return the API over one desk."""
    api = APIRouter()

    @api.get("/products/")
    def products(
        request: Request,
        available_at: datetime | None = None,
        page_size: PageSize = 100,
        page: Page = 1,
    ) -> Json:
        at = _london(available_at) if available_at else desk.now()
        day = at.strftime(_DAY)
        rows = [
            {
                "code": code,
                "full_name": f"{code} ({desk.world.origin.value})",
                "display_name": code,
                "is_variable": True,
                "is_business": False,
                "available_from": f"{since}T00:00:00Z",
                "available_to": f"{until}T00:00:00Z" if until else None,
                "brand": "OCTOPUS_ENERGY",
            }
            for code, since, until in _PRODUCTS
            if since <= day and (until is None or day < until)
        ]
        return _page(rows, request, page_size=page_size, page=page)

    @api.get("/products/{product}/electricity-tariffs/{tariff}/standard-unit-rates/")
    def rates(  # noqa: PLR0917 - the parameters are those of the provider
        request: Request,
        product: str,
        tariff: str,
        period_from: datetime | None = None,
        period_to: datetime | None = None,
        page_size: PageSize = 100,
        page: Page = 1,
    ) -> Json:
        region = _region(product, tariff)
        now = HalfHour.containing(desk.now())
        start = HalfHour.containing(_london(period_from)) if period_from else now - 96
        end = HalfHour.at_or_after(_london(period_to)) if period_to else now + 96
        start = max(start, _begins(product))
        prices = ((h, desk.day_ahead_price(h)) for h in start.span(max(start.until(end), 0)))
        rows = [_rate(region, h, price) for h, price in prices if known(price)]
        return _page(rows[::-1], request, page_size=page_size, page=page)

    @api.get("/industry/grid-supply-points/")
    def supply_points(request: Request, postcode: str) -> Json:
        region = by_postcode(postcode.split(maxsplit=1)[0]) if postcode.split() else None
        rows = [{"group_id": f"_{_LETTER_OF_REGION[region.id]}"}] if region else []
        return _page(rows, request, page_size=100, page=1)

    return api


def _region(product: str, tariff: str) -> Tariff:
    if not product.startswith("AGILE-") or product not in {code for code, *_ in _PRODUCTS}:
        raise HTTPException(404, "Not found.")
    letter = tariff.removeprefix(f"E-1R-{product}-")
    if letter not in TARIFFS:
        raise HTTPException(404, "No EnergyTariff matches the given query.")
    return TARIFFS[letter]


def _begins(product: str) -> HalfHour:
    """The first half-hour of which a product has a rate."""
    since = next(since for code, since, _ in _PRODUCTS if code == product)
    return HalfHour(datetime.fromisoformat(since).replace(tzinfo=UTC))


def _rate(tariff: Tariff, half_hour: HalfHour, price: float) -> Json:
    pence = round(tariff.rate_pence_per_kwh(half_hour, price_gbp_per_mwh=price), 4)
    return {
        "value_exc_vat": pence,
        "value_inc_vat": round(pence * _VAT, 4),
        "valid_from": half_hour.start.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "valid_to": half_hour.end.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "payment_method": None,
    }


def _page(rows: list[Json], request: Request, *, page_size: int, page: int) -> Json:
    first, last = (page - 1) * page_size, page * page_size
    next_ = request.url.include_query_params(page=page + 1) if last < len(rows) else None
    previous = request.url.include_query_params(page=page - 1) if page > 1 else None
    return {
        "count": len(rows),
        "next": str(next_) if next_ else None,
        "previous": str(previous) if previous else None,
        "results": rows[first:last],
    }


def _london(moment: datetime) -> datetime:
    aware = moment if moment.tzinfo else moment.replace(tzinfo=LONDON)
    return aware.astimezone(UTC)
