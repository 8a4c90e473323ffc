"""What the market needs kept, as ports; adapters implement them over a database.

Nothing is ever changed in place: a new version is a new entry, and readers ask for what was
known at an instant.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Protocol

from gridflex.halfhour import HalfHour
from gridflex.market.attribution import Contribution
from gridflex.market.billing import Month
from gridflex.market.desk import OutgoingFile
from gridflex.market.exclusivity import ExclusivityLedger, Reservation
from gridflex.market.invoice import Document
from gridflex.market.meters import MeterHistory, Reading
from gridflex.market.position import Event, Position
from gridflex.market.reconciliation import Trade
from gridflex.market.registry import Msid, Registry, UnitId
from gridflex.market.settlement import AccountPeriod
from gridflex.market.submitted import Commitment


class LedgerPort(Protocol):
    """The append-only ledger, as the market sees it."""

    def append(self, *, kind: str, body: Mapping[str, object]) -> int:
        """Append an event and return its index; it is durable when this returns."""
        ...


class Mailbox(Protocol):
    """Where files to central systems are handed over and theirs are collected."""

    def send(self, file: OutgoingFile) -> None:
        """Hand over a file whole, or not at all; the same file again changes nothing.

        Raises:
            SourceError: It could not be handed over.
        """
        ...

    def collect(self) -> Iterator[bytes]:
        """Yield the files that came in, oldest first, each once."""
        ...


class RegistryStore(Protocol):
    """Sites, units, consents and allocations."""

    def load(self, *, known_at: datetime) -> Registry:
        """Return the registry as it was known at an instant."""
        ...


class MeterStore(Protocol):
    """Readings with all their versions."""

    def append(self, readings: Iterable[Reading]) -> int:
        """Keep readings; those already kept count once. Return how many were new."""
        ...

    def history(self, meter: Msid, *, first: date, last: date) -> MeterHistory:
        """Return a meter's readings on settlement days from ``first`` to ``last``."""
        ...


class PositionStore(Protocol):
    """Commitments, positions and trades."""

    def commit(self, commitment: Commitment) -> None:
        """Keep a commitment."""
        ...

    def commitments(self, unit: UnitId, *, half_hour: HalfHour) -> Iterator[Commitment]:
        """Yield all commitments for a unit and half-hour, oldest first."""
        ...

    def record(self, unit: UnitId, *, half_hour: HalfHour, event: Event) -> Position:
        """Apply an event to a position and keep both, in one transaction."""
        ...

    def open_positions(self, *, now: datetime) -> Iterator[Position]:
        """Yield the positions that are not settled yet."""
        ...

    def trades(self, *, first: HalfHour, half_hours: int) -> Iterator[Trade]:
        """Yield the trades that deliver in a span."""
        ...

    def next_sequence(self, *, from_role: str, from_party: str) -> int:
        """Reserve the next file number of a sender; never given out twice."""
        ...


class ExclusivityStore(Protocol):
    """What is promised of each meter pair."""

    def load(self, *, first: HalfHour, half_hours: int) -> ExclusivityLedger:
        """Return the reservations in a span."""
        ...

    def reserve(self, reservations: Iterable[Reservation], *, flexible_mwh: Decimal) -> None:
        """Keep all of the reservations or none, against concurrent writers."""
        ...


class SettlementStore(Protocol):
    """Inputs of settlement."""

    def append(self, period: AccountPeriod) -> None:
        """Keep the inputs of one account's half-hour in one run."""
        ...

    def periods(self, *, account: str, first: date, last: date) -> Iterator[AccountPeriod]:
        """Yield the inputs of settlement days from ``first`` to ``last``, all runs."""
        ...

    def contributions(self, *, first: date, last: date) -> Iterator[Contribution]:
        """Yield what jobs did on those settlement days."""
        ...


class InvoiceStore(Protocol):
    """Documents sent, and what they charged."""

    def append(self, document: Document) -> None:
        """Keep a document under its number; refuses a number that is taken."""
        ...

    def billed_gbp(self) -> Mapping[Month, Decimal]:
        """Return commission billed so far per settlement month, credits taken off."""
        ...

    def next_number(self) -> int:
        """Return the next running number."""
        ...
