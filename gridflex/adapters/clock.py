"""The one place that reads the time of day."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from gridflex.settings import ClockSettings, gridflex_time


class Clock:
    """Wall time or accelerated replay; every process with the same settings agrees.

    Args:
        settings: Origin and speed.
    """

    def __init__(self, settings: ClockSettings) -> None:
        self._settings = settings

    @property
    def speed(self) -> float:
        """Seconds of GridFlex time per second of wall time."""
        return self._settings.speed

    def now(self) -> datetime:
        """Return GridFlex time, aware UTC."""
        return self.at(self.wall_now())

    def wall_now(self) -> datetime:
        """Return wall time, aware UTC."""
        return datetime.now(UTC)

    def at(self, wall: datetime) -> datetime:
        """Return GridFlex time at an aware wall time."""
        return gridflex_time(self._settings, wall)

    def wall(self, moment: datetime) -> datetime:
        """Return the wall time at which GridFlex time is ``moment``."""
        if self._settings.origin is None or self._settings.origin_wall is None:
            return moment
        return self._settings.origin_wall + (moment - self._settings.origin) / self.speed

    def wall_s(self, gridflex_s: float) -> float:
        """Return how many seconds of wall time ``gridflex_s`` takes."""
        return gridflex_s / self._settings.speed

    async def sleep(self, gridflex_s: float) -> None:
        """Wait for so many seconds of GridFlex time."""
        await asyncio.sleep(self.wall_s(max(0.0, gridflex_s)))
