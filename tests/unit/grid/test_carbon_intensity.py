"""The GB Carbon Intensity API as it really answers."""

import json
from datetime import timedelta

import httpx
import numpy as np
import pytest

from gridflex.adapters.grid.carbon_intensity import CarbonIntensity
from gridflex.errors import ContractError, SourceError
from gridflex.signals import Kind, Origin, Signal
from tests.shared import shared_data
from tests.unit.grid.replay import Payload, Replay, at, fetcher, hh

NOW = at("2026-01-15T10:10Z")


def row(start: str, end: str, **intensity: float | None) -> Payload:
    return {"from": start, "to": end, "intensity": {"index": "low", **intensity}}


def api(replay: Replay, *, shift: timedelta = timedelta(minutes=30)) -> CarbonIntensity:
    return CarbonIntensity(fetcher(replay), outturn_label_shift=shift)


FW48H = {
    "data": [
        row("2026-01-15T09:30Z", "2026-01-15T10:00Z", forecast=999, actual=120),
        row("2026-01-15T10:00Z", "2026-01-15T10:30Z", forecast=101),
        row("2026-01-15T10:30Z", "2026-01-15T11:00Z", forecast=102),
        row("2026-01-15T11:30Z", "2026-01-15T12:00Z", forecast=104),
    ]
}


async def test_a_forecast_starts_at_the_running_half_hour_not_at_the_first_row() -> None:
    replay = Replay({"/intensity/": FW48H})

    series = await api(replay).forecast(now=NOW)

    assert series.start == hh("2026-01-15T10:00Z")
    assert series.values[0] == 101
    assert (series.signal, series.kind, series.origin) == (
        Signal.INTENSITY,
        Kind.FORECAST,
        Origin.LIVE,
    )
    assert series.available_at == NOW


async def test_the_forecast_is_asked_for_from_inside_the_half_hour() -> None:
    replay = Replay({"/intensity/": FW48H})

    await api(replay).forecast(now=NOW)

    assert replay.asked[0].path == "/intensity/2026-01-15T10:01Z/fw48h"


async def test_a_missing_half_hour_is_not_a_number() -> None:
    series = await api(Replay({"/intensity/": FW48H})).forecast(now=NOW)

    np.testing.assert_array_equal(series.values, [101, 102, np.nan, 104])


async def test_the_outturn_label_is_moved_half_an_hour_later() -> None:
    body = {
        "data": [
            row("2026-01-15T08:30Z", "2026-01-15T09:00Z", forecast=1, actual=300),
            row("2026-01-15T09:00Z", "2026-01-15T09:30Z", forecast=1, actual=110),
            row("2026-01-15T09:30Z", "2026-01-15T10:00Z", forecast=1, actual=None),
        ]
    }
    replay = Replay({"/intensity/": body})

    series = await api(replay).outturn(
        start=hh("2026-01-15T09:30Z"), end=hh("2026-01-15T10:30Z"), now=NOW
    )

    assert replay.asked[0].path == "/intensity/2026-01-15T09:01Z/2026-01-15T10:00Z"
    assert series.start == hh("2026-01-15T09:30Z")
    np.testing.assert_array_equal(series.values, [110])


async def test_the_label_shift_can_be_switched_off() -> None:
    body = {"data": [row("2026-01-15T09:30Z", "2026-01-15T10:00Z", forecast=1, actual=110)]}

    series = await api(Replay({"/": body}), shift=timedelta(0)).outturn(
        start=hh("2026-01-15T09:30Z"), end=hh("2026-01-15T10:00Z"), now=NOW
    )

    assert series.start == hh("2026-01-15T09:30Z")


async def test_a_long_outturn_is_asked_for_in_parts_of_fourteen_days() -> None:
    body = {"data": [row("2026-01-01T00:00Z", "2026-01-01T00:30Z", forecast=1, actual=110)]}
    replay = Replay({"/intensity/": body})

    await api(replay).outturn(start=hh("2025-12-20T00:30Z"), end=hh("2026-01-17T00:30Z"), now=NOW)

    assert [url.path for url in replay.asked] == [
        "/intensity/2025-12-20T00:01Z/2026-01-03T00:00Z",
        "/intensity/2026-01-03T00:01Z/2026-01-17T00:00Z",
    ]


def region(rows: Payload, **fields: Payload) -> Payload:
    return {"regionid": 13, "shortname": "London", "postcode": "SE1", "data": rows, **fields}


REGIONAL_ROWS = [
    {
        **row("2026-01-15T10:00Z", "2026-01-15T10:30Z", forecast=0),
        "generationmix": [{"fuel": "wind", "perc": 100}, {"fuel": "gas", "perc": 0}],
    },
    {
        **row("2026-01-15T10:30Z", "2026-01-15T11:00Z", forecast=0),
        "generationmix": [{"fuel": "wind", "perc": 0}, {"fuel": "gas", "perc": 0}],
    },
    {
        **row("2026-01-15T11:00Z", "2026-01-15T11:30Z", forecast=55),
        "generationmix": [{"fuel": "wind", "perc": 80}, {"fuel": "gas", "perc": 20}],
    },
]


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(region(REGIONAL_ROWS), id="object"),
        pytest.param([region(REGIONAL_ROWS)], id="list"),
    ],
)
async def test_a_regional_answer_is_one_object_or_a_list_of_one(data: Payload) -> None:
    replay = Replay({"/regional/": {"data": data}})

    series = await api(replay).forecast(now=NOW, region="se1 9aa")

    assert replay.asked[0].path == "/regional/intensity/2026-01-15T10:01Z/fw48h/postcode/SE1"
    assert series.region == "se1 9aa"
    assert series.values[2] == 55


