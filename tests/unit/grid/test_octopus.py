"""Agile rates and the wholesale price behind them."""

import json
from datetime import date
from typing import Final

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.adapters.grid.octopus import TARIFFS, Octopus, Tariff
from gridflex.errors import ContractError, SourceError
from gridflex.halfhour import HalfHour
from gridflex.signals import Kind, Signal
from tests.shared import shared_data
from tests.unit.grid.replay import Payload, Replay, at, fetcher, hh

NOW = at("2025-01-15T17:00Z")
LONDON: Final = TARIFFS["C"]  # .20 p/kWh per GBP/MWh, 12 p/kWh at peak


def product(code: str, **fields: Payload) -> Payload:
    return {"code": code, "is_business": False, "available_to": None, "brand": "new", **fields}


def rate(start: HalfHour, pence: float) -> Payload:
    return {
        "value_exc_vat": pence,
        "value_inc_vat": pence * 1.05,
        "valid_from": f"{start}".replace("Z", ":00Z"),
        "valid_to": f"{start + 1}".replace("Z", ":00Z"),
        "payment_method": None,
    }


def page(results: list[Payload], next_: str | None = None) -> Payload:
    return {"count": len(results), "next": next_, "previous": None, "results": results}


PRODUCTS = page([product("VAR-22-11-01"), product("AGILE-24-10-01")])


def octopus(rates: Payload) -> tuple[Octopus, Replay]:
    replay = Replay({"/products/AGILE-24-10-01": rates, "/products/": PRODUCTS})
    return Octopus(fetcher(replay), region="C"), replay


async def test_the_newest_agile_import_product_is_discovered() -> None:
    listed = [
        product("AGILE-18-02-21", available_to="2022-07-22T00:00:00Z"),
        product("AGILE-FLEX-22-11-25"),
        product("AGILE-23-12-06"),
        product("AGILE-OUTGOING-25-05-13"),
        product("AGILE-BUS-25-01-01", is_business=True),
        product("AGILE-25-09-01", available_to="2025-01-01T00:00:00Z"),
        product("AGILE-24-10-01"),
        product("GO-26-01-01"),
    ]
    api = Octopus(fetcher(Replay({"/products/": page(listed)})), region="C")

    assert await api.product(now=NOW) == "AGILE-24-10-01"


async def test_products_and_rates_are_followed_from_page_to_page() -> None:
    start = hh("2025-01-15T10:00Z")
    pages: dict[str, Payload] = {
        "": page([product("VAR-22-11-01")], "http://provider.test/products/?page=2"),
        "page=2": page([product("AGILE-24-10-01")]),
        "page_size=1500": page(
            [rate(start + 1, 30.0)], "http://provider.test/products/AGILE?page=9"
        ),
        "page=9": page([rate(start, 10.0)]),
    }

    def serve(request: httpx.Request) -> httpx.Response:
        query = request.url.query.decode()
        key = next((k for k in ("page=2", "page=9", "page_size=1500") if k in query), "")
        return httpx.Response(200, json=pages[key])

    series = await Octopus(fetcher(serve), region="C").day_ahead_price(
        start=start, end=start + 2, now=NOW
    )

    np.testing.assert_allclose(series.values, [50.0, 150.0])


async def test_the_price_is_the_rate_divided_by_the_factor_less_the_peak_adder() -> None:
    start = hh("2025-01-15T15:30Z")
    rates = page([rate(start + 2, 32.0), rate(start + 1, 42.0), rate(start, 20.0)])
    api, replay = octopus(rates)

    series = await api.day_ahead_price(start=start, end=start + 3, now=NOW)

    np.testing.assert_allclose(series.values, [100.0, 150.0, 100.0])
    assert (series.signal, series.kind, series.source) == (
        Signal.PRICE,
        Kind.FORECAST,
        "octopus/agile-derived",
    )
    asked = replay.asked[1]
    assert asked.path.endswith("/E-1R-AGILE-24-10-01-C/standard-unit-rates/")
    assert asked.params["period_from"] == "2025-01-15T15:30:00Z"


def test_the_peak_is_from_four_to_seven_by_the_clock_in_london() -> None:
    summer = hh("2025-07-01T15:00Z")

    assert LONDON.price_gbp_per_mwh(summer, rate_pence_per_kwh=32.0) == pytest.approx(100.0)
    assert LONDON.price_gbp_per_mwh(summer - 1, rate_pence_per_kwh=32.0) == pytest.approx(160.0)
    assert LONDON.price_gbp_per_mwh(summer + 5, rate_pence_per_kwh=32.0) == pytest.approx(100.0)
    assert LONDON.price_gbp_per_mwh(summer + 6, rate_pence_per_kwh=32.0) == pytest.approx(160.0)


@pytest.mark.parametrize(("hour", "rate"), [("11:00", 20.0), ("16:00", 32.0)])
def test_every_rate_is_lower_by_a_levy_from_april_2026(hour: str, rate: float) -> None:
    before, after = hh(f"2026-03-31T{hour}Z"), hh(f"2026-04-01T{hour}Z")
    lower = rate - 3.5 / 1.05

    assert LONDON.price_gbp_per_mwh(before, rate_pence_per_kwh=rate) == pytest.approx(100.0)
    assert LONDON.price_gbp_per_mwh(after, rate_pence_per_kwh=lower) == pytest.approx(100.0)


