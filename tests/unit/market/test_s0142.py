"""Reading the central settlement report."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.settlement.runs import Run
from gridflex.market.settlement.s0142 import compensation_by_party, read_s0142
from tests.unit.market.test_settlement import SIX

DAY = date(2026, 7, 1)
PERIOD = SIX.settlement[1]


def record(tag: str, size: int, **values: str) -> str:
    fields = [tag, *[""] * (size - 1)]
    for position, value in values.items():
        fields[int(position[1:])] = value
    return "|".join([*fields, ""])


def unit(name: str, **values: str) -> str:
    return record("BP7", 26, _1=name, **values)


LINES = [
    "AAA|S0142013|D|20260722223519|SA|UKDC|PB|PORTAL|41694|OPER|",
    "SRH|20260701|SF|2|2|20260701|2|166710|NGC|",
    record("SPI", 54, _1=str(PERIOD), _2="210.00000", _3="210.00000", _53="55.5"),
    "TRA|unread|1|",
    "BPH|20260701|SF|2|2|20260701|2|166710|GRIDFLEX|",
    record("APC", 13, _11="120.50"),
    f"SP7|{PERIOD}|",
    record("APD", 10, _6="3.000", _7="0", _8="-0.200", _9="2.800"),
    unit("V__CGRID001", _8="-7.200", _11="0", _12="1", _18="-10.000", _19="2.800", _23="2.8"),
    "BPH|20260701|SF|2|2|20260701|2|166710|SUPPLIER|",
    record("APC", 13, _12="275.88"),
    f"SP7|{PERIOD}|",
    unit("2__CGRID001", _16="2.800", _22="2.800", _25="275.884"),
    "ZZZ|13|1684565874|",
]


def text(*, end: str = "\n", lines: list[str] | None = None) -> str:
    return end.join(LINES if lines is None else lines) + end


@pytest.mark.parametrize(
    "given",
    [
        pytest.param(text(), id="line feeds"),
        pytest.param(text(end="\r\n"), id="carriage returns"),
        pytest.param("\ufeff" + text(), id="byte-order mark"),
    ],
)
def test_the_report_is_read_block_by_block(given: str) -> None:
    report = read_s0142(given)

    assert (report.day, report.run, report.version) == (DAY, Run.SF, "S0142013")
    assert report.prices[SIX].sell_gbp_per_mwh == Decimal(210)
    assert report.sourcing_cost[SIX] == Decimal("55.5")
    (ours,) = report.of("GRIDFLEX")
    assert (ours.unit, ours.half_hour) == ("V__CGRID001", SIX)
    assert (ours.metered_mwh, ours.expected_mwh, ours.deviation_mwh) == (
        Decimal("-7.200"),
        Decimal(-10),
        Decimal("2.8"),
    )
    (account,) = report.accounts
    assert (account.contract_mwh, account.imbalance_mwh) == (Decimal(3), Decimal("-0.2"))
    assert report.passed_over == {"TRA": 1}


def test_the_party_is_the_block_not_the_letters_of_the_unit() -> None:
    report = read_s0142(text())

    assert [row.party for row in report.units] == ["GRIDFLEX", "SUPPLIER"]
    assert report.of("SUPPLIER")[0].supplier_compensation_gbp == Decimal("275.884")


def test_compensation_raised_and_paid_need_not_be_equal() -> None:
    assert list(compensation_by_party(read_s0142(text()))) == [
        ("GRIDFLEX", Decimal(0), Decimal("120.50")),
        ("SUPPLIER", Decimal("275.88"), Decimal(0)),
    ]


def test_an_empty_cell_is_missing_not_zero() -> None:
    assert read_s0142(text()).units[1].metered_mwh is None


def test_period_fifty_of_the_long_day_is_read() -> None:
    lines = [
        LINES[0],
        "SRH|20261025|R1|2|2|20261025|2|1|NGC|",
        record("SPI", 54, _1="50", _2="-5", _3="-5"),
        LINES[-1],
    ]

    report = read_s0142(text(lines=lines))

    assert list(report.prices) == [HalfHour.from_settlement(date(2026, 10, 25), 50)]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        pytest.param(LINES[:-1], "cut off", id="no footer"),
        pytest.param(LINES[1:], "no header", id="no header"),
        pytest.param(["AAA|S0142012|D|"], "version S0142012", id="version"),
        pytest.param([LINES[0], *LINES[2:]], "before the report's header", id="no run"),
        pytest.param([*LINES[:4], *LINES[5:]], "before any party", id="no party"),
        pytest.param([*LINES[:6], *LINES[7:]], "before any half-hour", id="no half-hour"),
        pytest.param(
            [*LINES[:11], *LINES[12:]], "before any half-hour", id="no half-hour of the next party"
        ),
        pytest.param([*LINES[:5], "APC|1|2|", *LINES[6:]], "APC has 3 fields, 13", id="short"),
        pytest.param(
            [line.replace("-7.200", "abc") for line in LINES], "line 9: BP7", id="not a number"
        ),
        pytest.param(
            [line.replace(f"SP7|{PERIOD}|", "SP7|49|") for line in LINES],
            "48 settlement periods, not 49",
            id="period",
        ),
        pytest.param([], "cut off", id="empty"),
    ],
)
def test_a_damaged_report_is_refused(lines: list[str], reason: str) -> None:
    with pytest.raises(ContractError, match=reason):
        read_s0142(text(lines=lines))


@pytest.mark.parametrize("price", ["NaN", "sNaN", "Infinity", "-Infinity", "1E+999999", ""])
def test_a_system_price_that_is_no_number_is_refused(price: str) -> None:
    content = text().replace("|210.00000|210.00000", f"|{price}|{price}")

    assert content != text()
    with pytest.raises(ContractError, match=r"SPI: field 2 "):
        read_s0142(content)


def test_a_volume_that_nobody_can_have_is_refused() -> None:
    with pytest.raises(ContractError, match=r"BP7: field 8 '9E\+999999' is not a number"):
        read_s0142(text().replace("-7.200|", "9E+999999|"))


@pytest.mark.parametrize("day", ["99991231", "00010101"])
def test_a_day_without_half_hours_is_refused(day: str) -> None:
    with pytest.raises(ContractError, match="SRH"):
        read_s0142(text().replace("20260701", day))


@pytest.mark.parametrize(
    ("tag", "was", "other", "why"),
    [
        pytest.param("SPI", "|210.00000|2", "|200.00000|2", "another price already", id="price"),
        pytest.param("BP7", "-7.200|", "-7.300|", "other figures in .* already", id="volume"),
    ],
)
def test_a_half_hour_twice_with_other_figures_is_refused(
    tag: str, was: str, other: str, why: str
) -> None:
    content = text()
    line = next(one for one in content.splitlines() if one.startswith(tag) and was in one)

    same = read_s0142(content.replace(line, f"{line}\n{line}"))
    with pytest.raises(ContractError, match=f"{tag}: .*{why}"):
        read_s0142(content.replace(line, f"{line}\n{line.replace(was, other)}"))

    assert same == read_s0142(content)
