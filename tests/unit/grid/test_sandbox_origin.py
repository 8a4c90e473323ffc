"""Simulated numbers say so in every answer, good or bad; recorded ones are those of the file."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gridflex.adapters.http import ORIGIN_HEADER
from gridflex.errors import ContractError, SourceError
from gridflex.sandbox.grid.recorded import TABLE, read_world
from gridflex.sandbox.grid.simulated import simulate_world
from gridflex.sandbox.grid.world import World
from tests.shared import shared_data
from tests.unit.grid.replay import at, hh
from tests.unit.grid.sandbox import Sandbox, small_world

ELEXON = "/bmrs/api/v1"
AGILE = "/v1/products/AGILE-24-10-01/electricity-tariffs/E-1R-AGILE-24-10-01-C/standard-unit-rates/"
FORECASTS = [
    "/intensity/2026-01-15T10:01Z/fw24h",
    "/intensity/2026-01-15T10:01Z/fw48h",
    "/regional",
    "/regional/wales",
    "/regional/postcode/RG10",
    "/regional/regionid/13",
    "/regional/intensity/2026-01-15T10:01Z/fw48h",
    "/regional/intensity/2026-01-15T10:01Z/fw48h/postcode/RG10",
    "/regional/intensity/2026-01-15T10:01Z/fw48h/regionid/13",
    f"{ELEXON}/forecast/demand/day-ahead/history?publishTime=2026-01-15T10:00Z",
    f"{ELEXON}/forecast/demand/day-ahead/latest?from=2026-01-15T00:00Z&to=2026-01-16T00:00Z",
    f"{ELEXON}/forecast/generation/wind/history?publishTime=2026-01-15T10:00Z",
    f"{ELEXON}/forecast/generation/wind/latest?from=2026-01-15T12:00Z&to=2026-01-16T00:00Z",
]
FACTS = [
    "/intensity",
    "/intensity/date",
    "/intensity/date/2026-01-14",
    "/intensity/2026-01-14T10:00Z",
    "/intensity/2026-01-14T10:00Z/2026-01-15T10:00Z",
    "/intensity/2026-01-14T10:00Z/pt24h",
    "/intensity/stats/2026-01-14T10:00Z/2026-01-15T10:00Z",
    "/generation",
    "/generation/2026-01-14T10:00Z/2026-01-15T10:00Z",
    f"{ELEXON}/balancing/pricing/market-index?from=2026-01-14T00:00Z&to=2026-01-15T00:00Z",
    f"{ELEXON}/balancing/settlement/system-prices/2026-01-14",
    f"{ELEXON}/balancing/settlement/system-prices/2026-01-14/3",
    f"{ELEXON}/demand/outturn?settlementDateFrom=2026-01-14&settlementDateTo=2026-01-14",
    f"{ELEXON}/datasets/FUELHH?settlementDateFrom=2026-01-14&settlementDateTo=2026-01-14",
    "/v1/products/",
    AGILE,
    "/_sandbox",
]
REFUSED = [
    "/nowhere",
    "/intensity/yesterday/fw48h",
    "/regional/postcode/ZZ99",
    f"{ELEXON}/nowhere",
    "/v1/products/FIXED-1/electricity-tariffs/E-1R-FIXED-1-C/standard-unit-rates/",
]
NOW = "2026-01-15T10:10Z"


@pytest.fixture(scope="module")
def simulated() -> World:
    return simulate_world(at(NOW), seed=7)


@pytest.mark.parametrize("path", [*FORECASTS, *FACTS, *REFUSED])
async def test_every_answer_of_a_simulated_grid_says_so(simulated: World, path: str) -> None:
    answer = await Sandbox(simulated, NOW).get(path)

    assert answer.headers[ORIGIN_HEADER] == "simulated"
    assert (answer.status_code == 200) == (path not in REFUSED or "ZZ99" in path), answer.text


@pytest.mark.parametrize("fault", ["error", "garbage", "empty"])
async def test_even_a_spoiled_answer_says_so(simulated: World, fault: str) -> None:
    box = Sandbox(simulated, NOW)
    await box.order(fault)

    assert (await box.get("/intensity")).headers[ORIGIN_HEADER] == "simulated"


@pytest.mark.parametrize(
    ("path", "origin"),
    [(path, "simulated") for path in FORECASTS] + [(path, "recorded") for path in FACTS],
)
async def test_a_recorded_grid_says_simulated_of_what_it_only_forecasts(
    path: str, origin: str
) -> None:
    world = small_world("2026-01-05T00:00Z")

    assert (await Sandbox(world, NOW).get(path)).headers[ORIGIN_HEADER] == origin


async def test_what_a_recorded_grid_serves_is_what_is_in_the_file() -> None:
    folder = shared_data("grid")
    table = pd.read_parquet(folder / TABLE).set_index("ts_utc")
    box = Sandbox(read_world(folder), "2024-06-14T12:00Z")
    day = table.loc["2024-06-12T23:00Z":"2024-06-13T22:30Z"]
    span = {"from": "2024-06-12T23:00Z", "to": "2024-06-13T22:30Z"}

    mid = (await box.body(f"{ELEXON}/balancing/pricing/market-index", **span,
                          dataProviders="APXMIDP"))["data"]  # fmt: skip
    system = (await box.body(f"{ELEXON}/balancing/settlement/system-prices/2024-06-13"))["data"]
    demand = (await box.body(f"{ELEXON}/demand/outturn", settlementDateFrom="2024-06-13",
                             settlementDateTo="2024-06-13"))["data"]  # fmt: skip
    wind = (await box.body(f"{ELEXON}/datasets/FUELHH", settlementDateFrom="2024-06-13",
                           settlementDateTo="2024-06-13", fuelType="WIND"))["data"]  # fmt: skip
    carbon = (await box.body("/intensity/2024-06-12T22:31Z/2024-06-13T22:30Z"))["data"]

    assert [row["price"] for row in mid[::-1]] == pytest.approx(day["mid_price_gbp_mwh"], abs=0.005)
    assert [row["volume"] for row in mid[::-1]] == pytest.approx(day["mid_volume_mwh"], abs=0.005)
    assert [row["systemSellPrice"] for row in system] == pytest.approx(
        day["system_price_gbp_mwh"], abs=0.005
    )
    assert [row["netImbalanceVolume"] for row in system] == pytest.approx(day["niv_mwh"], abs=1e-4)
    assert [row["initialDemandOutturn"] for row in demand] == day["nd_mw"].tolist()
    assert [row["generation"] for row in wind] == pytest.approx(day["wind_mw"], abs=0.5)
    assert [row["intensity"]["actual"] for row in carbon] == pytest.approx(
        day["ci_gco2_kwh"], abs=0.5
    )  # each under the label half an hour before
    assert carbon[0]["from"] == "2024-06-12T22:30Z"
    assert len(mid) == len(system) == len(demand) == len(wind) == len(carbon) == 48


def written(folder: Path, table: pd.DataFrame) -> Path:
    table.to_parquet(folder / TABLE)
    return folder


@pytest.fixture(scope="module")
def two_days() -> pd.DataFrame:
    return pd.read_parquet(shared_data("grid") / TABLE).iloc[:96]


def test_a_folder_is_read_whole(tmp_path: Path, two_days: pd.DataFrame) -> None:
    world = read_world(written(tmp_path, two_days))

    assert (world.start, len(world)) == (hh("2020-01-01T00:00Z"), 96)
    np.testing.assert_array_equal(world.mid_gbp_per_mwh, two_days["mid_price_gbp_mwh"])


def test_a_folder_without_the_table_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=TABLE):
        read_world(tmp_path)


def test_a_file_that_is_not_parquet_is_refused(tmp_path: Path) -> None:
    (tmp_path / TABLE).write_text("half-hours")

    with pytest.raises(SourceError, match=TABLE):
        read_world(tmp_path)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        pytest.param(lambda t: t.drop(columns="niv_mwh"), "niv_mwh", id="column"),
        pytest.param(lambda t: t.drop(index=t.index[5]), "consecutive", id="gap"),
        pytest.param(lambda t: t.iloc[:0], "consecutive", id="empty"),
    ],
)  # fmt: skip
def test_a_table_that_is_not_whole_is_refused(
    tmp_path: Path, two_days: pd.DataFrame, spoil: Callable[[pd.DataFrame], pd.DataFrame], says: str
) -> None:
    with pytest.raises(ContractError, match=says):
        read_world(written(tmp_path, spoil(two_days)))


def test_a_folder_without_recorded_series_is_told_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=f"{TABLE}: there is no such file; valid is a folder"):
        read_world(tmp_path / "nowhere")