def test_the_levy_goes_with_the_first_half_hour_of_april_in_london() -> None:
    first = hh("2026-03-31T23:00Z")

    rates = [LONDON.rate_pence_per_kwh(h, price_gbp_per_mwh=100.0) for h in (first - 1, first)]

    assert rates == pytest.approx([20.0, 20.0 - 3.5 / 1.05])


async def test_a_change_of_vat_is_no_change_of_price() -> None:
    start = hh("2026-01-15T10:00Z")
    untaxed = {**rate(start, 20.0), "value_inc_vat": 20.0}
    api, _ = octopus(page([rate(start + 1, 20.0), untaxed]))

    series = await api.day_ahead_price(start=start, end=start + 2, now=NOW)

    np.testing.assert_allclose(series.values, [100.0, 100.0])


def test_a_negative_rate_is_a_negative_price() -> None:
    assert LONDON.price_gbp_per_mwh(
        hh("2025-07-01T03:00Z"), rate_pence_per_kwh=-4.0
    ) == pytest.approx(-20.0)


def test_nothing_is_known_of_the_price_behind_a_capped_rate() -> None:
    assert np.isnan(LONDON.price_gbp_per_mwh(hh("2025-01-15T17:00Z"), rate_pence_per_kwh=95.0))


@given(
    st.sampled_from(sorted(TARIFFS.values(), key=lambda tariff: tariff.factor)),
    st.integers(0, 48 * 900),
    st.floats(-200, 350),
)
def test_recovering_a_price_undoes_the_tariff(tariff: Tariff, offset: int, price: float) -> None:
    half_hour = hh("2024-10-01T00:00Z") + offset

    rate = tariff.rate_pence_per_kwh(half_hour, price_gbp_per_mwh=price)

    assert tariff.price_gbp_per_mwh(half_hour, rate_pence_per_kwh=rate) == pytest.approx(price)


@pytest.mark.parametrize(
    ("day", "count"),
    [
        pytest.param(date(2025, 3, 30), 46, id="clocks go forward"),
        pytest.param(date(2025, 10, 26), 50, id="clocks go back"),
    ],
)
async def test_a_day_of_a_clock_change_has_all_its_rates(day: date, count: int) -> None:
    first = HalfHour.from_settlement(day, 1)
    rates = page([rate(h, 20.0) for h in first.span(count)][::-1])
    api, _ = octopus(rates)

    series = await api.day_ahead_price(start=first, end=first + count, now=NOW)

    assert len(series) == count


async def test_a_flat_rate_without_an_end_is_not_a_half_hour() -> None:
    start = hh("2025-01-15T10:00Z")
    flat = {**rate(start, 25.0), "valid_to": None}
    api, _ = octopus(page([flat]))

    with pytest.raises(SourceError, match="no values"):
        await api.day_ahead_price(start=start, end=start + 2, now=NOW)


async def test_a_late_day_is_shorter_not_wrong() -> None:
    start = hh("2025-01-15T22:00Z")
    api, _ = octopus(page([rate(start + 1, 24.0), rate(start, 22.0)]))

    series = await api.day_ahead_price(start=start, end=start + 96, now=NOW)

    assert len(series) == 2


async def test_no_agile_product_is_a_failure_of_the_source() -> None:
    api = Octopus(fetcher(Replay({"/": page([product("VAR-22-11-01")])})), region="C")

    with pytest.raises(SourceError, match="no Agile import product"):
        await api.product(now=NOW)


async def test_a_malformed_rate_is_refused_by_name() -> None:
    broken = {**rate(hh("2025-01-15T10:00Z"), 25.0), "value_exc_vat": None}
    api, _ = octopus(page([broken]))

    with pytest.raises(ContractError, match=r"results.0.value_exc_vat: null"):
        await api.day_ahead_price(
            start=hh("2025-01-15T10:00Z"), end=hh("2025-01-15T11:00Z"), now=NOW
        )


def test_a_region_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ContractError, match="agile region is 'I'"):
        Octopus(fetcher(Replay({})), region="I")


async def test_recorded_rates_give_wholesale_prices_near_the_market_index() -> None:
    rates = json.loads(
        shared_data("grid", "fixtures", "octopus_agile_rates_2026-08.json").read_text()
    )
    index = json.loads(
        shared_data("grid", "fixtures", "elexon_market_index_2026-08.json").read_text()
    )
    api, _ = octopus(rates)

    series = await api.day_ahead_price(
        start=hh("2026-08-02T16:00Z"), end=hh("2026-08-05T16:30Z"), now=at("2026-08-05T17:00Z")
    )

    traded = {
        hh(row["startTime"]): row["price"]
        for row in index["data"]
        if row["dataProvider"] == "APXMIDP"
    }
    errors = [
        price - traded[h]
        for h, price in zip(series.start.span(len(series)), series.values, strict=True)
        if h in traded
    ]
    assert len(series) == 145
    assert len(errors) == 113
    assert np.abs(errors).mean() < 8
    assert abs(np.mean(errors)) < 5
