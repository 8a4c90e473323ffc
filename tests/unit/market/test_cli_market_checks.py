"""``gridflex settle``: reports, DFS and cost on files; the rest against a stand-in server."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gridflex.cli.settlement import settlement_app
from gridflex.errors import ContractError, GridFlexError
from gridflex.market.settlement.authority import Figures
from gridflex.market.settlement.book import SettlementBook, write_book
from gridflex.market.settlement.reported import (
    as_reported,
    unit_reports,
)
from gridflex.market.settlement.s0142 import read_s0142
from tests.unit.market.test_s0142 import text
from tests.unit.market.test_settlement import EXAMPLE, SIX
from tests.unit.market.test_tariff import tariff_text
from tests.unit.stand_in_server import Server, server

__all__ = ["server"]

METER = "1200012345679"


def run(*words: str | Path, code: int = 0) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(settlement_app, [str(word) for word in words])
    if isinstance(result.exception, GridFlexError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "report").write_text(text())
    (tmp_path / "book.json").write_bytes(write_book(SettlementBook((EXAMPLE,))))
    (tmp_path / "tariff.yaml").write_text(tariff_text())
    return tmp_path


def test_a_report_is_read(files: Path) -> None:
    body = json.loads(run("report", files / "report", "--read-only", "--json"))

    assert body["differences"] == []
    (ours, theirs) = body["report"]["units"]
    assert (ours["unit"], ours["deviation_mwh"]) == ("V__CGRID001", "2.800")
    assert theirs["supplier_compensation_gbp"] == "275.884"
    assert body["report"]["compensation_gbp"]["SUPPLIER"] == {"credited": "275.88", "raised": "0"}
    assert body["report"]["prices"][0]["sell_gbp_per_mwh"] == "210.00000"


def test_a_report_of_one_party(files: Path) -> None:
    body = json.loads(
        run("report", files / "report", "--read-only", "--party", "GRIDFLEX", "--json")
    )

    assert {row["party"] for row in body["report"]["units"]} == {"GRIDFLEX"}
    assert list(body["report"]["compensation_gbp"]) == ["GRIDFLEX"]


def test_a_report_that_confirms_our_book(files: Path) -> None:
    shown = run("report", files / "report", "--book", files / "book.json")

    assert "S0142013, 2026-07-01, run SF" in shown
    assert "DIFFERENT" not in shown


def test_a_report_that_differs_from_our_book_is_named(files: Path) -> None:
    (files / "report").write_text(text().replace("2.800|", "2.700|"))

    shown = run("report", files / "report", "--book", files / "book.json", code=1)

    assert "deviation MWh of V__CGRID001: ours 2.8000, reported 2.700" in shown
    assert shown.index("DIFFERENT") < shown.index("units on")


def test_a_report_fits_a_narrow_terminal(files: Path) -> None:
    asked = ["report", str(files / "report"), "--read-only"]

    shown = CliRunner(env={"COLUMNS": "80"}).invoke(settlement_app, asked).output.splitlines()

    assert shown[1] == "units on 2026-07-01, half-hours by their start in UTC"
    assert shown[2].split()[-4:] == ["metered", "expected", "deviation", "compensation"]
    assert shown[3].split()[-4:] == ["MWh"] * 4
    assert shown[5].startswith("17:00")
    assert max(len(line.rstrip()) for line in shown) <= 80


def test_a_book_that_follows_a_report_still_differs_from_it(files: Path) -> None:
    off = text().replace("2.800|", "2.700|")
    (said,) = unit_reports(read_s0142(off), units=[EXAMPLE.units[0].unit], file_sha256="ab" * 32)
    followed = as_reported(EXAMPLE, said, set(Figures))
    (files / "report").write_text(off)
    (files / "book.json").write_bytes(write_book(SettlementBook((followed,))))

    body = json.loads(
        run("report", files / "report", "--book", files / "book.json", "--json", code=1)
    )

    assert body["differences"] == [
        {
            "start": str(SIX),
            "what": "deviation MWh of V__CGRID001",
            "ours": "2.8000",
            "reported": "2.700",
        }
    ]


@pytest.mark.parametrize(
    ("indexes", "said"),
    [([7], "entry 7"), ([17, 18, 19, 20], "entries 17 to 20"), ([2, 5, 6], "entries 2, 5, 6")],
)
def test_what_was_registered_is_named_by_its_entries(
    server: Server, files: Path, indexes: list[int], said: str
) -> None:
    server.answer = {"indexes": indexes}
    (files / "records.json").write_text("{}")

    told = run("register", files / "records.json", "--url", server.url)

    assert told.strip() == f"recorded as {said}"


def test_a_report_is_recorded_by_a_running_system(server: Server, files: Path) -> None:
    differs = {"start": "2026-07-01T06:00Z", "what": "deviation MWh of V__CGRID001"}
    server.answer = {"differences": [], "recorded": [7]}
    same = run("report", files / "report", "--url", server.url)
    server.answer["differences"] = [differs | {"ours": "2.8", "reported": None}]

    other = run("report", files / "report", "--url", server.url, code=1)

    assert "recorded as entry 7\n" in same
    assert "deviation MWh of V__CGRID001: ours 2.8, reported nothing" in other
    method, path, body, kind = server.asked[0]
    assert (method, path, kind) == ("POST", "/v1/settlement/reports", "text/plain")
    assert body.decode() == text()


def test_dfs_pays_what_the_official_example_says() -> None:
    given = ("dfs", "--contracted-mw", "30", "--price", "300", "--delivered-mwh")

    assert "4,500.00 GBP" in run(*given, "15")
    assert json.loads(run(*given, "6", "--json"))["factor"] == "0.3"
    with pytest.raises(ContractError, match="delivered-mwh 'much' is not valid; valid is a number"):
        run(*given, "much")


def test_a_mwh_costs_more_at_the_meter_than_wholesale(files: Path) -> None:
    given = ("cost", "--tariff", files / "tariff.yaml", "--at", "2026-07-01T16:00Z")

    (one,) = json.loads(run(*given, "--wholesale", "100", "--json"))

    parts = {name: Decimal(gbp) for name, gbp in one["components_gbp_per_mwh"].items()}
    assert one["duos_band"] == "red"
    assert Decimal(one["commodity_gbp_per_mwh"]) == 100
    assert parts["losses"] == Decimal("5.04")  # 1.04 x 1.01 - 1
    assert Decimal(one["delivered_gbp_per_mwh"]) == sum(parts.values()) == Decimal("240.405")


def test_prices_come_as_a_file(files: Path) -> None:
    (files / "p.csv").write_text("start_utc,gbp_per_mwh\n2026-07-01T23:00Z,40\n2026-07-01T16:00Z,1")

    found = json.loads(
        run("cost", "--tariff", files / "tariff.yaml", "--prices", files / "p.csv", "--json")
    )

    assert [one["duos_band"] for one in found] == ["red", "green"]


def test_a_cost_needs_prices(files: Path) -> None:
    with pytest.raises(ContractError, match="give --prices, or --at with --wholesale"):
        run("cost", "--tariff", files / "tariff.yaml")
    with pytest.raises(
        ContractError, match=r"^--at and --wholesale beside --prices p.csv is not valid; valid is"
    ):
        run(
            *("cost", "--tariff", files / "tariff.yaml", "--prices", "p.csv"),
            *("--at", "2026-07-01T16:00Z", "--wholesale", "100"),
        )


def test_readings_are_imported_as_they_stand(server: Server, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("meter,start_utc,import_kwh\n")
    server.answer = {"indexes": [4, 5], "new": 0, "known": 2, "unallocated": []}

    shown = run("readings", tmp_path / "r.csv", "--url", server.url)

    assert shown == "2 readings: 0 new, 2 known\n"
    assert server.asked == [
        ("POST", "/v1/settlement/readings.csv", b"meter,start_utc,import_kwh\n", "text/csv")
    ]


def test_a_meter_that_nobody_registered_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("meter,start_utc,import_kwh\n")
    server.answer = {"indexes": [4], "new": 1, "known": 0, "unallocated": [METER]}

    shown = run("readings", tmp_path / "r.csv", "--url", server.url)
    told = json.loads(run("readings", tmp_path / "r.csv", "--url", server.url, "--json"))

    assert f"warning: no allocation in the registry for {METER}: recorded" in shown
    assert told == server.answer


def test_a_meter_s_gaps_are_shown(server: Server) -> None:
    row = {"half_hour": "2026-07-01T17:00Z", "versions": 0}
    server.answer = [row | dict.fromkeys(("net_import_mwh", "evidence", "is_substituted"))]

    assert "gap" in run("meter", METER, "--day", "2026-07-01", "--url", server.url)
    assert server.asked[0][1] == f"/v1/settlement/readings/{METER}?day=2026-07-01"


def test_records_of_the_registry_are_sent(server: Server, tmp_path: Path) -> None:
    (tmp_path / "records.json").write_text('{"records": []}')
    server.answer = {"indexes": [0]}

    run("register", tmp_path / "records.json", "--url", server.url)
    told = run("register", tmp_path / "records.json", "--url", server.url, "--json")

    assert json.loads(told) == server.answer
    assert server.asked[0][:3] == ("POST", "/v1/settlement/registry", b'{"records":[]}')


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ([], 0),
        (
            [
                {
                    "start": "x",
                    "buyer": "B",
                    "traded_mwh": "3",
                    "accepted_mwh": "0",
                    "why": "rejected",
                }
            ],
            1,
        ),
    ],
)
def test_what_does_not_reconcile_is_an_error(server: Server, answer: list[Any], code: int) -> None:
    server.answer = answer

    shown = run(
        *("reconcile", "--first", "2026-07-01", "--last", "2026-07-02", "--url", server.url),
        code=code,
    )

    assert ("rejected" in shown) == bool(code)


def test_energy_is_promised_to_a_product(server: Server) -> None:
    server.answer = {"mwh": "0.8", "product": "dfs", "contract": "DFS-7", "index": 4}

    shown = run(
        *("reserve", METER, "--at", "2026-07-01T17:00Z", "--product", "dfs", "--mwh", "0.8"),
        *("--flexible-mwh", "1", "--contract", "DFS-7", "--url", server.url),
    )

    assert "0.8 MWh held for dfs by DFS-7, entry 4" in shown
    assert json.loads(server.asked[0][2])["direction"] == "down"


def test_a_sale_is_decided_without_a_server() -> None:
    given = ("sale", "--delivery", "0.5,1.0", "--system-prices", "100", "--price", "140")

    assert "sell 0.600 MWh" in run(*given, "--fraction", "0.8")
    made = json.loads(run(*given, "--fraction", "0.8", "--json"))
    assert Decimal(made["expected_net_gbp"]) == 99


def test_shares_are_shown_three_ways(server: Server) -> None:
    server.answer = {
        "total_gbp": "378.00",
        **{f"by_{kind}_gbp": {kind: "378.00"} for kind in ("contract", "team", "job")},
    }
    asked = ("shares", "--account", "A", "--first", "2026-07-01", "--last", "2026-07-02")

    assert "net 378.00 GBP" in run(*asked, "--url", server.url)
    server.answer = {f"by_{kind}_gbp": {} for kind in ("contract", "team", "job")} | {
        "total_gbp": "0"
    }
    assert run(*asked, "--url", server.url).splitlines()[1:] == [
        "no half-hour of A in these days has a run that pays yet"
    ]


REBOUND = {
    "delivered_mwh": "1.0",
    "rebound_mwh": "0.9",
    "saved_mwh": "0.1",
    "half_hours": 48,
    "window_half_hours": 48,
    "without_reading": 0,
    "without_commitment": 0,
    "is_covered": True,
}


def test_the_rebound_is_shown_beside_the_delivery(server: Server) -> None:
    asked = ("baseline", "rebound", "V__CGRID001", "--first", "2026-07-01", "--last", "2026-07-01")
    server.answer = REBOUND
    whole = run(*asked, "--url", server.url)
    server.answer = REBOUND | {"half_hours": 1, "without_reading": 45, "is_covered": False}
    holed = run(*asked, "--url", server.url)

    assert whole == "delivered 1.0 MWh, came back 0.9, saved 0.1, over 48 of 48 half-hours\n"
    assert "came back 0.9, difference 0.1, over 1 of 48 half-hours\nNOT COVERED: 45 half-hours" in (
        holed
    )
    assert "so nothing counts as saved yet" in holed
