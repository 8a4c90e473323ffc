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

    @property
    def left_share(self) -> float:
        """What is left as a share of the whole span, above 0."""
        return max(self.left_s / self.seconds, 1e-9) if self.seconds else 1e-9

    def part(self, share: float) -> Budget:
        """Return a budget of a share of what is left, by the same timer."""
        return Budget(max(share, 0.0) * self.left_s, timer=self._timer)

    def has_left(self, share: float) -> bool:
        """Return whether at least ``share`` of the whole span is left."""
        return self.left_s >= share * self.seconds
