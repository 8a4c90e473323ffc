"""Nord Pool's data portal: the hourly day-ahead auction of Great Britain (N2EX), in GBP/MWh.

The portal is asked for one day of delivery at a time, 23:00 to 23:00 in London. The results
are out by 10:00 in London on the day before; until then it answers without content, which is
no failure. An hour's price is that of both its half-hours.

Reading the portal needs no key, but using its data commercially needs a licence of Nord Pool,
so nothing is asked unless the settings name it.

Sources:
    Field names and the empty answer: gjohansson-ST/pynordpool and the recorded answers in
    home-assistant/core, ``tests/components/nordpool``. Market, area and currency:
    fboundy/agile_predict, ``config/utils.py``. Time of the results: Nord Pool support, "About
    the N2EX Day-Ahead Auction".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Final, NoReturn

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictFloat
from pydantic.alias_generators import to_camel

from gridflex.adapters.grid.series import PartlyToldError, Start, tidy
from gridflex.adapters.http import Answer, EmptyAnswerError, Fetcher, NotServedError
from gridflex.errors import ContractError, GridFlexError
from gridflex.halfhour import HalfHour, auction_day, auction_half_hours
from gridflex.signals import Kind, Series, Signal

PROVIDER: Final = "nord-pool"
N2EX: Final = "nord-pool/n2ex"
PATH: Final = "DayAheadPrices"
MARKET: Final = "N2EX_DayAhead"
AREA: Final = "UK"
CURRENCY: Final = "GBP"


class _Hour(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    delivery_start: Start
    delivery_end: Start
    entry_per_area: dict[str, StrictFloat | None]

    def half_hours(self) -> Iterator[HalfHour]:
        return self.delivery_start.span(self.delivery_start.until(self.delivery_end))


class _Results(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    delivery_date: date = Field(alias="deliveryDateCET")
    updated_at: AwareDatetime
    market: str
    currency: str
    multi_area_entries: list[_Hour]


class NordPool:
    """What Nord Pool publishes about the GB auction.

    Args:
        fetcher: Asks it.
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    async def day_ahead_price(self, *, now: datetime) -> Series:
        """Return the prices of the running day of delivery, and of the next one if they are out.

        Raises:
            PartlyToldError: One of the days is told, and no usable answer about the other.
            NotServedError: The portal cannot be reached or turns us away; it is asked no more.
            SourceError: No usable answer, or nothing about the running day.
            ContractError: A row is malformed, or of another market, currency, area or day.
        """
        today = auction_day(HalfHour.containing(now))
        tomorrow = today + timedelta(days=1)
        try:
            told = await self._results(today, now)
            series = _series([told], now)
        except NotServedError:
            raise
        except GridFlexError as error:
            await self._raise_with(tomorrow, error, now)
        try:
            return _series([told, await self._results(tomorrow, now)], now)
        except EmptyAnswerError:
            return series
        except GridFlexError as error:
            raise PartlyToldError(str(error), series) from error

    async def _raise_with(self, tomorrow: date, error: GridFlexError, now: datetime) -> NoReturn:
        """Raise why the running day is not told, with the next day's prices if they are."""
        try:
            series = await self.results_of(tomorrow, now=now)
        except GridFlexError:
            raise error from error.__cause__
        raise PartlyToldError(str(error), series) from error

    async def results_of(self, day: date, *, now: datetime) -> Series:
        """Return the prices of one day of delivery.

        Raises:
            EmptyAnswerError: They are not out, or not to be had any more.
            SourceError: No usable answer.
            ContractError: A row is malformed, or of another market, currency, area or day.
        """
        return _series([await self._results(day, now)], now)

    async def _results(self, day: date, now: datetime) -> tuple[_Results, Answer]:
        params = {
            "date": f"{day}",
            "market": MARKET,
            "deliveryArea": AREA,
            "currency": CURRENCY,
        }
        answer = await self._fetcher.get(PATH, now=now, params=params)
        results = answer.parse(_Results)
        if results.updated_at > now:
            raise EmptyAnswerError(
                f"{PROVIDER}: {answer.url}: these results are of {results.updated_at}, after {now}"
            )
        _check(results, day, answer)
        return results, answer


def _check(results: _Results, day: date, answer: Answer) -> None:
    asked = {
        "deliveryDateCET": (results.delivery_date, day),
        "market": (results.market, MARKET),
        "currency": (results.currency, CURRENCY),
    }
    for name, (told, valid) in asked.items():
        if told != valid:
            raise ContractError(f"{PROVIDER}: {answer.url}: {name} is {told}; valid is {valid}")
    first, *_, last = auction_half_hours(day)
    for place, hour in enumerate(results.multi_area_entries):
        where = f"{PROVIDER}: {answer.url}: multiAreaEntries.{place}"
        if AREA not in hour.entry_per_area:
            raise ContractError(f"{where}.entryPerArea: has {list(hour.entry_per_area)}, no {AREA}")
        if not first <= hour.delivery_start < hour.delivery_end <= last + 1:
            raise ContractError(
                f"{where}: {hour.delivery_start} to {hour.delivery_end} is no time within {day}, "
                "23:00 to 23:00 in London"
            )


def _series(told: Sequence[tuple[_Results, Answer]], now: datetime) -> Series:
    prices: dict[HalfHour, float | None] = {}
    for results, answer in told:
        for place, hour in enumerate(results.multi_area_entries):
            price = hour.entry_per_area[AREA]
            for half_hour in hour.half_hours():
                if prices.setdefault(half_hour, price) != price:
                    raise ContractError(
                        f"{PROVIDER}: {answer.url}: multiAreaEntries.{place}: {half_hour} costs "
                        f"{price}, and {prices[half_hour]} in an entry before"
                    )
    return tidy(
        {half_hour: np.nan if price is None else price for half_hour, price in prices.items()},
        signal=Signal.PRICE,
        kind=Kind.FORECAST,
        source=N2EX,
        origin=told[0][1].origin,
        now=now,
        issued_at=max(results.updated_at for results, _ in told),
    )
