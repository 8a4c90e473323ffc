"""How much thinking time is left.

The one place of the domain that reads a clock: a monotonic one, and only to stop in time. What
a plan decides depends on it only through how far the search came.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class Budget:
    """A span of wall time that starts when this is made.

    Args:
        seconds: How long; may be 0.
        timer: Monotonic seconds.

    Attributes:
        seconds: How long it was at the start.
    """

    def __init__(self, seconds: float, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._timer = timer
        self._started = timer()
        self.seconds = seconds

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self._timer() - self._started

    @property
    def left_s(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.seconds - self.elapsed_s)

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left."""
        return self.elapsed_s >= self.seconds

    def has_left(self, share: float) -> bool:
        """Return whether at least ``share`` of the whole span is left."""
        return self.left_s >= share * self.seconds
