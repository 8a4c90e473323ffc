"""Recorded GB series as a `History`: every value with the half-hour from which it was known.

Outturns appear after their half-hour, auction prices the day before, forecasts when they
were published. Where the recording has no publication time, the latest that the publisher's
rules allow is taken, so that a backtest never knows more than a user would have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from gridflex.errors import ContractError, SourceError
from gridflex.forecasting.history import Array, History, Indices, Input
from gridflex.halfhour import HALF_HOUR, LONDON, HalfHour, periods_in
from gridflex.sandbox.grid.desk import AuctionSource, auction_published_at
from gridflex.sandbox.grid.recorded import read_world
from gridflex.sandbox.grid.vintages import ErrorModel
from gridflex.sandbox.grid.world import World

INTENSITY: Final = "intensity_gco2_per_kwh"
PRICE: Final = "price_gbp_per_mwh"
PROVIDER: Final = "provider_intensity_gco2_per_kwh"
"""Drawn from an error model, so always simulated."""

_DERIVED: Final = "gb_ci_best_hh.parquet"
_CARDINAL: Final = "gb_neso_dayahead_demand_cardinal_2018_2025.parquet"
_NDF: Final = "gb_ndf_dayahead_vintages_2022_2024.parquet"
_ENTSOE: Final = "gb_entsoe_dayahead_2014_2021.parquet"
_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    _DERIVED: ("ts_utc", "ci_derived_gco2_kwh"),
    _CARDINAL: (
        *("target_date", "publish_utc", "cp_start_hhmm_local", "cp_end_hhmm_local"),
        "forecast_demand_mw",
    ),
    _NDF: ("ts_utc", "publish_utc", "nd_forecast_mw"),
    _ENTSOE: (
        *("ts_utc", "da_wind_offshore_forecast_mw", "da_wind_onshore_forecast_mw"),
        *("da_solar_forecast_mw", "da_load_forecast_mw"),
    ),
}

WEATHER_PUBLISHED: Final = time(17, 0)
"""London time at which the day-ahead wind and solar forecasts must be out, the day before.

Source:
    Regulation (EU) 543/2013, article 14(2)(d): no later than 18:00 Brussels time.
"""

LOAD_PUBLISHED: Final = time(9, 0)
"""London time at which the day-ahead load forecast must be out, the day before.

Source:
    Regulation (EU) 543/2013, article 6(2)(b): two hours before the noon gate closure.
