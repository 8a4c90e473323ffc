"""What was known when, as dense arrays from which windows of any issue time are cut at once.

A sequence model trains on tens of thousands of issue times. One layer holds at most one statement
about each half-hour together with how late it came, so the inputs as known at any set of issue
times are a gather and a comparison, on a GPU too.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gridflex.forecasting.history import Input

Floats = NDArray[np.float32]

MOST_STATEMENTS: Final = 8
"""Layers of one input. Of more statements about one half-hour the newest of each of as many
groups is kept: older knowledge, never later knowledge."""

_NEVER: Final = np.iinfo(np.int16).max


@dataclass(frozen=True, slots=True, eq=False)
class Sequences:
    """Inputs over half-hours ``0..T-1`` with when each value was known.

    Args:
        names: Of the inputs; the target is the first.
        input_of: Shape ``(L,)``, the input of each layer; of one input the later layers hold the
            newer statements.
        values: Shape ``(L, T)``; NaN is no statement.
        delays: Shape ``(L, T)``, half-hours from the start of a half-hour to the start of the one
            at which its value was known; negative when known ahead.
        almanac: Shape ``(T, K)``, what is known of each half-hour without measuring.
        issued: The half-hour up to which the past reaches; the rest of ``T`` is ahead.
    """

    names: tuple[str, ...]
    input_of: NDArray[np.int64]
    values: Floats
    delays: NDArray[np.int16]
    almanac: Floats
    issued: int

    def __len__(self) -> int:
        return int(self.values.shape[1])

    @property
    def truth(self) -> Floats:
        """Shape ``(T,)``, the newest statement about the target; NaN where there is none."""
        out = np.full(len(self), np.nan, dtype=np.float32)
        for layer in self.values[self.input_of == 0]:
            np.copyto(out, layer, where=np.isfinite(layer))
        return out

    def to_bytes(self) -> bytes:
        """Return a NumPy archive without pickled objects."""
        stream = BytesIO()
        np.savez_compressed(
            stream,
            names=np.array(self.names),
            input_of=self.input_of,
            values=self.values,
            delays=self.delays,
            almanac=self.almanac.astype(np.float16),
            issued=self.issued,
        )
        return stream.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Sequences:
        """Read what `to_bytes` wrote."""
        with np.load(BytesIO(data), allow_pickle=False) as arrays:
            return cls(
                names=tuple(str(name) for name in arrays["names"]),
                input_of=arrays["input_of"],
                values=arrays["values"],
                delays=arrays["delays"],
                almanac=arrays["almanac"].astype(np.float32),
                issued=int(arrays["issued"]),
            )


def layers(said: Input, half_hours: int) -> tuple[Floats, NDArray[np.int16]]:
    """Return the statements about half-hours ``0..half_hours-1`` and their delays.

    Returns:
        Two arrays of shape ``(L, half_hours)`` with ``L`` from 1 to `MOST_STATEMENTS`; statements
        that came more than 32,766 half-hours late are left out.
    """
    delay = said.known_from - said.about
    usable = np.isfinite(said.values) & (delay < _NEVER)
    usable &= (said.about >= 0) & (said.about < half_hours)
    about, delay, values = said.about[usable], delay[usable], said.values[usable]
    count = np.bincount(about, minlength=half_hours)
    first = np.concatenate(([0], np.cumsum(count)[:-1]))
    rank = np.arange(about.size) - first[about]
    crowded = count[about] > MOST_STATEMENTS
    rank = np.where(crowded, rank * MOST_STATEMENTS // np.maximum(count[about], 1), rank)
    shape = (max(1, int(rank.max(initial=0)) + 1), half_hours)
    told = np.full(shape, np.nan, dtype=np.float32)
    late = np.full(shape, _NEVER, dtype=np.int16)
    told[rank, about] = values
    late[rank, about] = np.maximum(delay, np.iinfo(np.int16).min)
    return told, late
