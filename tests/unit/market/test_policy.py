"""What holds from a date, and what is given over it."""

from datetime import date

import pytest

from gridflex.errors import ContractError
from gridflex.market.policy import Dated, Effective

USUAL = Dated(
    "price",
    (
        Effective(date(2026, 1, 1), "first", "usual", date(2026, 4, 1)),
        Effective(date(2026, 4, 1), "second", "usual", date(2026, 10, 1)),
        Effective(date(2026, 10, 1), "third", "usual"),
    ),
)


def given(*entries: Effective[str]) -> Dated[str]:
    return Dated("price", entries).over(USUAL)


def test_what_is_given_counts_from_its_first_day_on_and_the_usual_before() -> None:
    both = given(Effective(date(2026, 6, 1), "own", "settings"))

    assert both.on(date(2026, 3, 31)) == "first"
    assert both.on(date(2026, 5, 31)) == "second"
    assert both.on(date(2026, 6, 1)) == both.on(date(2027, 1, 1)) == "own"


def test_the_usual_does_not_come_back_after_what_is_given_has_ended() -> None:
    both = given(Effective(date(2026, 6, 1), "own", "settings", date(2026, 7, 1)))

    assert both.on(date(2026, 6, 30)) == "own"
    with pytest.raises(ContractError, match="nothing is in force on 2026-07-01"):
        both.on(date(2026, 7, 1))


def test_a_gap_in_the_usual_stays_a_gap() -> None:
    early = Dated("price", (USUAL.entries[0],))
    both = Dated("price", (Effective(date(2026, 6, 1), "own", "settings"),)).over(early)

    with pytest.raises(ContractError, match="nothing is in force on 2026-05-01"):
        both.on(date(2026, 5, 1))


def test_without_anything_given_the_usual_counts() -> None:
    assert given() == USUAL


def test_what_is_given_must_not_overlap() -> None:
    with pytest.raises(ContractError, match="the entry from 2026-06-15 overlaps"):
        given(
            Effective(date(2026, 6, 1), "own", "settings", date(2026, 7, 1)),
            Effective(date(2026, 6, 15), "other", "settings"),
        )
