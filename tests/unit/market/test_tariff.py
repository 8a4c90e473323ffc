"""Delivered cost of electricity from a dated tariff file."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from gridflex.adapters.market.tariff_files import TariffFiles
from gridflex.errors import ContractError, SourceError
from gridflex.halfhour import HalfHour, periods_in
from gridflex.market.delivered_cost import DeliveredPrices
from gridflex.market.tariff import (
    FIXED,
    LEVIES,
    Days,
    Window,
    fixed_cost_gbp,
    read_tariff,
    unit_cost,
)
from tests.shared import ROOT

SOURCE = {"document": "test", "url": "https://example.org/t", "sha256": "0" * 64}
VERSION: dict[str, Any] = {
    "effective_from": "2026-04-01",
    "effective_until": "2027-04-01",
    "line_loss_factor": "1.04",
    "transmission_multiplier": "1.01",
    "shape_gbp_per_mwh": "1.50",
    "levies_gbp_per_mwh": dict(
        zip(
            LEVIES, ("15.00", "8.00", "30.00", "7.00", "8.01", "0.40", "3.455", "2.00"), strict=True
        )
    ),
    "duos": [
        {
            "name": "red",
            "gbp_per_mwh": "60.00",
            "windows": [{"days": "weekdays", "start": "16:00", "end": "19:00"}],
        },
        {
            "name": "amber",
            "gbp_per_mwh": "6.00",
            "windows": [{"days": "weekdays", "start": "07:00", "end": "22:00"}],
        },
        {"name": "green", "gbp_per_mwh": "1.00", "windows": [{}]},
    ],
    "capacity_market_gbp_per_mwh": "100.00",
    "capacity_market_windows": [
        {"days": "weekdays", "months": [11, 12, 1, 2], "start": "16:00", "end": "19:00"}
    ],
    "fixed_gbp_per_day": dict.fromkeys(FIXED, "10.00"),
    "sources": dict.fromkeys((*LEVIES, *FIXED, "losses", "duos", "capacity_market"), SOURCE),
}


def tariff_text(change: Callable[[dict[str, Any]], object] | None = None) -> str:
    version = yaml.safe_load(yaml.safe_dump(VERSION))
    if change:
        change(version)
    return yaml.safe_dump({"site": "london", "versions": [version]})


TARIFF = read_tariff(tariff_text()).dated()


def at(text: str) -> HalfHour:
    return HalfHour.containing(datetime.fromisoformat(text).astimezone(UTC))


def test_the_example_is_a_tariff() -> None:
    example = read_tariff((ROOT / "examples" / "tariff.yaml").read_text())

    at_five = unit_cost(
        example.dated(), half_hour=at("2026-11-24T17:00Z"), wholesale_gbp_per_mwh=Decimal(100)
    )

    assert at_five.delivered_gbp_per_mwh == Decimal("340.405")


def test_a_winter_evening_costs_everything() -> None:
    cost = unit_cost(TARIFF, half_hour=at("2026-11-24T17:00Z"), wholesale_gbp_per_mwh=Decimal(100))

    # 100 * (1.04 * 1.01 - 1) = 5.04 losses; levies 73.865; 100 + 5.04 + 1.5 + 60 + 100 + 73.865
    assert cost.components_gbp_per_mwh["losses"] == Decimal("5.04")
    assert cost.delivered_gbp_per_mwh == Decimal("340.405")
    assert (cost.commodity_gbp_per_mwh, cost.duos_band) == (Decimal(100), "red")


@pytest.mark.parametrize(
    ("when", "band", "peak"),
    [
        pytest.param("2026-07-01T15:00Z", "red", "0", id="16:00 in summer is 15:00 UTC"),
        pytest.param("2026-07-01T18:00Z", "amber", "0", id="19:00 in summer"),
        pytest.param("2026-11-24T15:30Z", "amber", "0", id="15:30 in winter"),
        pytest.param("2026-11-24T16:00Z", "red", "100", id="16:00 in winter"),
        pytest.param("2026-11-28T17:00Z", "green", "0", id="Saturday"),
        pytest.param("2026-11-24T22:00Z", "green", "0", id="22:00"),
    ],
)
def test_bands_follow_the_clock_in_london(when: str, band: str, peak: str) -> None:
    cost = unit_cost(TARIFF, half_hour=at(when), wholesale_gbp_per_mwh=Decimal(0))

    assert cost.duos_band == band
    assert cost.components_gbp_per_mwh["capacity_market"] == Decimal(peak)


@pytest.mark.parametrize(
    ("when", "is_inside"),
    [
        pytest.param("2026-11-24T21:30Z", False, id="before"),
        pytest.param("2026-11-24T22:00Z", True, id="in the evening"),
        pytest.param("2026-11-25T06:30Z", True, id="in the morning"),
        pytest.param("2026-11-25T07:00Z", False, id="after"),
        pytest.param("2026-11-28T03:00Z", False, id="Saturday is no weekday"),
    ],
)
def test_a_window_may_go_over_midnight(when: str, is_inside: bool) -> None:
    night = Window(days=Days.WEEKDAYS, start=time(22), end=time(7))

    assert night.holds(at(when)) is is_inside


@pytest.mark.parametrize(
    ("wrong", "valid"),
    [
        pytest.param({"months": [13]}, "13 is not valid; valid is at most 12", id="month 13"),
        pytest.param({"months": [0]}, "0 is not valid; valid is at least 1", id="month 0"),
        pytest.param({"start": "07:00", "end": "07:00"}, "valid is another end", id="empty"),
    ],
)
def test_a_window_that_never_holds_is_refused(wrong: dict[str, Any], valid: str) -> None:
    with pytest.raises(ContractError, match=rf"capacity_market_windows.*{valid}"):
        read_tariff(tariff_text(lambda version: version.update(capacity_market_windows=[wrong])))


@pytest.mark.parametrize("day", [date(2026, 10, 25), date(2027, 3, 28)])
def test_every_half_hour_of_a_clock_change_day_has_a_cost(day: date) -> None:
    half_hours = HalfHour.from_settlement(day, 1).span(periods_in(day))

    costs = [
        unit_cost(TARIFF, half_hour=one, wholesale_gbp_per_mwh=Decimal(50)) for one in half_hours
    ]

    assert {cost.duos_band for cost in costs} == {"green"}


def test_negative_wholesale_prices_stay_negative() -> None:
    cost = unit_cost(TARIFF, half_hour=at("2026-11-24T03:00Z"), wholesale_gbp_per_mwh=Decimal(-200))

    assert cost.components_gbp_per_mwh["losses"] == Decimal("-10.08")
    assert cost.delivered_gbp_per_mwh < 0


def test_fixed_charges_are_per_day() -> None:
    assert fixed_cost_gbp(TARIFF, day=date(2026, 11, 24)) == 40


def test_a_day_without_a_tariff_is_an_error() -> None:
    with pytest.raises(ContractError, match="tariff of london: nothing is in force on 2027-04-01"):
        unit_cost(TARIFF, half_hour=at("2027-04-01T12:00Z"), wholesale_gbp_per_mwh=Decimal(1))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        pytest.param(lambda v: v["levies_gbp_per_mwh"].pop("ro"), r"missing \['ro'\]", id="levy"),
        pytest.param(lambda v: v["fixed_gbp_per_day"].pop("metering"), "metering", id="fixed"),
        pytest.param(lambda v: v["sources"].pop("duos"), "duos", id="source"),
        pytest.param(lambda v: v.pop("line_loss_factor"), "line_loss_factor", id="losses"),
        pytest.param(lambda v: v["sources"]["ro"].update(sha256="x"), "sha256", id="digest"),
        pytest.param(lambda v: v.update(colour="red"), "colour", id="unknown"),
    ],
)
def test_a_missing_component_is_refused_and_never_zero(
    change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    with pytest.raises(ContractError, match=reason):
        read_tariff(tariff_text(change))


def test_a_half_hour_in_no_band_is_an_error() -> None:
    tariff = read_tariff(tariff_text(lambda v: v["duos"].pop())).dated()

    with pytest.raises(ContractError, match="no distribution band"):
        unit_cost(tariff, half_hour=at("2026-11-28T17:00Z"), wholesale_gbp_per_mwh=Decimal(1))


def test_text_that_is_not_yaml_is_refused() -> None:
    with pytest.raises(ContractError, match="not valid YAML"):
        read_tariff("a: [")


def test_prices_of_a_plan_are_those_of_the_tariff() -> None:
    start = at("2026-11-24T16:30Z")
    prices = DeliveredPrices(read_tariff(tariff_text()))

    for _ in range(2):
        made = prices.of(start, np.array([100.0, -20.0, 100.0, 100.0, 100.0, 100.0]))

        # red and capacity until 19:00: 100 x 1.0504 + 75.365 + 60 + 100; then amber at 6
        assert made.gbp_per_mwh == pytest.approx(
            [340.405, 214.357, 340.405, 340.405, 340.405, 186.405]
        )
        assert made.per_wholesale == pytest.approx([1.0504] * 6)


def test_a_tariff_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "london.yaml"
    files = TariffFiles({"london": path})

    def price(site: str = "london") -> float | None:
        found = files.delivered(
            site, start=at("2026-11-24T17:00Z"), wholesale_gbp_per_mwh=np.array([100.0])
        )
        return None if found is None else float(found.gbp_per_mwh[0])

    assert price("york") is None
    with pytest.raises(SourceError, match="cannot be read"):
        price()
    path.write_text(tariff_text())
    assert price() == pytest.approx(340.405)
    path.write_text(tariff_text(lambda one: one.update(capacity_market_gbp_per_mwh="50.00")))
    os.utime(path, ns=(1, 1))
    assert price() == pytest.approx(290.405)
