"""A settlement that is run again gives the same bytes; a changed input shows."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.settlement.account import AccountPeriod
from gridflex.market.settlement.attribution import Contribution
from gridflex.market.settlement.book import (
    SettlementBook,
    read_book,
    refuse_endless,
    settle_book,
    write_book,
    write_statement,
)
from gridflex.market.settlement.compensation import BilateralP510, MutualisedP415, MutualisedP511
from gridflex.market.settlement.runs import Run
from gridflex.market.volumes import ExportMWh
from tests.unit.market.test_settlement import EXAMPLE, SIX, periods

DAY = date(2026, 7, 1)


def book(*changed: AccountPeriod) -> SettlementBook:
    return SettlementBook(
        periods=changed or (EXAMPLE,),
        contributions=(Contribution(SIX, "job-1", "vision", None, Decimal("2.8")),),
    )


def test_the_example_settles_to_these_bytes() -> None:
    statement = json.loads(write_statement(settle_book(book())))

    assert statement["results"][0]["net_gbp"] == "378.000000"
    assert statement["days"][0]["half_hours"] == 1
    assert statement["days"][0]["run"] == "SF"


@settings(max_examples=40)
@given(st.lists(periods(), min_size=1, max_size=4))
def test_a_book_that_is_written_read_and_settled_again_gives_the_same_bytes(
    some: list[AccountPeriod],
) -> None:
    distinct = [replace(one, half_hour=SIX + n) for n, one in enumerate(some)]
    original = book(*distinct)
    first = write_statement(settle_book(original))

    again = read_book(write_book(original))

    assert again == original
    assert write_statement(settle_book(again)) == first


def test_the_order_of_inputs_does_not_change_the_results() -> None:
    other = replace(EXAMPLE, half_hour=SIX + 1)

    forward, backward = settle_book(book(EXAMPLE, other)), settle_book(book(other, EXAMPLE))

    assert forward.results == backward.results
    assert forward.days == backward.days


@pytest.mark.parametrize(
    "policy", [MutualisedP415(), MutualisedP511(ExportMWh(Decimal(1))), BilateralP510(Decimal(90))]
)
def test_the_rule_of_compensation_is_part_of_the_inputs(
    policy: MutualisedP415 | MutualisedP511 | BilateralP510,
) -> None:
    original = book(replace(EXAMPLE, policy=policy))

    assert read_book(write_book(original)).periods[0].policy == policy


def test_days_are_settlement_days_also_when_the_clocks_change() -> None:
    long_day = HalfHour.from_settlement(date(2026, 10, 25), 1)
    some = [replace(EXAMPLE, half_hour=long_day + n) for n in range(51)]

    totals = settle_book(book(*some)).days

    assert [(one.day, one.half_hours) for one in totals] == [
        (date(2026, 10, 25), 50),
        (date(2026, 10, 26), 1),
    ]
    assert totals[0].net_gbp == 50 * Decimal("378.00")


def test_runs_are_kept_apart() -> None:
    revised = replace(EXAMPLE, run=Run.R1, fees_gbp=Decimal(8))

    statement = settle_book(book(revised, EXAMPLE))

    assert [(one.run, one.net_gbp) for one in statement.days] == [
        (Run.SF, Decimal("378.00")),
        (Run.R1, Decimal("370.00")),
    ]
    assert [one.net_gbp for one in statement.days if one.run is Run.R1] == [Decimal("370.00")]


def test_the_same_half_hour_and_run_is_given_once() -> None:
    with pytest.raises(ContractError, match="given twice"):
        book(EXAMPLE, EXAMPLE)


def tampered(path: list[Any], value: object) -> bytes:
    body = json.loads(write_book(book()))
    where = body
    for step in path[:-1]:
        where = where[step]
    where[path[-1]] = value
    return json.dumps(body).encode()


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        pytest.param(
            ["periods", 0, "colour"], "red", r"unknown book\.periods\[0\]\.colour", id="key"
        ),
        pytest.param(["periods", 0, "fees_gbp"], 1.5, "must be a string", id="float"),
        pytest.param(["periods", 0, "fees_gbp"], "NaN", "fees_gbp", id="not a number"),
        pytest.param(["periods", 0, "run"], "R9", "run", id="unknown run"),
        pytest.param(["version"], 2, "version 2", id="version"),
        pytest.param(
            ["periods", 0, "half_hour", "start"], "2026-07-01T17:10:00Z", ":00 or :30", id="time"
        ),
        pytest.param(["periods", 0, "policy", "name"], "Other", "policy", id="rule"),
    ],
)
def test_a_book_that_is_not_valid_is_refused(path: list[Any], value: object, reason: str) -> None:
    with pytest.raises(ContractError, match=reason):
        read_book(tampered(path, value))


@pytest.mark.parametrize("endless", ["1e999999", "1e-2000000000", "-10000001"])
def test_a_new_book_with_amounts_that_do_not_add_up_is_refused(endless: str) -> None:
    refuse_endless(book())
    sent = read_book(tampered(["periods", 0, "units", 0, "pairs", 0, "metered", "mwh"], endless))

    with pytest.raises(ContractError, match=r"book\.periods\[0\]\.units\[0\].*mwh .* is not valid"):
        refuse_endless(sent)


def test_a_changed_input_changes_the_digest() -> None:
    changed = read_book(tampered(["periods", 0, "fees_gbp"], "0.01"))

    assert settle_book(changed).inputs_sha256 != settle_book(book()).inputs_sha256


def test_text_that_is_no_book_is_refused() -> None:
    with pytest.raises(ContractError, match="not JSON"):
        read_book("{")
