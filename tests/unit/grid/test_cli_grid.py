"""``gridflex grid forecast`` and ``now``: whose intensity it is that they show."""

from typing import Any

import pytest
from typer.testing import CliRunner

from gridflex.cli.grid import grid_app
from gridflex.client import Client


def half_hour(region: str) -> dict[str, Any]:
    known = {"source": "x/y", "rung": "fresh", "age_s": 60.0, "origin": "live", "quantiles": None}
    return {
        "start": "2026-01-15T12:00:00Z",
        "intensity": known | {"gco2_per_kwh": 100.0, "region": region},
        "price": known | {"gbp_per_mwh": 50.0, "region": "GB"},
    }


def shown(monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any], command: str) -> str:
    monkeypatch.setattr(Client, "get", lambda *_, **__: answer)
    result = CliRunner(env={"COLUMNS": "200"}).invoke(grid_app, [command])
    assert result.exit_code == 0, result.output
    return result.output


def answer(region: str, *of: str, polled: tuple[str, ...] = ("RG10",)) -> dict[str, Any]:
    return {
        "now": "2026-01-15T12:00:00Z",
        "region": region,
        "regions": list(polled),
        "national_half_hours": of.count("GB") if region != "GB" else 0,
        "origin": "live",
        "half_hours": [half_hour(one) for one in of],
        "half_hour": half_hour(of[0]),
        "generation_mix": None,
        "feeds": [],
    }


@pytest.mark.parametrize("command", ["forecast", "now"])
def test_national_values_do_not_pass_for_those_of_a_region(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    said = shown(monkeypatch, answer("BN1", "GB"), command)

    assert "intensity is national (GB), as none of BN1 is known; asked for are RG10" in said
    assert "x/y GB, fresh" in said
    nobody = shown(monkeypatch, answer("BN1", "GB", polled=()), command)
    assert "no site has a postcode" in nobody


@pytest.mark.parametrize("command", ["forecast", "now"])
def test_an_older_server_says_nothing_of_what_is_national(
    monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    old = answer("BN1", "GB")
    del old["regions"], old["national_half_hours"]

    said = shown(monkeypatch, old, command)

    assert "BN1 at 2026-01-15 12:00Z" in said
    assert "national" not in said
    del (new := answer("BN1", "GB"))["regions"]
    assert "none of BN1 is known" in shown(monkeypatch, new, command)


def test_how_far_a_region_is_known_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    said = shown(monkeypatch, answer("RG10", "RG10", "GB"), "forecast")

    assert "intensity of 1 of 2 half-hours is national" in said
    assert "x/y RG10, fresh" in said
    assert "national" not in shown(monkeypatch, answer("RG10", "RG10"), "forecast")
    assert "x/y, fresh" in shown(monkeypatch, answer("GB", "GB"), "forecast")
