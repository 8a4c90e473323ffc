"""The simulated energy market behind a folder: central agents and an exchange, in rounds.

It takes the files of ``outbox`` and the orders of ``orders``, and answers into ``inbox`` and
``trades``. What it took it keeps, in a folder named after what went wrong with it, so that it
goes on after a restart with the same books and numbers. All of it is *simulated* and says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Final

from gridflex.adapters.whole_files import write_whole
from gridflex.errors import SourceError
from gridflex.halfhour import HalfHour
from gridflex.market.messages.idd import read_header
from gridflex.market.messages.idd_items import FileError
from gridflex.market.trading.orders import Order, read_answer, read_order, write_answer
from gridflex.market.trading.reconciliation import Trade
from gridflex.sandbox.exchange import SimulatedExchange
from gridflex.sandbox.market import Mishap, SimulatedAgents
from gridflex.sandbox.reporting import ReportBasis, due_reports

KEPT: Final[Mapping[Mishap | None, str]] = {
    None: "taken",
    Mishap.LOSE: "lost",
    Mishap.GARBLE: "garbled",
    Mishap.MUTE: "muted",
    Mishap.REJECT: "rejected",
}
"""Folder of a file by what went wrong with it."""

REPORTS: Final = "reports"
"""Folder of the settlement reports that were published."""


@dataclass(frozen=True, slots=True)
class Quotation:
    """At what the exchange buys.

    Args:
        price_gbp_per_mwh: In every half-hour without a price of its own.
        prices: Per half-hour.
        depth_mw: Most it buys in each half-hour.
        lot_mw: Smallest step.
    """

    price_gbp_per_mwh: Decimal
    prices: Mapping[HalfHour, Decimal]
    depth_mw: Decimal = Decimal(50)
    lot_mw: Decimal = Decimal("0.1")


@dataclass(frozen=True, slots=True)
class Round:
    """What was done in one round.

    Args:
        files: Names of the files that were taken, each with what went wrong with it.
        answers: How many files went back.
        orders: References of the orders that were answered, each with its trade's id.
        reports: Names of the settlement reports that were published.
    """

    files: tuple[tuple[str, Mishap | None], ...]
    answers: int
    orders: tuple[tuple[str, str | None], ...]
    reports: tuple[str, ...] = ()


class FolderMarket:
    """Answers what is in a folder.

    Args:
        root: The folder; see `gridflex.adapters.market`.
        agents: Who take the files; their books are brought to where the kept files leave them.
        quotation: At what the exchange buys.
        basis: What settlement reports are made from; None publishes none.

    Raises:
        SourceError: The folder cannot be made or written into.
    """

    def __init__(
        self,
        root: Path,
        *,
        agents: SimulatedAgents,
        quotation: Quotation,
        basis: ReportBasis | None = None,
    ) -> None:
        self._root = root
        self._basis = basis
        self._agents = agents
        self._prices = dict(quotation.prices)
        self._usual = quotation.price_gbp_per_mwh
        _make_folders(root)
        self._resume()
        self._exchange = SimulatedExchange(
            self._prices,
            depth_mw=quotation.depth_mw,
            lot_mw=quotation.lot_mw,
            trades=sorted(self._concluded(), key=lambda one: one.id),
        )
        self._sent = self._answers_before()

    def round(self, now: datetime) -> Round:
        """Answer what is there.

        Args:
            now: GridFlex time.
        """
        files, answers = [], 0
        for path in _waiting(self._root / "outbox"):
            payload = path.read_bytes()
            mishap = self._agents.next_mishap(payload)
            for answer in self._agents.deliver_so(payload, mishap, now=now):
                self._answer(answer)
                answers += 1
            path.replace(self._root / KEPT[mishap] / path.name)
            files.append((path.name, mishap))
        orders = tuple(self._orders(now))
        return Round(tuple(files), answers, orders, tuple(self._reports(now)))

    def _reports(self, now: datetime) -> Iterator[str]:
        """Publish what is due; a copy of each is kept, so that it is published once."""
        if self._basis is None:
            return
        kept = self._root / REPORTS
        done = {path.name for path in _waiting(kept)}
        for name, text in due_reports(self._agents.book, self._basis, now=now, done=done):
            self._put(text.encode(), kind="S0142013")
            write_whole(kept / name, text.encode())
            yield name

    def _orders(self, now: datetime) -> Iterator[tuple[str, str | None]]:
        for path in _waiting(self._root / "orders"):
            answered = self._root / "trades" / path.name
            if answered.exists():
                continue
            order = read_order(path.read_bytes())
            trade = self._sell(order) if now < order.good_until else None
            reason = "" if trade else "not taken: too late, too much or below the limit"
            write_whole(answered, write_answer(order, trade, reason=reason))
            yield order.reference, trade.id if trade else None

    def _sell(self, order: Order) -> Trade | None:
        for one in order.first.span(order.half_hours):
            self._prices.setdefault(one, self._usual)
        return self._exchange.sell(
            first=order.first,
            half_hours=order.half_hours,
            mw=order.mw,
            limit_gbp_per_mwh=order.limit_gbp_per_mwh,
            reference=order.reference,
        )

    def _answer(self, payload: bytes) -> None:
        self._put(payload, kind=read_header(payload).file_type)

    def _put(self, payload: bytes, *, kind: str) -> None:
        self._sent += 1
        name = f"{self._sent:012d}-{kind}"
        write_whole(self._root / "inbox" / name, payload)

    def _resume(self) -> None:
        """Take the kept files again, each at the time it was made, and answer none of them."""
        kept = [
            (_made_at(payload), path.name, payload, mishap)
            for mishap, folder in KEPT.items()
            if mishap is not Mishap.LOSE
            for path in _waiting(self._root / folder)
            if (payload := path.read_bytes())
        ]
        for made_at, _, payload, mishap in sorted(kept, key=lambda one: one[:2]):
            self._agents.deliver_so(payload, mishap, now=made_at)

    def _concluded(self) -> Iterator[Trade]:
        for path in _waiting(self._root / "trades"):
            order = read_order((self._root / "orders" / path.name).read_bytes())
            if trade := read_answer(path.read_bytes(), order):
                yield trade

    def _answers_before(self) -> int:
        names = [one.name for folder in ("inbox", "read") for one in _waiting(self._root / folder)]
        return max((int(name[:12]) for name in names if name[:12].isdigit()), default=0)


def _make_folders(root: Path) -> None:
    try:
        for name in ("outbox", "inbox", "read", "orders", "trades", REPORTS, *KEPT.values()):
            (root / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SourceError(
            f"folder {root}: cannot be used: {error.strerror}; valid is one that can be written "
            "into"
        ) from error


def _made_at(payload: bytes) -> datetime:
    """Return when a file was made; a file without a header was never taken into account."""
    try:
        return read_header(payload).created_at
    except FileError:
        return datetime.max.replace(tzinfo=UTC)


def _waiting(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix != ".part")
