"""What was known of a set of half-hourly inputs at any instant: no look-ahead by construction.

An `Input` keeps every statement about a quantity together with the half-hour from whose start
it was known. A forecaster never sees the inputs themselves: it gets a `Knowledge`, which answers
only with what was known by its issue time, for fitting and for forecasting alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Input:
    """Every statement about one quantity.

    Half-hours are indices from the start of the history. Rows are ordered by ``about``, then by
    ``known_from``; one half-hour may have several statements, of which the newest known counts.

    Args:
        about: Shape ``(N,)``, the half-hour each value is about.
        known_from: Shape ``(N,)``, the first half-hour at whose start the value was known.
        values: Shape ``(N,)``; NaN is no statement.

    Raises:
        ContractError: The arrays differ in length, or the rows are not in order.
    """

    about: Indices
    known_from: Indices
    values: Array

    def __post_init__(self) -> None:
        if not self.about.size == self.known_from.size == self.values.size:
            sizes = (self.about.size, self.known_from.size, self.values.size)
            raise ContractError(f"an input needs arrays of one length, got {sizes}")
        later = np.diff(self.about)
        if (later < 0).any() or ((later == 0) & (np.diff(self.known_from) < 0)).any():
            raise ContractError("an input needs rows ordered by about, then by known_from")

    @classmethod
    def outturn(cls, values: Array, *, delay: int = 0) -> Input:
        """Return values of consecutive half-hours, known ``delay`` half-hours after their end."""
        about = np.arange(values.size)
        return cls(about, about + 1 + delay, values)

    @classmethod
    def of(cls, statements: Iterable[tuple[Indices, Indices, Array]]) -> Input:
        """Return an input from statements in any order, each ``(about, known_from, values)``.

        Statements about what lies before the start of the history, and those that say nothing,
        are left out.
        """
        about, known_from, values = (
            np.concatenate(column) for column in zip(*statements, strict=True)
        )
        told = np.isfinite(values) & (about >= 0)
        order = np.lexsort((known_from[told], about[told]))
        return cls(about[told][order], known_from[told][order], values[told][order])

    def or_else(self, other: Input) -> Input:
        """Return what this input says of each half-hour, and what ``other`` says before it does."""
        told = np.isfinite(self.values)
        spoken, first = np.unique(self.about[told], return_index=True)
        speaks_from = self.known_from[told][first]
        place = np.minimum(np.searchsorted(spoken, other.about), max(spoken.size - 1, 0))
        is_late = np.zeros(other.about.size, dtype=np.bool_)
        if spoken.size:
            is_late = (spoken[place] == other.about) & (other.known_from >= speaks_from[place])
        rest = (other.about[~is_late], other.known_from[~is_late], other.values[~is_late])
        return Input.of([(self.about, self.known_from, self.values), rest])

    def at(self, issued: int, first: int, count: int) -> Array:
        """Return shape ``(count,)`` from half-hour ``first``, as known when ``issued`` began."""
        low, high = np.searchsorted(self.about, (first, first + count))
        told = slice(low, high)
        known = (self.known_from[told] <= issued) & np.isfinite(self.values[told])
        out = np.full(count, np.nan)
        out[self.about[told][known] - first] = self.values[told][known]
        return out


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """All inputs of one forecasting task.

    Args:
        start: Half-hour of index 0.
        target: Name of the input that is forecast.
        inputs: Name, ending in its unit, to input.

    Raises:
        ContractError: The target is not among the inputs.
    """

    start: HalfHour
    target: str
    inputs: Mapping[str, Input]

    def __post_init__(self) -> None:
        if self.target not in self.inputs:
            raise ContractError(f"target {self.target} is not among {sorted(self.inputs)}")

    def known_at(self, issued: HalfHour) -> Knowledge:
        """Return what was known when half-hour ``issued`` began."""
        return Knowledge(self, self.start.until(issued))

    def outturn(self, start: HalfHour, half_hours: int) -> Array:
        """Return the target as known in the end: to score forecasts with, never to make them."""
        eventually = np.iinfo(np.int64).max
        return self.inputs[self.target].at(eventually, self.start.until(start), half_hours)


class Knowledge:
    """A history as it was known at one issue time.

    Args:
        history: All inputs.
        issued: Index of the half-hour at whose start the forecast is made.
    """

    def __init__(self, history: History, issued: int) -> None:
        self._history = history
        self._issued = issued

    @property
    def issued(self) -> HalfHour:
        """The first half-hour that is ahead."""
        return self._history.start + self._issued

    @property
    def target(self) -> str:
        """Name of the input that is forecast."""
        return self._history.target

    @property
    def names(self) -> Sequence[str]:
        """Names of the inputs."""
        return sorted(self._history.inputs)

    @property
    def half_hours_of_history(self) -> int:
        """Half-hours from the start of the history to the issue time."""
        return self._issued

    def window(self, name: str, first: int, count: int) -> Array:
        """Return one input around the issue time.

        Args:
            name: Of the input.
            first: Half-hours from the issue time; -1 is the last that is over, 0 the first ahead.
            count: How many.

        Returns:
            Shape ``(count,)``; NaN where nothing was known.

        Raises:
            ContractError: There is no such input.
        """
        return self._input(name).at(self._issued, self._issued + first, count)

    def said(self, name: str) -> Input:
        """Return everything said of one input by the issue time, and since when it was known.

        Half-hours count from the start of the history, so that training examples of many
        earlier issue times can be cut out of it at once.

        Raises:
            ContractError: There is no such input.
        """
        told = self._input(name)
        known = told.known_from <= self._issued
        return Input(told.about[known], told.known_from[known], told.values[known])

    def past(self, name: str | None = None) -> Array:
        """Return all of one input that is over, by default the target: shape ``(issued,)``."""
        return self.window(name or self.target, -self._issued, self._issued)

    def as_of(self, earlier: HalfHour) -> Knowledge:
        """Return what was known at an earlier issue time.

        Raises:
            ContractError: ``earlier`` is later than this issue time.
        """
        if earlier > self.issued:
            raise ContractError(f"at {self.issued} nobody knew what is known at {earlier}")
        return self._history.known_at(earlier)

    def known_at(self, issued: HalfHour) -> Knowledge:
        """See `as_of`; a past can be gone through like a history."""
        return self.as_of(issued)

    def outturn(self, start: HalfHour, half_hours: int) -> Array:
        """Return the target as it is known at this issue time; NaN where it is not."""
        return self.window(self.target, self.issued.until(start), half_hours)

    def _input(self, name: str) -> Input:
        try:
            return self._history.inputs[name]
        except KeyError:
            raise ContractError(f"input {name!r} is not among {self.names}") from None
