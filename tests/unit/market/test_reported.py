"""Central settlement reports in the ledger, and a settlement by their figures."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from gridflex.adapters.market.mailbox import MarketFolder
from gridflex.errors import ContractError
from gridflex.ledger.canonical import digest
from gridflex.market.registry import UnitId
from gridflex.market.settlement.account import SoldVolume, settle
from gridflex.market.settlement.authority import AUTHORITY, Authority, Figures
from gridflex.market.settlement.book import SettlementBook, read_book, write_book
from gridflex.market.settlement.records import (
    differences_of,
    replay,
    settled_differences,
    settlement_event,
)
from gridflex.market.settlement.reported import (
    UnitReport,
    as_reported,
    differences,
    follows,
    report_event,
    reports_of,
    told,
    unconfirmed,
    unit_reports,
)
from gridflex.market.settlement.runs import Run
from gridflex.market.settlement.s0142 import SettlementReport, read_s0142
from gridflex.market.trading.desk import TradingDesk
from gridflex.market.trading.messenger import Messenger
from tests.unit.market.days import CALENDAR
from tests.unit.market.memory import MemoryLedger
from tests.unit.market.test_desk import CHANNELS, EARLY, UNIT
from tests.unit.market.test_s0142 import DAY, LINES, text
from tests.unit.market.test_settlement import EXAMPLE, SIX

OFF = text().replace("-7.200|", "-7.300|").replace("2.800|", "2.700|").replace("210.", "200.")
"""0.1 MWh less was delivered, and the price is 200."""


def said(content: str = OFF) -> UnitReport:
    return by_unit(read_s0142(content))[UNIT]


def by_unit(report: SettlementReport) -> dict[UnitId, UnitReport]:
    return {one.unit: one for one in unit_reports(report, units=[UNIT], file_sha256="ab" * 32)}


def test_a_report_comes_back_from_the_ledger_as_it_was() -> None:
    entry = json.loads(report_event(said()).entry(recorded_at=EARLY))

    assert reports_of([entry]) == {(UNIT, DAY, Run.SF): said()}
    assert len(said().half_hours) == 48
    assert (entry["subject"], entry["sp"]) == (f"unit:{UNIT}", "2026-07-01/1")


def test_reported_prices_and_volumes_count() -> None:
    followed = as_reported(EXAMPLE, said(), frozenset(Figures))

    result = settle(followed)

    # 3 sold at 140; 0.3 too little at 200
    assert result.net_gbp == Decimal(420) - Decimal(60)
    assert (str(result.units[0].metered.mwh), str(result.units[0].deviation.mwh)) == (
        "-7.300",
        "2.700",
    )
    assert str(result.units[0].residual.mwh) == "-0.1000"
    assert result.units[0].notes == ("deviation as reported; 2.8000 MWh was computed",)
    assert follows(followed, said(), frozenset(Figures))
    assert not follows(EXAMPLE, said(), frozenset(Figures))


@pytest.mark.parametrize(
    ("counts", "net_gbp"),
    [
        pytest.param({Figures.PRICES}, Decimal(420) - Decimal("0.2") * 200, id="prices alone"),
        pytest.param({Figures.VOLUMES}, Decimal(420) - Decimal("0.3") * 210, id="volumes alone"),
        pytest.param(set(), Decimal(378), id="nothing"),
    ],
)
def test_only_what_counts_is_taken(counts: set[Figures], net_gbp: Decimal) -> None:
    assert settle(as_reported(EXAMPLE, said(), counts)).net_gbp == net_gbp


@pytest.mark.parametrize(
    ("contract", "was", "counts"),
    [
        pytest.param("3.000", False, True, id="all of it"),
        pytest.param("0.000", True, False, id="none of it"),
        pytest.param("5.000", True, True, id="more than we know: ours stands"),
        pytest.param("5.000", False, False, id="more than we know: ours stands, too"),
    ],
)
def test_contract_volumes_say_what_is_notified(contract: str, was: bool, counts: bool) -> None:
    own = replace(EXAMPLE, sold=(SoldVolume("T1", Decimal(3), Decimal(140), is_notified=was),))
    report = said(text().replace("|3.000|0|", f"|{contract}|0|"))

    (sold,) = as_reported(own, report, {Figures.VOLUMES}).sold

    assert sold.is_notified is counts


def test_only_the_unit_of_the_report_takes_its_figures() -> None:
    (unit,) = EXAMPLE.units
    both = replace(EXAMPLE, units=(unit, replace(unit, unit=UnitId("V__CGRID002"))))
    (said_of,) = [one for one in said().half_hours if one.half_hour == SIX]
    report = replace(said(), half_hours=(replace(said_of, loss_multiplier=Decimal("1.1")),))

    first, second = as_reported(both, report, {Figures.VOLUMES}).units

    assert (first.transmission_multiplier, first.reported is None) == (Decimal("1.1"), False)
    assert second == both.units[1]


def test_a_reported_multiplier_of_zero_is_a_value_and_is_told() -> None:
    nothing_counts = said(text().replace("|0|1|", "|0|0|"))

    followed = as_reported(EXAMPLE, nothing_counts, {Figures.VOLUMES})

    # what was delivered counts for nothing: all that was sold is bought back at 210
    assert settle(followed).net_gbp == Decimal(420) - Decimal(3) * 210
    assert follows(followed, nothing_counts, {Figures.VOLUMES})
    assert told(list(differences(EXAMPLE, nothing_counts, Authority()))) == (
        f"loss multiplier of {UNIT} in {SIX} is 1, reported 0"
    )


def test_a_multiplier_that_moves_less_energy_than_is_tolerated_is_not_told() -> None:
    near = said(text().replace("|0|1|", "|0|1.0003|"))  # of 2.8 MWh

    assert list(differences(EXAMPLE, near, Authority())) == []
    assert len(list(differences(EXAMPLE, near, Authority(tolerance_mwh=Decimal("0.0008"))))) == 1


def test_a_report_without_a_multiplier_leaves_our_own() -> None:
    silent = said(text().replace("|0|1|", "|0||"))
    (unit,) = EXAMPLE.units
    own = replace(EXAMPLE, units=(replace(unit, transmission_multiplier=Decimal("1.01")),))

    (followed,) = as_reported(own, silent, {Figures.VOLUMES}).units

    assert followed.transmission_multiplier == Decimal("1.01")


def test_a_unit_in_the_blocks_of_two_parties_is_refused() -> None:
    again = [LINES[4].replace("GRIDFLEX", "OTHER"), LINES[6], LINES[8]]
    both = read_s0142(text(lines=[*LINES[:-1], *again, LINES[-1]]))

    with pytest.raises(
        ContractError, match=f"{UNIT} has rows of GRIDFLEX and OTHER; valid is one party"
    ):
        by_unit(both)


def test_prices_of_both_sides_are_kept_apart() -> None:
    dual = said(text().replace("|210.00000|210.00000", "|210.00000|215.00000"))
    (at,) = [one for one in dual.half_hours if one.half_hour == SIX]

    assert (at.sell_gbp_per_mwh, at.buy_gbp_per_mwh) == (Decimal(210), Decimal(215))
    assert [str(one) for one in differences(EXAMPLE, dual, Authority())] == [
        f"buy price GBP/MWh in {SIX} is 210.00, reported 215.00000"
    ]


def test_the_account_of_another_party_says_nothing_of_ours() -> None:
    other = replace(said(text().replace("|3.000|0|", "|0.000|0|")), party="OTHER")

    assert as_reported(EXAMPLE, other, {Figures.VOLUMES}).sold == EXAMPLE.sold
    assert not [one for one in differences(EXAMPLE, other, Authority()) if "contract" in one.what]


def test_what_is_off_by_more_than_is_tolerated_is_told() -> None:
    found = list(differences(EXAMPLE, said(), Authority()))

    assert told(found) == (
        f"deviation MWh of {UNIT} in {SIX} is 2.8000, reported 2.700; "
        f"metered MWh of {UNIT} in {SIX} is -7.2000, reported -7.300; "
        f"system price GBP/MWh in {SIX} is 210.00, reported 200.00000"
    )
    assert told([*found, *found]).endswith("; and 3 more")
    wide = Authority(tolerance_mwh=Decimal("0.1"), tolerance_gbp_per_mwh=Decimal(10))
    assert list(differences(EXAMPLE, said(), wide)) == []
    assert list(differences(EXAMPLE, said(text()), Authority())) == []
    followed = as_reported(EXAMPLE, said(), {Figures.VOLUMES})
    assert list(differences(followed, said(), Authority())) == found  # ours stay known
    assert list(differences(replace(EXAMPLE, half_hour=SIX + 1), said(), Authority())) == []


@pytest.mark.parametrize(
    "counts",
    [set(Figures), {Figures.PRICES}, {Figures.VOLUMES}, set()],
    ids=["all", "prices", "volumes", "nothing"],
)
def test_what_was_off_a_report_is_told_after_it_was_followed_too(counts: set[Figures]) -> None:
    found = list(differences(EXAMPLE, said(), Authority()))
    event = settlement_event(as_reported(EXAMPLE, said(), counts), differences=found)
    followed = json.loads(event.entry(recorded_at=EARLY))
    authority = Authority(frozenset(counts))

    assert len(found) == 3
    assert settled_differences([followed], {UNIT: said()}, authority) == found
    corrected = said(OFF.replace("-7.300|", "-7.200|").replace("2.700|", "2.800|"))
    now = {one.what for one in settled_differences([followed], {UNIT: corrected}, AUTHORITY)}
    assert f"deviation MWh of {UNIT}" not in now  # what an earlier report said is not kept


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([*LINES[:8], *LINES[9:]], id="nowhere"),
        pytest.param(
            [*LINES[:6], "SP7|1|", LINES[8], *LINES[6:8], *LINES[9:]], id="not in the half-hour"
        ),
    ],
)
def test_a_unit_that_the_report_does_not_have_is_a_difference(lines: list[str]) -> None:
    reports = by_unit(read_s0142(text(lines=lines)))

    found = unconfirmed(as_reported(EXAMPLE, said(), {Figures.VOLUMES}), reports, AUTHORITY)

    assert [str(one) for one in found] == [
        f"metered MWh of {UNIT} in {SIX} is -7.2000, not reported",
        f"deviation MWh of {UNIT} in {SIX} is 2.8000, not reported",
    ]
    entry = json.loads(settlement_event(EXAMPLE, differences=found).entry(recorded_at=EARLY))
    assert differences_of(entry) == found


def test_a_settlement_by_a_report_runs_again_to_the_same_bytes() -> None:
    found = list(differences(EXAMPLE, said(), Authority()))
    event = settlement_event(as_reported(EXAMPLE, said(), frozenset(Figures)), differences=found)
    entry = json.loads(event.entry(recorded_at=EARLY))

    (again,) = replay([entry])

    assert again.is_same
    assert differences_of(entry) == found
    assert differences_of(json.loads(settlement_event(EXAMPLE).entry(recorded_at=EARLY))) == []


def test_books_from_before_there_were_reports_keep_their_bytes() -> None:
    payload = write_book(SettlementBook((EXAMPLE,)))

    assert b"reported" not in payload
    assert write_book(read_book(payload)) == payload


async def test_reports_in_the_folder_are_recorded_and_bad_ones_set_aside(tmp_path: Path) -> None:
    ledger, folder = MemoryLedger(), MarketFolder(tmp_path)
    desk = TradingDesk([], channels=CHANNELS, keys={}, calendar=CALENDAR)
    trading = Messenger(desk, ledger=ledger, mailbox=folder, units=[UNIT])
    files = {
        "1": OFF.encode(),
        "2": OFF.replace("S0142013", "S0142099").encode(),
        "3": OFF.replace("OPER|", "OPÉR|").encode("latin-1"),
        "4": OFF.replace(UNIT, "V__CGRID009").encode(),
        "5": OFF.replace("20260701", "99991231").encode(),
    }
    for name, payload in files.items():
        (tmp_path / "inbox" / name).write_bytes(payload)

    await trading.collect(now=EARLY)

    (recorded,) = reports_of([one.event for one in await ledger.find()]).values()
    assert recorded == replace(said(), file_sha256=digest(OFF.encode()))
    assert sorted(path.name for path in (tmp_path / "read").iterdir()) == ["1", "4"]
    assert "version S0142099" in trading.refused["2"]
    assert "is not UTF-8 text" in trading.refused["3"]
    assert "SRH" in trading.refused["5"]