async def test_a_region_is_also_known_by_its_number() -> None:
    replay = Replay({"/regional/": {"data": region(REGIONAL_ROWS)}})

    await api(replay).forecast(now=NOW, region="region-13")

    assert replay.asked[0].path.endswith("/fw48h/regionid/13")


async def test_a_zero_without_any_fuel_is_unknown_but_a_zero_of_wind_alone_is_zero() -> None:
    replay = Replay({"/regional/": {"data": region(REGIONAL_ROWS)}})

    series = await api(replay).forecast(now=NOW, region="SE1")

    np.testing.assert_array_equal(series.values, [0, np.nan, 55])


MIX = {
    "from": "2026-01-15T09:30Z",
    "to": "2026-01-15T10:00Z",
    "generationmix": [{"fuel": "gas", "perc": 30.5}, {"fuel": "wind", "perc": 69.5}],
}


@pytest.mark.parametrize("data", [pytest.param(MIX, id="object"), pytest.param([MIX], id="list")])
async def test_the_generation_mix_is_shares_by_fuel(data: Payload) -> None:
    shares = await api(Replay({"/generation/": {"data": data}})).generation_mix(
        start=hh("2026-01-15T09:30Z"), end=hh("2026-01-15T10:00Z"), now=NOW
    )

    assert {series.source: series.values.tolist() for series in shares} == {
        "carbon-intensity/generation/gas": [pytest.approx(0.305)],
        "carbon-intensity/generation/wind": [pytest.approx(0.695)],
    }
    assert {series.start for series in shares} == {hh("2026-01-15T09:30Z")}
    assert {series.kind for series in shares} == {Kind.OUTTURN}


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        pytest.param(
            [row("2026-01-15T10:00Z", "x", forecast="high")],  # type: ignore[arg-type]
            "data.0.intensity.forecast: 'high'",
            id="not a number",
        ),
        pytest.param(
            [row("2026-01-15T10:10Z", "x", forecast=1)],
            r"data.0.from: '2026-01-15T10:10Z'.*half-hour",
            id="off the grid",
        ),
        pytest.param(
            [row("2026-01-15 10:00", "x", forecast=1)], "with its time zone", id="without a zone"
        ),
        pytest.param(
            [row("2026-01-15T10:00Z", "x", forecast=9999)], "9999 is outside", id="implausible"
        ),
        pytest.param([{"from": "2026-01-15T10:00Z"}], "data.0.intensity is missing", id="missing"),
    ],
)
async def test_a_malformed_row_is_refused_by_name(rows: Payload, says: str) -> None:
    with pytest.raises(ContractError, match=says):
        await api(Replay({"/": {"data": rows}})).forecast(now=NOW)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        pytest.param(httpx.Response(200, text=""), "empty", id="invalid long postcode"),
        pytest.param(
            httpx.Response(400, json={"error": {"message": "invalid postcode"}}),
            "invalid postcode",
            id="invalid short postcode",
        ),
        pytest.param({"data": region([])}, "no values", id="no rows"),
    ],
)
async def test_a_bad_region_is_a_failure_of_the_source(answer: Payload, says: str) -> None:
    with pytest.raises(SourceError, match=says):
        await api(Replay({"/": answer})).forecast(now=NOW, region="X")


async def test_a_recorded_local_day_is_read_by_its_own_stamps() -> None:
    path = shared_data("grid", "fixtures", "ci_national_range_2026-08-04.json")
    replay = Replay({"/": json.loads(path.read_text())})

    series = await api(replay).outturn(
        start=hh("2026-08-04T00:00Z"), end=hh("2026-08-04T01:00Z"), now=at("2026-08-05T12:00Z")
    )

    # rows from 23:30 (actual 158) and 00:00 (167), each half an hour later
    np.testing.assert_array_equal(series.values, [158, 167])


async def test_a_recorded_range_drops_its_extra_leading_row() -> None:
    path = shared_data("grid", "fixtures", "ci_national_2017.json")
    replay = Replay({"/": json.loads(path.read_text())})

    series = await api(replay).outturn(
        start=hh("2017-10-01T12:30Z"), end=hh("2017-10-02T12:30Z"), now=at("2017-10-03T00:00Z")
    )

    assert series.start == hh("2017-10-01T12:30Z")
    assert len(series) == 48
    assert series.values[0] == 140


async def test_a_recorded_regional_forecast_is_read_whole() -> None:
    path = shared_data("grid", "fixtures", "ci_regional_postcode_fw_2020-05-19.json")
    replay = Replay({"/": json.loads(path.read_text())})

    series = await api(replay).forecast(now=at("2020-05-19T20:00Z"), region="BH1")

    assert (series.start, len(series)) == (hh("2020-05-19T20:00Z"), 48)
    assert series.values[0] == 307
