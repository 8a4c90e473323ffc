"""Octopus Agile: a public retail tariff from which the day-ahead price can be recovered.

A rate is ``factor x day-ahead price + adder from 16:00 to 19:00 London``, up to a cap, before
VAT; factor and adder differ by region, and from April 2026 every rate is lower by a levy that
was taken off. `Tariff` undoes that. VAT is left out because it changes: 5 %, and 0 % from
October 2026. The result is a signal and an approximation, tagged ``octopus/agile-derived``; it
is not what a datacentre pays.

Sources:
    https://developer.octopus.energy (public products, no key). Form, cap and VAT:
    https://octopus.energy/blog/agile-pricing-explained. Factors and adders:
    fboundy/agile_predict, ``config/settings.py``. Measured: recovered prices differed from the
    hourly auction by 6.5 GBP/MWh per half-hour on average in April to December 2023; in rates
    of August 2026 the levy is missing at all times of day (``tests/unit/grid``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final

import numpy as np
from pydantic import AwareDatetime, BaseModel

from gridflex.adapters.grid.series import Start, tidy
from gridflex.adapters.http import Answer, Fetcher, Params
from gridflex.errors import ContractError, SourceError
from gridflex.halfhour import LONDON, HalfHour, auction_half_hours
from gridflex.signals import Kind, Series, Signal

PROVIDER: Final = "octopus"
AGILE_DERIVED: Final = "octopus/agile-derived"
PAGE_SIZE: Final = 1500
MAX_PAGES: Final = 20
CAP_PENCE_PER_KWH: Final = 95.0
"""Rates stop here, at 100 with a VAT of 5 %; the price behind a capped rate is unknown."""

_IMPORT_PRODUCT: Final = re.compile(r"AGILE-(?:(?!OUTGOING)[A-Z]+-)?(\d{2}-\d{2}-\d{2})")
_SAME_FORMULA_SINCE: Final = "22-11-25"
"""Date in the code of the first product with today's cap; earlier ones stop at 35 to 78 p/kWh."""

_PEAK_HOURS: Final = range(16, 19)
_LEVY_OFF: Final = datetime(2026, 3, 31, 23, tzinfo=UTC)
_LEVY_PENCE_PER_KWH: Final = 3.5 / 1.05
"""What every rate is lower by from that instant on: 3.5 p/kWh with a VAT of 5 %."""


@dataclass(frozen=True, slots=True)
class Tariff:
    """How one region's Agile rate follows the wholesale price, before VAT.

    Args:
        factor: p/kWh per GBP/MWh.
        peak_adder: p/kWh from 16:00 to 19:00 London time.
    """

    factor: float
    peak_adder: float

    def rate_pence_per_kwh(self, half_hour: HalfHour, *, price_gbp_per_mwh: float) -> float:
        """Return the rate before VAT that this wholesale price leads to."""
        rate = self.factor * price_gbp_per_mwh + self._adder(half_hour)
        return min(rate, CAP_PENCE_PER_KWH)

    def price_gbp_per_mwh(self, half_hour: HalfHour, *, rate_pence_per_kwh: float) -> float:
        """Return the wholesale price behind a rate before VAT; NaN at the cap."""
        if rate_pence_per_kwh >= CAP_PENCE_PER_KWH:
            return np.nan
        return (rate_pence_per_kwh - self._adder(half_hour)) / self.factor

    def _adder(self, half_hour: HalfHour) -> float:
        is_peak = half_hour.start.astimezone(LONDON).hour in _PEAK_HOURS
        levy = _LEVY_PENCE_PER_KWH if half_hour.start >= _LEVY_OFF else 0.0
        return (self.peak_adder if is_peak else 0.0) - levy


TARIFFS: Final[dict[str, Tariff]] = {
    "A": Tariff(0.21, 13),
    "B": Tariff(0.20, 14),
    "C": Tariff(0.20, 12),
    "D": Tariff(0.22, 13),
    "E": Tariff(0.21, 11),
    "F": Tariff(0.21, 12),
    "G": Tariff(0.21, 12),
    "H": Tariff(0.21, 12),
    "J": Tariff(0.22, 12),
    "K": Tariff(0.22, 12),
    "L": Tariff(0.23, 11),
    "M": Tariff(0.20, 13),
    "N": Tariff(0.21, 13),
    "P": Tariff(0.24, 12),
}
"""By region letter, from A Eastern to P North Scotland."""


class _Product(BaseModel):
    code: str
    is_business: bool = False
    available_from: AwareDatetime | None = None
    available_to: AwareDatetime | None = None


class _Products(BaseModel):
    next: str | None = None
    results: list[_Product]


class _Rate(BaseModel):
    value_exc_vat: float
    valid_from: Start
    valid_to: AwareDatetime | None = None


class _Rates(BaseModel):
    next: str | None = None
    results: list[_Rate]


