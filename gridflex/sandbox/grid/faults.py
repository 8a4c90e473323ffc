"""Failures on demand, so that what depends on a provider can be seen to survive them."""

from __future__ import annotations

import asyncio
from datetime import datetime
from enum import StrEnum
from typing import Final

from fastapi import Response
from pydantic import BaseModel, Field

from gridflex.sandbox.grid.paths import ELEXON_PATH, NORD_POOL_PATH, OCTOPUS_PATH

HANG_S: Final = 3_600.0


class Fault(StrEnum):
    """How a provider misbehaves."""

    NONE = "none"
    ERROR = "error"
    HANG = "hang"
    GARBAGE = "garbage"
    EMPTY = "empty"
    STALE = "stale"


class Provider(StrEnum):
    """Whose answers are meant."""

    CARBON_INTENSITY = "carbon-intensity"
    ELEXON = "elexon"
    OCTOPUS = "octopus"
    NORD_POOL = "nord-pool"

    @classmethod
    def of_path(cls, path: str) -> Provider:
        """Return the provider that serves a path."""
        below = {ELEXON_PATH: cls.ELEXON, OCTOPUS_PATH: cls.OCTOPUS, NORD_POOL_PATH: cls.NORD_POOL}
        served = (provider for base, provider in below.items() if path.startswith(f"{base}/"))
        return next(served, cls.CARBON_INTENSITY)


class FaultOrder(BaseModel, extra="forbid"):
    """What to do to one provider.

    Attributes:
        provider: Which one; None is all of them.
        fault: ``none`` ends it. ``stale`` keeps answering as of the moment it was ordered.
        answers: How many answers to spoil; None is all until further notice.
    """

    provider: Provider | None = None
    fault: Fault
    answers: int | None = Field(default=None, ge=1)


class Faults:
    """The failures in force."""

    def __init__(self) -> None:
        self._orders: dict[Provider, FaultOrder] = {}
        self._frozen: dict[Provider, datetime] = {}

    def order(self, order: FaultOrder, *, now: datetime) -> None:
        """Put a failure in force, or end it; ``now`` is when a stale provider stops."""
        for provider in [order.provider] if order.provider else list(Provider):
            self._orders[provider] = order.model_copy()
            self._frozen[provider] = now

    def in_force(self) -> dict[str, str]:
        """Return the fault of every provider."""
        return {
            provider.value: self._orders[provider].fault.value
            if provider in self._orders
            else Fault.NONE.value
            for provider in Provider
        }

    def told_at(self, provider: Provider, now: datetime) -> datetime:
        """Return the instant up to which the provider knows things."""
        order = self._orders.get(provider)
        return self._frozen[provider] if order and order.fault is Fault.STALE else now

    async def spoil(self, provider: Provider) -> Response | None:
        """Return the spoiled answer of a provider, or None where it works."""
        order = self._orders.get(provider)
        if order is None or order.fault in {Fault.NONE, Fault.STALE}:
            return None
        fault = order.fault
        if order.answers is not None:
            order.answers -= 1
            if order.answers == 0:
                del self._orders[provider]
        if fault is Fault.HANG:
            await asyncio.sleep(HANG_S)
        return _SPOILED[fault]()


_SPOILED: Final = {
    Fault.ERROR: lambda: Response("ordered failure", status_code=500),
    Fault.HANG: lambda: Response(status_code=504),
    Fault.GARBAGE: lambda: Response('{"data":[{"from":"yesterday","price":"much"}],"results":7}'),
    Fault.EMPTY: lambda: Response(b""),
}
