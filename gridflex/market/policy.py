"""Rules and figures that hold from a date: what was in force on a settlement day.

Market rules, reference prices and fees change; a settlement is computed with those of its own
day, whenever it is run. Each entry says where it comes from, and a day that no entry covers is
an error, never a default.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from typing import Generic, TypeVar

from gridflex.errors import ContractError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Effective(Generic[T]):
    """One value and the days on which it holds.

    Args:
        start: First day.
        value: The rule or figure.
        source: Where it comes from.
        until: First day on which it no longer holds; None while it stands.
    """

    start: date
    value: T
    source: str
    until: date | None = None

    def covers(self, day: date) -> bool:
        """Return whether the value holds on ``day``."""
        return self.start <= day and (self.until is None or day < self.until)


@dataclass(frozen=True, slots=True)
class Dated(Generic[T]):
    """The values of one rule over time.

    Args:
        name: What it is, for messages.
        entries: By start; an entry ends where the next begins, or at its own ``until``.

    Raises:
        ContractError: Entries are out of order or overlap.
    """

    name: str
    entries: tuple[Effective[T], ...]

    def __post_init__(self) -> None:
        for earlier, later in pairwise(self.entries):
            if later.start <= earlier.start or (earlier.until or later.start) > later.start:
                raise ContractError(
                    f"{self.name}: the entry from {later.start} overlaps that from {earlier.start}"
                )

    def over(self, usual: Dated[T]) -> Dated[T]:
        """Return these values, and before the first of them the usual ones.

        What is usual ends where the first of these begins, also where this one ends later.

        Raises:
            ContractError: These overlap.
        """
        if not self.entries:
            return usual
        first = self.entries[0].start
        before = [
            replace(one, until=min(one.until or first, first))
            for one in usual.entries
            if one.start < first
        ]
        return Dated(self.name, (*before, *self.entries))

    def entry_on(self, day: date) -> Effective[T]:
        """Return the entry in force on ``day``.

        Raises:
            ContractError: None is.
        """
        started = [entry for entry in self.entries if entry.start <= day]
        if not started or not started[-1].covers(day):
            known = ", ".join(f"{entry.start} to {entry.until or 'now'}" for entry in self.entries)
            raise ContractError(
                f"{self.name}: nothing is in force on {day}; known is {known or 'nothing'}"
            )
        return started[-1]

    def on(self, day: date) -> T:
        """Return the value in force on ``day``; see `entry_on`."""
        return self.entry_on(day).value
