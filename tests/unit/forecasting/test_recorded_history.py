"""The recorded series, known when their publishers said them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.sandbox.grid.desk import AuctionSource, auction_published_at
from gridflex.sandbox.grid.histories import INTENSITY, PROVIDER, provider_forecast, read_history
from gridflex.sandbox.grid.recorded import TABLE, read_world
from gridflex.sandbox.grid.vintages import carbon_errors
from tests.unit.grid.replay import at, hh

OCTOPUS, EXCHANGE = AuctionSource
START = hh("2024-03-29T00:00Z")  # the clocks go forward two days later
COLUMNS = [
    *("ci_gco2_kwh", "day_ahead_price_gbp_mwh", "mid_price_gbp_mwh", "mid_volume_mwh"),
    *("system_price_gbp_mwh", "niv_mwh", "nd_mw", "tsd_mw", "net_import_mw"),
    *("embedded_wind_generation_mw", "embedded_solar_generation_mw", "wind_mw", "ccgt_mw"),
    *("ocgt_mw", "coal_mw", "nuclear_mw", "biomass_mw", "npshyd_mw", "ps_mw", "other_mw"),
]


def stamps(days: int) -> pd.DatetimeIndex:
    return pd.date_range(START.start, periods=days * 48, freq="30min")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    count = 4 * 48
    table = pd.DataFrame({name: np.arange(float(count)) for name in COLUMNS})
    table.insert(0, "ts_utc", stamps(4))
    table.to_parquet(tmp_path / TABLE)
    return tmp_path


def known_ahead(folder: Path, name: str, issued: HalfHour, *, most: int = 120) -> int:
    """How many half-hours from ``issued`` on are known, without a hole."""
    window = read_history(folder).known_at(issued).window(name, 0, most)
    count = int(np.isfinite(window).sum())
    assert np.isfinite(window[:count]).all()
    return count


def test_neither_half_of_an_hour_of_intensity_is_known_before_the_hour_is_over(
    folder: Path,
) -> None:
    history = read_history(folder)

    at_half_past = history.known_at(hh("2024-03-29T12:30Z")).window(INTENSITY, -4, 4)
    at_the_hour = history.known_at(hh("2024-03-29T13:00Z")).window(INTENSITY, -4, 4)

    assert np.isfinite(at_half_past).tolist() == [True, True, True, False]  # 11:30 is the last
    assert np.isfinite(at_the_hour).tolist() == [True, True, False, False]  # 12:30 ends at 13:00


def test_an_elexon_outturn_is_known_when_the_next_half_hour_is_over(folder: Path) -> None:
    seen = read_history(folder).known_at(hh("2024-03-29T12:30Z")).window("wind_mw", -2, 3)

    np.testing.assert_array_equal(seen, [23.0, np.nan, np.nan])


@pytest.mark.parametrize(
    ("issued", "half_hours"),
    [
        pytest.param("2024-03-29T16:00Z", 14, id="before the auction: to 23:00"),
        pytest.param("2024-03-29T16:30Z", 61, id="after it: to 23:00 tomorrow"),
    ],
)
def test_auction_prices_are_known_from_the_afternoon_before(
    folder: Path, issued: str, half_hours: int
) -> None:
    assert known_ahead(folder, "day_ahead_gbp_per_mwh", hh(issued)) == half_hours


@pytest.mark.parametrize(
    ("issued", "half_hours"),
    [
        pytest.param("2024-03-29T10:00Z", 26, id="before they are read: to 23:00"),
        pytest.param("2024-03-29T10:30Z", 73, id="after it: to 23:00 tomorrow"),
    ],
)
def test_the_exchange_itself_tells_its_prices_in_the_morning(
    folder: Path, issued: str, half_hours: int
) -> None:
    history = read_history(folder, prices_from=AuctionSource.EXCHANGE)
    window = history.known_at(hh(issued)).window("day_ahead_gbp_per_mwh", 0, 96)

    assert np.flatnonzero(np.isfinite(window)).tolist() == list(range(half_hours))


@pytest.mark.parametrize(
    ("half_hour", "source", "published"),
    [
        pytest.param("2020-12-31T22:30Z", EXCHANGE, "2020-12-30T13:00Z", id="last coupled day"),
        pytest.param("2020-12-31T23:00Z", EXCHANGE, "2020-12-31T10:10Z", id="first one alone"),
        pytest.param("2024-07-01T12:00Z", EXCHANGE, "2024-06-30T09:10Z", id="in summer"),
        pytest.param("2020-12-31T22:30Z", OCTOPUS, "2020-12-30T16:10Z", id="Octopus then"),
        pytest.param("2024-07-01T12:00Z", OCTOPUS, "2024-06-30T15:10Z", id="Octopus in summer"),
    ],
)
def test_when_the_auction_is_told_depends_on_where_it_is_read(
    half_hour: str, source: AuctionSource, published: str
) -> None:
    assert auction_published_at(hh(half_hour), source=source) == at(published)


def test_auction_prices_that_were_recorded_an_hour_late_are_left_out(folder: Path) -> None:
    history = read_history(folder)

    spring = history.known_at(hh("2024-03-31T12:00Z")).window("day_ahead_gbp_per_mwh", -24, 24)

    assert np.isnan(spring).all()


def test_turning_points_of_demand_become_a_curve_on_londons_clock(folder: Path) -> None:
    points = pd.DataFrame(
        {
            "target_date": pd.to_datetime(["2024-03-31"] * 3),
            "publish_utc": pd.to_datetime(["2024-03-30T08:40Z"] * 3),
            "cp_start_hhmm_local": [30, 600, 2400],
            "cp_end_hhmm_local": [30, 730, 2400],
            "forecast_demand_mw": [20_000, 31_250, 20_000],
        }
    )
    points.to_parquet(folder / "gb_neso_dayahead_demand_cardinal_2018_2025.parquet")
    history = read_history(folder)

    early = history.known_at(hh("2024-03-30T08:30Z")).window("demand_forecast_mw", 31, 48)
    day = history.known_at(hh("2024-03-30T09:00Z")).window("demand_forecast_mw", 30, 48)

    assert np.isnan(early).all()
    assert np.isfinite(day).sum() == 46  # the short day, 00:00 to 23:00 UTC
    assert day[0] == pytest.approx(20_000)  # before the first point: as at it
    assert day[1] == pytest.approx(20_000 + 11_250 * 0.25 / 6.25)  # 00:45 on the clock
    assert day[2] == pytest.approx(20_000 + 11_250 * 1.75 / 6.25)  # 02:15: 01:xx was skipped


def test_points_published_on_the_day_itself_are_left_out(folder: Path) -> None:
    points = pd.DataFrame(
        {
            "target_date": pd.to_datetime(["2024-03-30", "2024-03-31"]),
            "publish_utc": pd.to_datetime(["2024-03-30T00:10Z", "2024-03-30T08:40Z"]),
            "cp_start_hhmm_local": [30, 30],
            "cp_end_hhmm_local": [30, 30],
            "forecast_demand_mw": [1, 2],
        }
    )
    points.to_parquet(folder / "gb_neso_dayahead_demand_cardinal_2018_2025.parquet")

    told = read_history(folder).inputs["demand_forecast_mw"]

    assert set(told.values) == {2.0}


def test_the_national_demand_forecast_is_known_from_its_publication(folder: Path) -> None:
    forecast = pd.DataFrame(
        {
            "ts_utc": stamps(4)[48:50].repeat(2),
            "publish_utc": pd.to_datetime(["2024-03-28T23:46", "2024-03-29T23:50"] * 2),
            "tsd_forecast_mw": [0] * 4,
            "nd_forecast_mw": [25_000.0, 26_000.0, 25_500.0, np.nan],
        }
    )
    forecast.to_parquet(folder / "gb_ndf_dayahead_vintages_2022_2024.parquet")
    history = read_history(folder)

    def seen(issued: str) -> list[float]:
        known = history.known_at(hh(issued))
        return list(known.window("demand_forecast_mw", known.issued.until(START + 48), 2))

    assert seen("2024-03-29T23:30Z") == [25_000.0, 25_500.0]
    assert seen("2024-03-30T00:00Z") == [26_000.0, 25_500.0]


def test_weather_forecasts_are_known_from_the_latest_time_the_rules_allow(folder: Path) -> None:
    forecast = pd.DataFrame({"ts_utc": stamps(4)})
    for name in ("solar", "wind_offshore", "wind_onshore", "load"):
        forecast[f"da_{name}_forecast_mw"] = 100.0
    forecast.to_parquet(folder / "gb_entsoe_dayahead_2014_2021.parquet")

    assert known_ahead(folder, "wind_forecast_mw", hh("2024-03-29T16:30Z")) == 15
    assert known_ahead(folder, "wind_forecast_mw", hh("2024-03-29T17:00Z")) == 14 + 48
    assert known_ahead(folder, "load_forecast_mw", hh("2024-03-29T09:00Z")) == 30 + 48
    assert read_history(folder).known_at(START + 34).window("wind_forecast_mw", 0, 1)[0] == 200.0


def test_a_recording_is_refused_by_the_column_that_it_lacks(folder: Path) -> None:
    path = folder / "gb_ndf_dayahead_vintages_2022_2024.parquet"
    pd.DataFrame({"ts_utc": [], "publish_utc": []}).to_parquet(path)

    with pytest.raises(
        ContractError, match=r"vintages.*: columns \['nd_forecast_mw'\] are missing"
    ):
        read_history(folder)


def test_a_provider_forecast_is_renewed_and_wrong_as_documented(folder: Path) -> None:
    world = read_world(folder)
    told = provider_forecast(world, carbon_errors(3), every=4, ahead=8)

    early, late = told.at(100, 100, 9), told.at(104, 104, 4)

    assert np.isnan(early[8])
    assert (early[4:8] != late).all()
    errors = carbon_errors(3).errors(issued=START + 100, start=START + 100, half_hours=8)
    np.testing.assert_allclose(early[:8], np.clip(np.arange(100.0, 108.0) + errors, 0, None))
    assert PROVIDER not in read_history(folder).inputs