class Octopus:
    """What Octopus publishes about Agile.

    Args:
        fetcher: Asks it.
        region: Region letter of the tariff.

    Raises:
        ContractError: There is no such region.
    """

    def __init__(self, fetcher: Fetcher, *, region: str) -> None:
        if region not in TARIFFS:
            raise ContractError(f"agile region is {region!r}; valid is {', '.join(TARIFFS)}")
        self._fetcher = fetcher
        self._region = region
        self._tariff = TARIFFS[region]
        self._past: _Product | None = None

    async def product(self, *, now: datetime) -> str:
        """Return the code of the newest Agile import product.

        Raises:
            SourceError: No usable answer, or no such product.
            ContractError: A row is malformed.
        """
        _, newest = await self._newest({}, at=now, now=now)
        return newest.code

    async def _newest(self, asked: Params, *, at: datetime, now: datetime) -> tuple[str, _Product]:
        """The newest product on offer at an instant, after the date in its code."""
        dated: dict[str, _Product] = {}
        path = "products/"
        params: Params | None = {"is_variable": "true", "page_size": 100, **asked}
        for _ in range(MAX_PAGES):
            answer = await self._fetcher.get(path, now=now, params=params)
            page = answer.parse(_Products)
            for product in page.results:
                code = _IMPORT_PRODUCT.fullmatch(product.code)
                if code and not product.is_business and _is_open(product, at):
                    dated[code[1]] = product
            if page.next is None:
                break
            path, params = page.next, None
        if not dated:
            raise SourceError(f"{PROVIDER}: no Agile import product is on offer at {at}")
        return max(dated.items(), key=lambda item: item[0])

    async def day_ahead_price(self, *, start: HalfHour, end: HalfHour, now: datetime) -> Series:
        """Return the wholesale day-ahead price recovered from the rates known at ``now``.

        Half-hours at the cap are NaN. The next day, 23:00 to 23:00 London, appears about
        16:00 to 17:00 London time.

        Raises:
            SourceError: No usable answer, or no rate in the window.
            ContractError: A row is malformed.
        """
        product = await self.product(now=now)
        return await self._price(product, start, end, now=now, issued_at=now)

    async def past_day_ahead_price(
        self, day: date, *, published_by: datetime, now: datetime
    ) -> Series:
        """Return what the rates of one day of delivery, 23:00 to 23:00 London, say of its price.

        The rates are those of the product that was the newest when they were shown.

        Args:
            day: Of delivery.
            published_by: By when its rates were shown, which Octopus itself does not say; becomes
                ``issued_at``.
            now: GridFlex time.

        Raises:
            SourceError: No usable answer, no rate of the day, or rates of another formula.
            ContractError: A row is malformed.
        """
        first, *_, last = auction_half_hours(day)
        product = await self._product_at(published_by, now)
        return await self._price(product, first, last + 1, now=now, issued_at=published_by)

    async def _product_at(self, at: datetime, now: datetime) -> str:
        """The code of the product that was the newest at an instant; remembered for the next."""
        if self._past is None or not _was_offered(self._past, at):
            dated, product = await self._newest({"available_at": _moment(at)}, at=at, now=now)
            if dated < _SAME_FORMULA_SINCE:
                raise SourceError(f"{PROVIDER}: rates of {product.code} follow another formula")
            self._past = product
        return self._past.code

    async def _price(
        self, product: str, start: HalfHour, end: HalfHour, *, now: datetime, issued_at: datetime
    ) -> Series:
        rates, answer = await self._rates(product, start, end, now)
        prices = {
            rate.valid_from: self._tariff.price_gbp_per_mwh(
                rate.valid_from, rate_pence_per_kwh=rate.value_exc_vat
            )
            for rate in rates
            if start <= rate.valid_from < end and _lasts_a_half_hour(rate)
        }
        return tidy(
            prices,
            signal=Signal.PRICE,
            kind=Kind.FORECAST,
            source=AGILE_DERIVED,
            origin=answer.origin,
            now=now,
            issued_at=issued_at,
        )

    async def _rates(
        self, product: str, start: HalfHour, end: HalfHour, now: datetime
    ) -> tuple[Sequence[_Rate], Answer]:
        path = (
            f"products/{product}/electricity-tariffs/E-1R-{product}-{self._region}"
            "/standard-unit-rates/"
        )
        params: dict[str, str | int] = {
            "period_from": _moment(start.start),
            "period_to": _moment(end.start),
            "page_size": PAGE_SIZE,
            "order_by": "period",
        }
        answer = await self._fetcher.get(path, now=now, params=params)
        page = answer.parse(_Rates)
        rates = page.results
        for _ in range(MAX_PAGES):
            if page.next is None:
                break
            page = (await self._fetcher.get(page.next, now=now)).parse(_Rates)
            rates = rates + page.results
        return rates, answer


def _is_open(product: _Product, now: datetime) -> bool:
    return product.available_to is None or product.available_to > now


def _was_offered(product: _Product, at: datetime) -> bool:
    since = product.available_from
    return since is not None and since <= at and _is_open(product, at)


def _lasts_a_half_hour(rate: _Rate) -> bool:
    return rate.valid_to == rate.valid_from.end


def _moment(moment: datetime) -> str:
    """With an explicit offset: without one the service takes London time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
