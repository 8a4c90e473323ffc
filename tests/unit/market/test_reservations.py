"""Energy promised to products, as the ledger's order says."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gridflex.ledger.event import Event
from gridflex.ledger.verify.entries import parse_entry
from gridflex.market.trading.exclusivity import Direction, Product, Reservation
from gridflex.market.trading.reservations import (
    Holdings,
    holdings,
    release_event,
    reservation_event,
)
from tests.unit.market.test_desk import EARLY, PAIR, SIX

MOST = Decimal("1.0")


def wanted(mwh: str, product: Product = Product.P415, contract: str = "C1") -> Reservation:
    return Reservation(PAIR.import_msid, SIX, Direction.DOWN, product, Decimal(mwh), contract)


def after(*events: Event) -> Holdings:
    logged: list[tuple[int, Any]] = [
        (i, parse_entry(one.entry(recorded_at=EARLY + timedelta(minutes=i))))
        for i, one in enumerate(events)
    ]
    return holdings(logged)


def reserved(mwh: str, product: Product = Product.P415, contract: str = "C1") -> Event:
    return reservation_event(wanted(mwh, product, contract), flexible_mwh=MOST)


def test_the_first_of_two_that_want_the_same_energy_holds_it() -> None:
    found = after(reserved("0.8"), reserved("0.3", contract="C2"))

    assert [one.reservation.contract for one in found.held] == ["C1"]
    (why,) = found.refused.values()
    assert "0.3 MWh for p415, 0.2 of 1.0 MWh are free" in why


def test_products_that_exclude_each_other_do_not_share_a_half_hour() -> None:
    found = after(reserved("0.1", Product.DFS), reserved("0.1", contract="C2"))

    assert "which excludes p415" in found.refused[reserved("0.1", contract="C2").id]


def test_what_is_released_is_free_again() -> None:
    first = reserved("0.8")
    (held,) = after(first).held

    found = after(first, release_event(held, reason="not taken"), reserved("1.0", contract="C2"))

    assert [one.reservation.contract for one in found.held] == ["C2"]
    assert not found.refused


def test_a_release_changes_nothing_that_was_decided_before_it() -> None:
    asked = [reserved("0.8", contract="A"), reserved("0.9", contract="B")]
    asked.append(reserved("0.2", contract="C"))
    first, third = after(*asked).held

    found = after(*asked, release_event(first, reason="not taken"))

    assert found.held == (third,)
    assert "0.9 MWh for p415, 0.2 of 1.0 MWh are free" in found.refused[asked[1].id]


def test_one_that_is_recorded_twice_at_once_is_held_and_released_once() -> None:
    twice = [reserved("0.8"), replace(reserved("0.8"), id="reservation:again")]
    (held,) = after(*twice).held

    assert not after(*twice, release_event(held, reason="not taken")).held


def test_energy_that_comes_on_top_is_held_whatever_others_hold_and_states_no_figure() -> None:
    moved = wanted("0.7", Product.BECKN, "C2")
    on_top = reservation_event(moved, flexible_mwh=None)

    found = after(reserved("0.8"), on_top, reserved("0.1", contract="C3"))

    assert on_top.body["flexible_mwh"] is None
    assert [one.reservation.contract for one in found.held] == ["C1", "C2"]
    (why,) = found.refused.values()
    assert "0.1 MWh for p415, -0.5 of 1.0 MWh are free" in why
    assert found.others_mwh(moved) == Decimal("0.8")


def test_energy_that_comes_on_top_of_a_product_that_excludes_it_is_refused() -> None:
    on_top = reservation_event(wanted("0.1", Product.BECKN, "C2"), flexible_mwh=None)

    assert "which excludes beckn" in after(reserved("0.1", Product.DFS), on_top).refused[on_top.id]


def test_a_contract_finds_what_it_holds_already_whatever_it_wants_now() -> None:
    found = after(reserved("0.8"))

    held = found.of(wanted("0.5"))

    assert held is not None
    assert held.reservation.mwh == Decimal("0.8")
    assert found.of(wanted("0.8", contract="C2")) is None


@given(
    st.lists(
        st.tuples(st.decimals("0.001", "0.9", places=3), st.sampled_from(Product)), max_size=12
    )
)
def test_no_energy_is_held_twice_in_any_order(asked: list[tuple[Decimal, Product]]) -> None:
    events = [reserved(str(mwh), product, f"C{i}") for i, (mwh, product) in enumerate(asked)]

    found = after(*events)

    assert sum(one.reservation.mwh for one in found.held) <= MOST
    assert len(found.held) + len(found.refused) == len(asked)