"""

_AN_HOUR: Final = 2
_AFTER_THE_FACT: Final = 1
"""Half-hours: what appears 5 to 20 minutes after its half-hour is there when the next one ends."""

_AUCTION_AN_HOUR_OFF: Final = (
    *("2020-03-29", "2020-05-27", "2020-05-28", "2020-05-29", "2020-10-25"),
    *("2022-03-27", "2023-03-26", "2024-03-31"),
)
"""UTC days on which the recorded auction prices are an hour off: left out."""

_Statements = list[tuple[Indices, Indices, Array]]


def read_history(
    folder: Path, *, target: str = INTENSITY, prices_from: AuctionSource = AuctionSource.OCTOPUS
) -> History:
    """Return all recorded GB inputs, to forecast ``target`` with them.

    Args:
        folder: Holds the table of `read_world` and, as far as there are any, the recorded
            forecasts of demand, wind and solar, which are left out where a file is missing.
        target: Name of one of the inputs, such as `INTENSITY` or `PRICE`.
        prices_from: Where the day-ahead price is read.

    Raises:
        SourceError: The table cannot be read.
        ContractError: A column is missing, or ``target`` is not among the inputs.
    """
    world = read_world(folder)
    inputs = {**outturns(world), "day_ahead_gbp_per_mwh": auction(world, source=prices_from)}
    for name, reader in ((_DERIVED, _derived), (_ENTSOE, _day_ahead_weather)):
        if (folder / name).exists():
            inputs |= reader(_table(folder / name), world)
    demand = [
        statements
        for name, reader in ((_CARDINAL, _cardinal_points), (_NDF, _national_demand))
        if (folder / name).exists()
        for statements in reader(_table(folder / name), world.start)
    ]
    if demand:
        inputs["demand_forecast_mw"] = Input.of(demand)
    return History(world.start, target, inputs)


def outturns(world: World) -> Mapping[str, Input]:
    """Return what is known only after the fact, each with its delay.

    The recorded intensity is an hourly mean with a half-hourly shape, so neither half is known
    before the hour is over.
    """
    half_hours = np.arange(len(world))
    hour_over = half_hours // _AN_HOUR * _AN_HOUR + _AN_HOUR + _AFTER_THE_FACT
    after_the_fact = {
        PRICE: world.mid_gbp_per_mwh,
        "system_price_gbp_per_mwh": world.system_gbp_per_mwh,
        "demand_mw": world.demand_mw,
        "solar_mw": world.embedded_solar_mw,
        "net_import_mw": world.net_import_mw,
        **{f"{fuel.lower()}_mw": values for fuel, values in world.fuels_mw.items()},
    }
    told = {n: Input.outturn(v, delay=_AFTER_THE_FACT) for n, v in after_the_fact.items()}
    return {INTENSITY: Input(half_hours, hour_over, world.intensity_gco2_per_kwh), **told}


def auction(world: World, *, source: AuctionSource = AuctionSource.OCTOPUS) -> Input:
    """Return the day-ahead price, known from the day before, when ``source`` tells it."""
    prices = world.day_ahead_gbp_per_mwh.copy()
    stamps = pd.date_range(world.start.start, periods=len(world), freq=HALF_HOUR)
    days = pd.DatetimeIndex(_AUCTION_AN_HOUR_OFF, tz=UTC)
    prices[stamps.floor("D").isin(days)] = np.nan
    published = [auction_published_at(h, source=source) for h in world.start.span(len(world))]
    return Input(np.arange(len(world)), _known_from(world.start, published), prices)


def provider_forecast(
    world: World, errors: ErrorModel, *, every: int = 4, ahead: int = 96
) -> Input:
    """Return simulated vintages of a provider's forecast of intensity: outturn plus drawn errors.

    Args:
        world: What really happened.
        errors: How wrong the provider is.
        every: Half-hours between two vintages.
        ahead: Half-hours that one vintage covers.
    """
    truth = world.intensity_gco2_per_kwh
    vintages = []
    for issued in range(0, len(world), every):
        made = world.start + issued
        about = issued + np.arange(min(ahead, len(world) - issued))
        said = truth[about] + errors.errors(issued=made, start=made, half_hours=about.size)
        vintages.append((about, np.full(about.size, issued), np.clip(said, 0.0, None)))
    return Input.of(vintages)


def _derived(table: pd.DataFrame, world: World) -> Mapping[str, Input]:
    about = _about(table["ts_utc"], world.start)
    values = table["ci_derived_gco2_kwh"].to_numpy(dtype=np.float64)
    known_from = about + 1 + _AFTER_THE_FACT
    return {"derived_intensity_gco2_per_kwh": Input.of([(about, known_from, values)])}


def _day_ahead_weather(table: pd.DataFrame, world: World) -> Mapping[str, Input]:
    table = table[table["ts_utc"] >= world.start.start]
    about = _about(table["ts_utc"], world.start)
    wind = table["da_wind_offshore_forecast_mw"] + table["da_wind_onshore_forecast_mw"]
    weather = _known_from(world.start, _day_before(table["ts_utc"], WEATHER_PUBLISHED))
    load = _known_from(world.start, _day_before(table["ts_utc"], LOAD_PUBLISHED))

    def told(values: pd.Series, known_from: Indices) -> Input:
        return Input.of([(about, known_from, values.to_numpy(dtype=np.float64))])

    return {
        "wind_forecast_mw": told(wind, weather),
        "solar_forecast_mw": told(table["da_solar_forecast_mw"], weather),
        "load_forecast_mw": told(table["da_load_forecast_mw"], load),
    }


def _cardinal_points(table: pd.DataFrame, start: HalfHour) -> _Statements:
    """Turning points of a London day's demand, joined by straight lines."""
    midnight = pd.DatetimeIndex(table["target_date"]).tz_localize(LONDON)
    begun = pd.DatetimeIndex(table["publish_utc"]) >= midnight
    points = pd.DataFrame(
        {
            "day": table["target_date"],
            "published": table["publish_utc"],
            "hour": (_hours(table["cp_start_hhmm_local"]) + _hours(table["cp_end_hhmm_local"])) / 2,
            "mw": table["forecast_demand_mw"].astype(float),
        }
    )[~begun & (midnight >= pd.Timestamp(start.start))].sort_values(["day", "published", "hour"])
    parts = []
    for _, curve in points.groupby(["day", "published"]):
        day, published = curve["day"].iloc[0].date(), curve["published"].iloc[0]
        first = HalfHour.from_settlement(day, 1)
        about = start.until(first) + np.arange(periods_in(day))
        middles = _clock_hours(first, about.size) + HALF_HOUR / timedelta(hours=2)
        known = np.full(about.size, start.until(HalfHour.at_or_after(published)))
        parts.append((about, known, np.interp(middles, curve["hour"], curve["mw"])))
    return parts


def _hours(hhmm: pd.Series[int]) -> pd.Series[float]:
    return hhmm // 100 + hhmm % 100 / 60


def _clock_hours(first: HalfHour, count: int) -> Array:
    stamps = pd.date_range(first.start, periods=count, freq=HALF_HOUR).tz_convert(LONDON)
    return np.asarray(stamps.hour + stamps.minute / 60, dtype=np.float64)


def _national_demand(table: pd.DataFrame, start: HalfHour) -> _Statements:
    known_from = _known_from(start, table["publish_utc"].dt.tz_localize(UTC))
    values = table["nd_forecast_mw"].to_numpy(dtype=np.float64)
    return [(_about(table["ts_utc"], start), known_from, values)]


def _day_before(stamps: pd.Series[pd.Timestamp], at: time) -> Iterator[datetime]:
    """Yield ``at`` in London on the day before each stamp's."""
    for day in stamps.dt.tz_convert(LONDON).dt.date:
        yield datetime.combine(day - timedelta(days=1), at, tzinfo=LONDON)


def _known_from(start: HalfHour, moments: Iterable[datetime]) -> Indices:
    """Return the first half-hour that starts no earlier than each moment."""
    late = pd.DatetimeIndex(pd.to_datetime(list(moments), utc=True)) - pd.Timestamp(start.start)
    return np.asarray(-(-late // HALF_HOUR), dtype=np.int64)


def _about(stamps: pd.Series[pd.Timestamp], start: HalfHour) -> Indices:
    past = pd.DatetimeIndex(stamps) - pd.Timestamp(start.start)
    return np.asarray(past // HALF_HOUR, dtype=np.int64)


def _table(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from error
    missing = [name for name in _COLUMNS[path.name] if name not in table.columns]
    if missing:
        raise ContractError(f"{path}: columns {missing} are missing")
    return table
