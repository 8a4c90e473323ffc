"""How much delay owners of similar jobs have shown that they accept: a suggestion, no more.

Two traces show it. *Waits*: runs that waited in a queue and were still wanted. *Rhythm*: how
long after one run's end the next run of the same command came; until then nothing in the
record used its result, which is weaker evidence, because a person or another program may have.
Deadlines come from owners alone; this only tells them what their own history would allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Final

import isodate
import numpy as np

from gridflex import units
from gridflex.forecasting.past_runs import PastRun
from gridflex.halfhour import HALF_HOUR

LEAST_EVIDENCE: Final = 5
"""Runs without which nothing is suggested."""

GIVEN_UP_SHARE: Final = 0.1
"""A wait is not accepted where more than one in ten gave up before its end."""

KEPT_LEVEL: Final = 0.1
"""Nine in ten repeats came later after the last one's end than what is suggested."""

REGULAR_WITHIN: Final = 0.1
"""A rhythm is regular if half of all repeats come within this share of the usual period."""


MINUTES_AN_HOUR: Final = 60
HOURS_BY_NAME: Final = 72


@dataclass(frozen=True, slots=True)
class Waits:
    """Delays before the first run that were accepted.

    Args:
        accepted: Delay that enough runs had, or a longer one, and were still wanted.
        runs: How many had it.
        given_up: How many such jobs were stopped by their owner while they waited.
        basis: Whose runs they are.
    """

    accepted: timedelta
    runs: int
    given_up: int
    basis: str


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How a command repeats.

    Args:
        period: Usual time from one submission to the next.
        is_regular: Whether repeats keep to it.
        free: Time after a run's end before which nine in ten repeats had not come.
        repeats: How many there were.
    """

    period: timedelta
    is_regular: bool
    free: timedelta
    repeats: int


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What the history of similar jobs would allow.

    Args:
        waits: Waits that were accepted, if enough runs had one.
        rhythm: How the command repeats, if it did often enough.
    """

    waits: Waits | None
    rhythm: Rhythm | None

    @property
    def slack(self) -> timedelta | None:
        """How much later than at once such a job may finish by this; None without evidence."""
        found = [self.waits.accepted] if self.waits else []
        found += [self.rhythm.free] if self.rhythm else []
        return max(found, default=None)

    def sentences(self, *, granted: timedelta) -> tuple[str, ...]:
        """Return it for people, beside the slack that the owner has granted.

        Args:
            granted: Time from submission to deadline without the run time.
        """
        return (*self._of_waits(), *self._of_rhythm(), self._suggestion(granted))

    def _of_waits(self) -> tuple[str, ...]:
        if self.waits is None:
            return ()
        runs, given_up = self.waits.runs, self.waits.given_up
        wait = span_text(self.waits.accepted)
        stopped = f"; {given_up} were given up waiting" if given_up else ""
        basis = self.waits.basis
        return (f"{runs} runs of {basis} waited {wait} or longer and were still wanted{stopped}.",)

    def _of_rhythm(self) -> tuple[str, ...]:
        if self.rhythm is None:
            return ()
        usual = "every" if self.rhythm.is_regular else "irregularly, in the middle every"
        period, free = span_text(self.rhythm.period), span_text(self.rhythm.free)
        after = f"nine times in ten more than {free} after the last run's end"
        repeats = self.rhythm.repeats
        return (f"The same command came again {usual} {period}, {after} ({repeats} repeats).",)

    def _suggestion(self, granted: timedelta) -> str:
        now = span_text(max(granted, timedelta(0)))
        if self.slack is None:
            return (
                "Too few similar runs waited or were repeated to suggest more flexibility "
                f"(at least {LEAST_EVIDENCE} are needed)."
            )
        if self.slack <= granted + HALF_HOUR:
            return f"That suggests no more slack than the {now} granted."
        whole = isodate.duration_isoformat(self.slack // HALF_HOUR * HALF_HOUR)
        return f"Suggestion, for its owner to decide: {whole} of slack instead of {now}."


def tolerance(past: Iterable[PastRun], *, entrypoint: str, team: str | None) -> Tolerance:
    """Return what the past of a command, in the hands of the same team, says about its slack.

    Where the command itself has waited too seldom, all runs of its team tell of waits.
    """
    of_team = sorted((run for run in past if run.team == team), key=lambda run: run.submitted_at)
    similar = [run for run in of_team if run.entrypoint == entrypoint]
    waits = _waits(similar, "the same command")
    if waits is None and team is not None:
        waits = _waits(of_team, "the same team")
    return Tolerance(waits, _rhythm(similar))


def _waits(similar: Sequence[PastRun], basis: str) -> Waits | None:
    given_up = sorted(run.wait for run in similar if run.was_given_up and run.started_at is None)
    accepted = sorted((run.wait for run in similar if run.started_at is not None), reverse=True)
    for count in range(LEAST_EVIDENCE, len(accepted) + 1):
        wait = accepted[count - 1]
        if wait < HALF_HOUR:
            return None
        stopped = sum(1 for one in given_up if one <= wait)
        if stopped <= GIVEN_UP_SHARE * (stopped + count):
            runs = sum(1 for one in accepted if one >= wait)
            return Waits(wait, runs, len(given_up), basis)
    return None


def _rhythm(similar: Sequence[PastRun]) -> Rhythm | None:
    used = [run for run in similar if run.has_succeeded]
    if len(used) <= LEAST_EVIDENCE:
        return None
    periods_s = [(b.submitted_at - a.submitted_at).total_seconds() for a, b in pairwise(used)]
    free_s = [(b.submitted_at - a.ended_at).total_seconds() for a, b in pairwise(used)]
    low, period, high = np.quantile(periods_s, (0.25, 0.5, 0.75))
    free = float(np.quantile(free_s, KEPT_LEVEL, method="lower"))
    if period <= 0 or free < HALF_HOUR.total_seconds():
        return None
    return Rhythm(
        period=timedelta(seconds=float(period)),
        is_regular=bool(high - low <= REGULAR_WITHIN * period),
        free=timedelta(seconds=free),
        repeats=len(periods_s),
    )


def span_text(span: timedelta) -> str:
    """Return a span for people: minutes, hours or days."""
    minutes = span / timedelta(minutes=1)
    if minutes < MINUTES_AN_HOUR:
        return f"{minutes:.0f} min"
    hours = units.hours(span)
    return f"{hours:.1f} h" if hours < HOURS_BY_NAME else f"{hours / 24:.1f} days"
