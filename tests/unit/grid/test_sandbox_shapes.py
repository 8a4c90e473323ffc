"""What the sandbox serves has the fields and formats of what the providers really answered."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator

import pytest

from tests.shared import shared_data
from tests.unit.grid.replay import Payload
from tests.unit.grid.sandbox import Sandbox, small_world

AGILE = "/v1/products/AGILE-23-12-06/electricity-tariffs/E-1R-AGILE-23-12-06-C/"
ELEXON = "/bmrs/api/v1"
FORMATS = {
    "minute": r"\d{4}-\d\d-\d\dT\d\d:\d\dZ",
    "second": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "day": r"\d{4}-\d\d-\d\d",
    "text": r".+",
}

CASES = [
    pytest.param("/intensity/2024-04-01T08:00Z/2024-04-02T08:00Z",
                 "ci_national_range_2026-08-04.json", id="carbon range"),
    pytest.param("/intensity/date/2024-04-01", "ci_national_range_2026-08-04.json", id="day"),
    pytest.param("/intensity", "ci_national_2017.json", id="carbon now"),
    pytest.param("/intensity/2024-04-02T10:01Z/fw48h", "ci_national_2017.json", id="fw48h"),
    pytest.param("/regional/intensity/2024-04-02T10:01Z/fw24h/postcode/BH1",
                 "ci_regional_postcode_fw_2020-05-19.json", id="regional"),
    pytest.param(f"{ELEXON}/balancing/pricing/market-index?from=2024-04-01T00:00Z&to=2024-04-02T00:00Z",
                 "elexon_market_index_2026-08.json", id="market index"),
    pytest.param(f"{ELEXON}/balancing/settlement/system-prices/2024-04-01",
                 "elexon_system_prices_2026-08-08.json", id="system price"),
    pytest.param(f"{ELEXON}/datasets/FUELHH?settlementDateFrom=2024-04-01&settlementDateTo=2024-04-01",
                 "elexon_fuelhh.json", id="fuel mix"),
    pytest.param(f"{ELEXON}/forecast/demand/day-ahead/latest?from=2024-04-01T00:00Z&to=2024-04-02T00:00Z",
                 "elexon_demand_dayahead_latest_2024-03-25_week.json", id="demand forecast"),
    pytest.param(f"{AGILE}standard-unit-rates/?page_size=1500", "octopus_agile_rates_2026-08.json",
                 id="agile rates"),
]  # fmt: skip


def sandbox() -> Sandbox:
    return Sandbox(small_world(), "2024-04-02T10:10Z")


def leaves(body: Payload, path: str = "") -> Iterator[tuple[str, str]]:
    """Each path with the kind of what stands there; list items share one path."""
    if isinstance(body, dict):
        for key, value in body.items():
            yield from leaves(value, f"{path}.{key}")
    elif isinstance(body, list):
        for item in body:
            yield from leaves(item, f"{path}[]")
    else:
        yield path, kind(body)


def kind(value: Payload) -> str:
    if isinstance(value, str):
        return next(name for name, form in FORMATS.items() if re.fullmatch(form, value))
    return "null" if value is None else type(value).__name__


def shape(body: Payload) -> dict[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for path, what in leaves(body):
        found[path].add(what)
    return found


@pytest.mark.parametrize(("path", "fixture"), CASES)
async def test_an_answer_has_the_shape_of_the_recorded_one(path: str, fixture: str) -> None:
    recorded = shape(json.loads(shared_data("grid", "fixtures", fixture).read_text()))

    served = shape(await sandbox().body(path))

    assert without_metadata(served) == without_metadata(recorded)
    for where, kinds in served.items():
        told = recorded.get(where, set()) | {"null"}
        told |= {"int"} if "float" in told else set()
        told |= {"float"} if where.endswith(".perc") else set()
        assert kinds <= told or recorded[where] == {"null"}, where


def without_metadata(found: dict[str, set[str]]) -> set[str]:
    return {path for path in found if not path.startswith(".metadata")}


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("/balancing/pricing/market-index?from=2024-04-01T00:00Z&to=2024-04-02T00:00Z",
         "Balancing.MarketIndexResponse"),
        ("/balancing/settlement/system-prices/2024-04-01",
         "Balancing.Settlement.SystemPriceResponse"),
        ("/balancing/settlement/system-prices/2024-04-01/7",
         "Balancing.Settlement.SystemPriceResponse"),
        ("/demand/outturn?settlementDateFrom=2024-04-01&settlementDateTo=2024-04-02",
         "DemandOutturn.DemandOutturn"),
        ("/datasets/FUELHH?settlementDateFrom=2024-04-01&settlementDateTo=2024-04-01",
         "Generation.DatasetRows.AugmentedOutturnData"),
        ("/forecast/demand/day-ahead/history?publishTime=2024-04-01T12:00Z",
         "DemandForecast.DemandForecastDayAhead"),
        ("/forecast/generation/wind/history?publishTime=2024-04-01T12:00Z",
         "Generation.WindGenerationForecast"),
        ("/forecast/generation/wind/latest?from=2024-04-02T12:00Z&to=2024-04-03T12:00Z",
         "Generation.WindGenerationForecast"),
    ],
)  # fmt: skip
async def test_elexon_rows_have_the_fields_of_its_published_schema(path: str, schema: str) -> None:
    excerpt = shared_data("grid", "fixtures", "elexon_openapi_excerpt.json")
    schemas = json.loads(excerpt.read_text())["components"]["schemas"]
    fields = schemas[f"Insights.Api.Models.Responses.{schema}"]["properties"]

    rows = (await sandbox().body(f"{ELEXON}{path}"))["data"]

    assert rows
    assert {frozenset(row) for row in rows} == {frozenset(fields)}


async def test_the_market_index_comes_newest_first_with_a_provider_that_is_always_zero() -> None:
    rows = (await sandbox().body(
        f"{ELEXON}/balancing/pricing/market-index",
        **{"from": "2024-04-01T00:00Z", "to": "2024-04-01T01:00Z"},
    ))["data"]  # fmt: skip

    assert [(row["startTime"][11:16], row["dataProvider"]) for row in rows] == [
        ("01:00", "APXMIDP"), ("01:00", "N2EXMIDP"), ("00:30", "APXMIDP"), ("00:30", "N2EXMIDP"),
        ("00:00", "APXMIDP"), ("00:00", "N2EXMIDP"),
    ]  # fmt: skip
    assert {row["price"] for row in rows if row["dataProvider"] == "N2EXMIDP"} == {0.0}


async def test_agile_rates_come_newest_first_a_hundred_a_page() -> None:
    box = sandbox()

    page = await box.body(f"{AGILE}standard-unit-rates/")
    rest = await box.body(page["next"])

    starts = [row["valid_from"] for row in page["results"] + rest["results"]]
    assert len(page["results"]) == 100
    assert page["count"] == len(starts)
    assert starts == sorted(starts, reverse=True)
    assert rest["next"] is None


async def test_a_range_begins_with_the_half_hour_that_ends_at_its_start() -> None:
    rows = (await sandbox().body("/intensity/2024-04-01T08:00Z/2024-04-01T09:00Z"))["data"]

    assert [row["from"] for row in rows] == [
        "2024-04-01T07:30Z", "2024-04-01T08:00Z", "2024-04-01T08:30Z"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/regional/postcode/Z", "'Z'"),
        ("/regional/regionid/18", "1 to 17"),
        ("/regional/france", "england"),
        ("/intensity/yesterday/fw48h", "'yesterday'"),
        ("/intensity/2024-04-01T00:00Z/2024-04-20T00:00Z", "14 days"),
        ("/intensity/stats/2024-03-01T00:00Z/2024-04-20T00:00Z", "30 days"),
        (f"{ELEXON}/balancing/pricing/market-index?from=2024-03-01T00:00Z&to=2024-04-01T00:00Z",
         "7 days"),
        (f"{ELEXON}/balancing/pricing/market-index", "from"),
        (f"{ELEXON}/balancing/settlement/system-prices/tomorrow", "tomorrow"),
    ],
)  # fmt: skip
async def test_a_wrong_question_gets_the_providers_error_object(path: str, says: str) -> None:
    answer = await sandbox().get(path)

    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]


async def test_a_long_wrong_postcode_gets_an_empty_answer_like_the_real_one() -> None:
    answer = await sandbox().get("/regional/postcode/ZZ99")

    assert (answer.status_code, answer.content) == (200, b"")


async def test_statistics_are_those_of_the_rows_in_their_range() -> None:
    box = sandbox()
    rows = (await box.body("/intensity/2024-04-01T08:00Z/2024-04-02T08:00Z"))["data"]
    actual = [row["intensity"]["actual"] for row in rows]

    (told,) = (await box.body("/intensity/stats/2024-04-01T08:00Z/2024-04-02T08:00Z"))["data"]

    assert told["intensity"]["max"] == max(actual)
    assert told["intensity"]["min"] == min(actual)
    assert told["intensity"]["average"] == round(sum(actual) / len(actual))
