"""How long a start takes here: what the settings say, or what was seen where that is longer.

On a busy cluster, or one whose nodes come up first, minutes pass between a decision and the
first step of a job. Plans leave room for it before deadlines.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

import numpy as np

from gridflex.halfhour import HALF_HOUR
from gridflex.lifecycle import Job

LOOKED_AT: Final = 20
"""Newest starts that say how long one takes."""

LEAST_SEEN: Final = 5
"""Fewer say nothing against the settings."""

LEVEL: Final = 0.9
"""Nine in ten of them were as fast as what is allowed for."""

LONGEST: Final = HALF_HOUR
"""What takes longer is a queue, which no earlier start makes shorter."""


def start_allowance(jobs: Iterable[Job], *, usual: timedelta) -> timedelta:
    """Return what a start takes before work goes on, in GridFlex time.

    Args:
        jobs: Open jobs, whose starts are looked at.
        usual: What the settings allow for, which is the least.
    """
    starts = sorted(
        (attempt.decided_at, attempt.started_at)
        for job in jobs
        for attempt in job.attempts
        if attempt.started_at is not None
    )
    if len(starts) < LEAST_SEEN:
        return usual
    taken_s = [(started - decided).total_seconds() for decided, started in starts[-LOOKED_AT:]]
    seen = timedelta(seconds=float(np.quantile(taken_s, LEVEL, method="lower")))
    return max(usual, min(seen, LONGEST))
