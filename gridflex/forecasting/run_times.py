"""Run times learned from what ran before, from the closest kind of job to all jobs.

A job belongs to several kinds, from the most general (all jobs) to the closest (the same
command of the same team on as many GPUs). Each kind keeps its last runs; a job's distribution
is their mixture, in which a kind with many runs leaves little weight to the more general ones.
So a command that was never seen is told from its team and size, and one that was seen often
from itself alone. Runs that end are first held against what would have been said of them:
if more than one in ten lies beyond the ninth tenth, the ninth tenth moves out. What was
requested is not believed: users ask for ten times what they use.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gridflex.run_time import RUN_TIME_LEVELS, RunTime

KEPT_RUNS: Final = 64
"""Of each kind; older runs say less about the next one."""

PRIOR_RUNS: Final = 2.0
"""How many runs of its own a kind needs until it counts as much as the more general ones. With n
runs the next is beyond all of them, on one side or the other, with a chance of 2 in n + 1."""

LEAST_RUNS: Final = 3
"""A kind with fewer runs is not named as what a run time rests on, if another has as many."""

LEAST_OTHERS: Final = 40
"""With fewer runs of other commands, those tell nothing of a command that never ran. The first runs
to end are the short ones: of 5, 10, 20 and 40, on AAIC and on Philly the last loses least against
the default and covers most (``bench/run_time_first.py``)."""

UNKNOWN: Final = (0.25, 0.5, 2.0, 4.0)
"""What runs that nothing is known of may take, as a multiple of the median of those known."""

SHORTEST_S: Final = 1.0

RANKED: Final = 2
"""One run in so many is held against what was said of it."""

RANKS_KEPT: Final = 500
"""Of how many runs it is remembered where in their distribution they came to lie."""

LEAST_RANKS: Final = 50
"""Fewer do not tell whether one run in ten really is beyond the ninth tenth."""

HIGHEST_RANK: Final = 0.995
"""Beyond it a distribution of a few dozen runs says nothing."""

_NUMBER: Final = re.compile(r"\d+(?:\.\d+)?(?:e-?\d+)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Kind:
    """Jobs that have something in common.

    Args:
        basis: What, in words.
        key: Its value.
        is_of_command: Whether they run the same thing.
    """

    basis: str
    key: Hashable = ()
    is_of_command: bool = False


ALL: Final = Kind("all jobs")


def kinds_of(*, entrypoint: str, team: str | None, gpus: int) -> tuple[Kind, ...]:
    """Return the kinds a Ray job belongs to, the most general first.

    Commands that differ only in numbers (seeds, learning rates, dates) are one kind of command.
    """
    shape = _NUMBER.sub("#", entrypoint)
    of_team = () if team is None else (Kind("the same team", team),)
    return (
        ALL,
        Kind("as many GPUs", gpus),
        *of_team,
        Kind("the same command but for numbers", (shape,), is_of_command=True),
        Kind("the same command", entrypoint, is_of_command=True),
        Kind("the same command, team and GPUs", (entrypoint, team, gpus), is_of_command=True),
    )


class RunTimes:
    """Learns run times, one finished run at a time.

    Args:
        kept: Runs to keep of each kind.
        prior_runs: Runs of its own a kind needs to count as much as the more general ones.
        least_others: Runs of other commands from which on they tell of one that never ran.
    """

    def __init__(
        self,
        *,
        kept: int = KEPT_RUNS,
        prior_runs: float = PRIOR_RUNS,
        least_others: int = LEAST_OTHERS,
    ) -> None:
        self._kept = kept
        self._prior_runs = prior_runs
        self._least_others = least_others
        self._seconds: dict[Kind, deque[float]] = {}
        self._ranks: deque[float] = deque(maxlen=RANKS_KEPT)
        self._noted = 0

    def note(self, kinds: Sequence[Kind], run_s: float) -> None:
        """Learn from a run that has ended, the newest last."""
        self._noted += 1
        expected = self._mixture(kinds) if self._noted % RANKED == 0 else None
        if expected is not None:
            self._ranks.append(expected.share_ended(timedelta(seconds=run_s)))
        for kind in kinds:
            runs = self._seconds.setdefault(kind, deque(maxlen=self._kept))
            runs.append(max(run_s, SHORTEST_S))

    def of(self, kinds: Sequence[Kind]) -> RunTime | None:
        """Return the run time of a job of these kinds.

        None where neither its command has run nor enough jobs of whatever command.
        """
        found = self._mixture(kinds) if self._tells(kinds) else None
        if found is None or len(self._ranks) < LEAST_RANKS:
            return found
        levels = np.minimum(np.quantile(self._ranks, RUN_TIME_LEVELS), HIGHEST_RANK)
        calibrated = tuple(found.quantile(level).total_seconds() for level in levels.tolist())
        return replace(found, quantiles_s=calibrated)

    def _tells(self, kinds: Sequence[Kind]) -> bool:
        return any(
            len(self._seconds.get(kind, ())) >= (1 if kind.is_of_command else self._least_others)
            for kind in kinds
        )

    def _mixture(self, kinds: Sequence[Kind]) -> RunTime | None:
        chain = self._chain(kinds)
        if not chain:
            return None
        told = (place for place in chain if len(place[1]) >= LEAST_RUNS)
        closest, runs = next(told, chain[-1])
        quantiles_s = self._quantiles([runs for _, runs in chain])
        return RunTime(tuple(quantiles_s.tolist()), len(runs), closest.basis)

    def _chain(self, kinds: Sequence[Kind]) -> list[tuple[Kind, Sequence[float]]]:
        """Return the runs of each kind, the closest first; kinds that know no more are left out."""
        chain: list[tuple[Kind, Sequence[float]]] = []
        for kind in reversed(kinds):
            runs = self._seconds.get(kind, ())
            if len(runs) > (len(chain[-1][1]) if chain else 0):
                chain.append((kind, runs))
        return chain

    def _quantiles(self, samples: Sequence[Sequence[float]]) -> NDArray[np.float64]:
        """Return the quantiles of the mixture of samples, the closest kind's first."""
        unknown = tuple(float(np.median(samples[-1])) * times for times in UNKNOWN)
        left, seconds, weights = 1.0, [], []
        for runs in (*samples, unknown):
            share = left * len(runs) / (len(runs) + self._prior_runs)
            share = left if runs is unknown else share
            left -= share
            seconds.append(np.fromiter(runs, dtype=np.float64))
            weights.append(np.full(len(runs), share / len(runs)))
        value, weight = np.concatenate(seconds), np.concatenate(weights)
        order = np.argsort(value, kind="stable")
        value, weight = np.log(value[order]), weight[order]
        middle = np.cumsum(weight) - weight / 2
        return np.exp(np.interp(RUN_TIME_LEVELS, middle, value))
