"""The same energy is sold once: one product per meter pair, half-hour and direction.

A reservation states the pair's flexible energy in that half-hour, and what all products hold
together never exceeds it; or it comes on top of what others hold, where its energy is its own by
construction. Products that exclude each other never share a half-hour.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.volumes import ZERO


class Product(StrEnum):
    """Where flexibility can be sold."""

    P415 = "p415"
    DFS = "dfs"
    BALANCING = "balancing"
    DNO = "dno"
    CAPACITY = "capacity"
    BECKN = "beckn"


class Direction(StrEnum):
    """Less import or more."""

    DOWN = "down"
    UP = "up"


STACKABLE: Final = frozenset(
    {
        frozenset({Product.P415, Product.BECKN}),
        frozenset({Product.CAPACITY, Product.P415}),
        frozenset({Product.CAPACITY, Product.DFS}),
        frozenset({Product.CAPACITY, Product.BALANCING}),
    }
)
"""Products that may hold a pair in the same half-hour, each with energy of its own.

A balancing service excludes the wholesale market in its half-hours: its volume would have to be
taken out of the deviation.
"""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Energy of one meter pair promised to one product.

    Args:
        meter: Import id of the pair.
        half_hour: When.
        direction: Less or more import.
        product: To whom.
        mwh: How much, above zero.
        contract: Under which contract.
        job: Whose run it moves; None where it is not of one job.
    """

    meter: str
    half_hour: HalfHour
    direction: Direction
    product: Product
    mwh: Decimal
    contract: str
    job: str | None = None


@dataclass(frozen=True, slots=True)
class ExclusivityLedger:
    """All reservations; a value that only grows by `reserve` and shrinks by `release`.

    Args:
        reservations: In the order in which they were made.
    """

    reservations: tuple[Reservation, ...] = field(default=())

    def held(
        self, meter: str, half_hour: HalfHour, direction: Direction
    ) -> tuple[Reservation, ...]:
        """Return what is promised of a pair in a half-hour and direction."""
        return tuple(
            one
            for one in self.reservations
            if (one.meter, one.half_hour, one.direction) == (meter, half_hour, direction)
        )

    def free_mwh(
        self, meter: str, half_hour: HalfHour, direction: Direction, *, flexible_mwh: Decimal
    ) -> Decimal:
        """Return what of ``flexible_mwh`` is not promised yet."""
        return flexible_mwh - sum((one.mwh for one in self.held(meter, half_hour, direction)), ZERO)

    def reserve(
        self, reservations: Iterable[Reservation], *, flexible_mwh: Decimal | None
    ) -> ExclusivityLedger:
        """Return the ledger with all of ``reservations``, or refuse all of them.

        A reservation that is already held, with the same contract and energy, changes nothing.

        Args:
            reservations: What to promise.
            flexible_mwh: What each pair can deliver in each of the half-hours; None where it is
                not known and what is promised comes on top of what others hold.

        Raises:
            ContractError: Energy would be sold twice, products exclude each other, or the pair
                is promised in the other direction.
        """
        ledger = self
        for one in reservations:
            if one not in ledger.reservations:
                ledger._check(one, flexible_mwh)
                ledger = ExclusivityLedger((*ledger.reservations, one))
        return ledger

    def release(self, contract: str) -> ExclusivityLedger:
        """Return the ledger without the reservations of a contract."""
        return ExclusivityLedger(
            tuple(one for one in self.reservations if one.contract != contract)
        )

    def _check(self, new: Reservation, flexible_mwh: Decimal | None) -> None:
        where = f"meter {new.meter} {new.half_hour}"
        if new.mwh <= 0:
            raise ContractError(f"{where}: {new.mwh} MWh to reserve must be above 0")
        other = Direction.UP if new.direction is Direction.DOWN else Direction.DOWN
        if self.held(new.meter, new.half_hour, other):
            raise ContractError(f"{where}: already promised {other}")
        for one in self.held(new.meter, new.half_hour, new.direction):
            if one.product != new.product and {one.product, new.product} not in STACKABLE:
                raise ContractError(
                    f"{where}: promised to {one.product}, which excludes {new.product}"
                )
        if flexible_mwh is None:
            return
        free = self.free_mwh(new.meter, new.half_hour, new.direction, flexible_mwh=flexible_mwh)
        if new.mwh > free:
            raise ContractError(
                f"{where}: {new.mwh} MWh for {new.product}, {free} of {flexible_mwh} MWh are free"
            )
