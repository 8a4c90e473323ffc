"""What is known of a world at the clock's time: outturns after the fact, forecasts before it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Final, Protocol

import numpy as np
from fastapi import Response

from gridflex.adapters.http import ORIGIN_HEADER
from gridflex.halfhour import LONDON, HalfHour, auction_day
from gridflex.sandbox.grid.faults import Faults, Provider
from gridflex.sandbox.grid.vintages import ErrorModel
from gridflex.sandbox.grid.world import Values, World
from gridflex.signals import Origin

CARBON_DELAY: Final = timedelta(minutes=5)
ELEXON_DELAY: Final = timedelta(minutes=20)
"""Elexon's data appears 15 to 30 minutes after the half-hour."""

AUCTION_AT_OCTOPUS: Final = time(16, 10)
"""London time at which Octopus shows what follows from the prices of 23:00 to 23:00."""

AUCTION_AT_EXCHANGE: Final = time(10, 10)
"""London time by which the exchange has told the prices of its hourly auction.

Source:
    Nord Pool, "About the N2EX Day-Ahead Auction": the gate closes at 09:50, results are out at
    10:00 at the latest; ten minutes are added to read them.
"""

COUPLED_AUCTION_AT_EXCHANGE: Final = time(13, 0)
"""The same while the auction was part of the European coupling: EPEX had final results by 12:50."""

LAST_COUPLED_DAY: Final = date(2020, 12, 31)
"""Of delivery."""


class AuctionSource(StrEnum):
    """Where the day-ahead price is read, which decides from when on it is known."""

    OCTOPUS = "octopus"
    EXCHANGE = "exchange"


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the present instant, aware UTC."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Desk:
    """One provider's view of the world.

    Args:
        world: What really happens.
        clock: When it is.
        faults: May hold the time still for this provider.
        provider: Who is asked.
    """

    world: World
    clock: Clock
    faults: Faults
    provider: Provider

    def now(self) -> datetime:
        """Return the instant up to which this provider knows things."""
        return self.faults.told_at(self.provider, self.clock.now())

    def outturn(self, values: Values, half_hour: HalfHour, *, delay: timedelta) -> float:
        """Return what happened, or NaN where it is not known yet."""
        if self.now() < half_hour.end + delay:
            return np.nan
        return self.world.at(values, half_hour)

    def forecast(
        self,
        values: Values,
        *,
        errors: ErrorModel,
        issued: HalfHour,
        start: HalfHour,
        half_hours: int,
    ) -> Values:
        """Return the vintage of ``issued``, never negative; shape ``(half_hours,)``."""
        truth = self.world.window(values, start, half_hours)
        wrong = errors.errors(issued=issued, start=start, half_hours=half_hours)
        return np.clip(truth + wrong, 0.0, None)

    def day_ahead_price(
        self, half_hour: HalfHour, *, source: AuctionSource = AuctionSource.OCTOPUS
    ) -> float:
        """Return the auction price in GBP/MWh, or NaN before it can be read at ``source``."""
        if self.now() < auction_published_at(half_hour, source=source):
            return np.nan
        return self.world.at(self.world.day_ahead_gbp_per_mwh, half_hour)


def auction_published_at(
    half_hour: HalfHour, *, source: AuctionSource = AuctionSource.OCTOPUS
) -> datetime:
    """Return when the day-ahead price of a half-hour can be read at ``source``."""
    day = auction_day(half_hour)
    published = datetime.combine(day - timedelta(days=1), _told(day, source), tzinfo=LONDON)
    return published.astimezone(UTC)


def _told(day: date, source: AuctionSource) -> time:
    if source is AuctionSource.OCTOPUS:
        return AUCTION_AT_OCTOPUS
    return COUPLED_AUCTION_AT_EXCHANGE if day <= LAST_COUPLED_DAY else AUCTION_AT_EXCHANGE


def known(value: float) -> bool:
    """Return whether a value is one."""
    return bool(np.isfinite(value))


def say_simulated(response: Response) -> None:
    """Say of an answer that its numbers are simulated, even in a recorded world."""
    response.headers[ORIGIN_HEADER] = Origin.SIMULATED.value
