"""Elexon Insights: market index and system prices, demand and wind, in GBP/MWh and MW.

Every row is keyed by its UTC ``startTime``, which must agree with settlement date and period
where both are given. Of the two market index providers only APXMIDP is real: N2EXMIDP is 0.
Sell and buy price of the system are equal since November 2015; the sell price is kept.
Forecasts come from ``/history``, which answers with what had been published at an instant;
``/latest`` over a past window would leak the future.

Source:
    https://bmrs.elexon.co.uk/api-documentation (BMRS data licence, attribution).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from typing import Final, Generic, TypeVar

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from gridflex.adapters.grid.series import Start, agreed, tidy
from gridflex.adapters.http import Answer, Fetcher, Params
from gridflex.errors import SourceError
from gridflex.halfhour import HALF_HOUR, LONDON, HalfHour
from gridflex.signals import Kind, Series, Signal

PROVIDER: Final = "elexon"
MARKET_INDEX: Final = "elexon/mid"
SYSTEM_PRICE: Final = "elexon/system-price"
DEMAND_OUTTURN: Final = "elexon/indo"
DEMAND_FORECAST: Final = "elexon/ndf"
WIND_OUTTURN: Final = "elexon/fuelhh-wind"
WIND_FORECAST: Final = "elexon/windfor"
MARKET_INDEX_PROVIDER: Final = "APXMIDP"
MAX_RANGE: Final = timedelta(days=7)


class _Row(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)

    start_time: Start


class _Settled(_Row):
    settlement_date: date
    settlement_period: int

    def half_hour(self, source: str) -> HalfHour:
        return agreed(
            self.start_time,
            day=self.settlement_date,
            period=self.settlement_period,
            source=source,
        )


class _MarketIndex(_Settled):
    data_provider: str
    price: float
    volume: float


class _SystemPrice(_Settled):
    system_sell_price: float
    created_date_time: AwareDatetime | None = None


class _DemandOutturn(_Settled):
    initial_demand_outturn: float | None


class _DemandForecast(_Settled):
    publish_time: AwareDatetime
    boundary: str | None = None
    national_demand: float | None


class _Fuel(_Settled):
    fuel_type: str
    generation: float | None


class _WindForecast(_Row):
    publish_time: AwareDatetime
    generation: float | None


RowT = TypeVar("RowT", bound=_Row)


class _Rows(BaseModel, Generic[RowT]):
    data: list[RowT]


class Elexon:
    """What Elexon publishes.

    Args:
        fetcher: Asks it.
    """

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    async def market_index(self, *, start: HalfHour, end: HalfHour, now: datetime) -> Series:
        """Return the market index price of half-hours from ``start`` up to, not including, ``end``.

        A half-hour with neither price nor volume had too little trade for an index: NaN.

        Raises:
            SourceError: No usable answer.
            ContractError: A row is malformed.
        """
        values: dict[HalfHour, float] = {}
        answers = []
        for first, last in _chunks(start, end):
            params = {
                "from": str(first),
                "to": str(last - 1),
                "dataProviders": MARKET_INDEX_PROVIDER,
            }
            answers.append(await self._get("balancing/pricing/market-index", now, params))
            for row in answers[-1].parse(_Rows[_MarketIndex]).data:
                if row.data_provider == MARKET_INDEX_PROVIDER and (row.price or row.volume):
                    values[row.half_hour(MARKET_INDEX)] = row.price
        return _outturn(values, Signal.PRICE, MARKET_INDEX, answers, start=start, end=end, now=now)

    async def system_price(self, *, start: HalfHour, end: HalfHour, now: datetime) -> Series:
        """Return the imbalance price, as of the newest settlement run published.

        Raises:
            SourceError: No usable answer.
            ContractError: A row is malformed.
        """
        values: dict[HalfHour, float] = {}
        answers = []
        for day in _settlement_days(start, end):
            answers.append(await self._get(f"balancing/settlement/system-prices/{day}", now, None))
            for row in answers[-1].parse(_Rows[_SystemPrice]).data:
                values[row.half_hour(SYSTEM_PRICE)] = row.system_sell_price
        return _outturn(
            values, Signal.SYSTEM_PRICE, SYSTEM_PRICE, answers, start=start, end=end, now=now
        )

    async def demand_outturn(self, *, start: HalfHour, end: HalfHour, now: datetime) -> Series:
        """Return the initial national demand outturn.

        Raises:
            SourceError: No usable answer.
            ContractError: A row is malformed.
        """
        answers = [
            await self._get("demand/outturn", now, params)
            for params in _settlement_ranges(start, end)
        ]
        values = {
            row.half_hour(DEMAND_OUTTURN): _number(row.initial_demand_outturn)
            for answer in answers
            for row in answer.parse(_Rows[_DemandOutturn]).data
        }
        return _outturn(
            values, Signal.DEMAND, DEMAND_OUTTURN, answers, start=start, end=end, now=now
        )

    async def wind_outturn(self, *, start: HalfHour, end: HalfHour, now: datetime) -> Series:
        """Return the mean output of transmission-connected wind; embedded wind is not in it.

        Raises:
            SourceError: No usable answer.
            ContractError: A row is malformed.
        """
        answers = [
            await self._get("datasets/FUELHH", now, {**params, "fuelType": "WIND"})
            for params in _settlement_ranges(start, end)
        ]
        values = {
            row.half_hour(WIND_OUTTURN): _number(row.generation)
            for answer in answers
            for row in answer.parse(_Rows[_Fuel]).data
            if row.fuel_type == "WIND"
        }
        return _outturn(values, Signal.WIND, WIND_OUTTURN, answers, start=start, end=end, now=now)

    async def demand_forecast(self, *, published_by: datetime, now: datetime) -> Series:
        """Return the day-ahead forecast of national demand as it stood at ``published_by``.

        Raises:
            SourceError: No usable answer.
            ContractError: A row is malformed, or was published later than asked.
        """
        answer = await self._history("forecast/demand/day-ahead/history", published_by, now)
        rows = [
            row for row in answer.parse(_Rows[_DemandForecast]).data if row.boundary in {None, "N"}
        ]
        return tidy(
            {row.half_hour(DEMAND_FORECAST): _number(row.national_demand) for row in rows},
            signal=Signal.DEMAND,
            kind=Kind.FORECAST,
            source=DEMAND_FORECAST,
            origin=answer.origin,
            now=now,
            issued_at=_issued([row.publish_time for row in rows], published_by, answer),
        )

    async def wind_forecast(self, *, published_by: datetime, now: datetime) -> Series:
        """Return the wind forecast as it stood at ``published_by``; each hour fills two half-hours.

        Raises:
            SourceError: No usable answer.
            ContractError: A row is malformed, or was published later than asked.
        """
        answer = await self._history("forecast/generation/wind/history", published_by, now)
        rows = answer.parse(_Rows[_WindForecast]).data
        return tidy(
            {
                row.start_time + i: _number(row.generation)
                for row in sorted(rows, key=lambda row: row.start_time)
                for i in range(2)
            },
            signal=Signal.WIND,
            kind=Kind.FORECAST,
            source=WIND_FORECAST,
            origin=answer.origin,
            now=now,
            issued_at=_issued([row.publish_time for row in rows], published_by, answer),
        )

    async def _history(self, path: str, published_by: datetime, now: datetime) -> Answer:
        stamp = published_by.strftime("%Y-%m-%dT%H:%M:%SZ")
        return await self._get(path, now, {"publishTime": stamp})

    async def _get(self, path: str, now: datetime, params: Params | None) -> Answer:
        return await self._fetcher.get(path, now=now, params={**(params or {}), "format": "json"})


def _outturn(
    values: dict[HalfHour, float],
    signal: Signal,
    source: str,
    answers: Sequence[Answer],
    *,
    start: HalfHour,
    end: HalfHour,
    now: datetime,
) -> Series:
    if not answers:
        raise ValueError(f"an outturn needs start before end, got {start} and {end}")
    return tidy(
        {h: value for h, value in values.items() if start <= h < end},
        signal=signal,
        kind=Kind.OUTTURN,
        source=source,
        origin=answers[0].origin,
        now=now,
    )


def _issued(stamps: Sequence[datetime], published_by: datetime, answer: Answer) -> datetime:
    if not stamps:
        raise SourceError(f"{answer.provider}: {answer.url}: nothing had been published")
    newest = max(stamps)
    if newest > published_by:
        raise SourceError(
            f"{answer.provider}: {answer.url}: publishTime {newest} is after {published_by}"
        )
    return newest


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _chunks(start: HalfHour, end: HalfHour) -> Iterator[tuple[HalfHour, HalfHour]]:
    step = MAX_RANGE // HALF_HOUR
    while start < end:
        last = min(start + step, end)
        yield start, last
        start = last


def _settlement_days(start: HalfHour, end: HalfHour) -> Iterator[date]:
    if start < end:
        day = start.start.astimezone(LONDON).date()
        last = (end - 1).start.astimezone(LONDON).date()
        while day <= last:
            yield day
            day += timedelta(days=1)


def _settlement_ranges(start: HalfHour, end: HalfHour) -> Iterator[dict[str, str]]:
    for first, last in _chunks(start, end):
        days = list(_settlement_days(first, last))
        yield {"settlementDateFrom": str(days[0]), "settlementDateTo": str(days[-1])}
