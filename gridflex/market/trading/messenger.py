"""Sending market messages: first into the ledger, then on their way.

What was recorded but not sent is sent when it is submitted again; what was sent was recorded. A
message that may not be sent is not recorded either.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from gridflex.errors import ContractError
from gridflex.ledger.canonical import digest
from gridflex.ledger.event import Event
from gridflex.market.messages.artefacts import Artefact
from gridflex.market.messages.drafts import Key
from gridflex.market.messages.feedback import Feedback
from gridflex.market.messages.idd import Receipt
from gridflex.market.messages.idd_items import FileError, Response
from gridflex.market.registry import UnitId
from gridflex.market.settlement.reported import report_event, unit_reports
from gridflex.market.settlement.s0142 import is_s0142, read_s0142
from gridflex.market.trading.desk import OutgoingFile, TradingDesk
from gridflex.market.trading.records import answer_event, artefact_event
from gridflex.market.trading.restoring import Recorded, Restored, restore

log = logging.getLogger(__name__)


class Ledger(Protocol):
    """Where messages are recorded; see `gridflex.adapters.ledger.store.LedgerStore`."""

    async def append(self, events: Sequence[Event], *, now: datetime) -> list[int]:
        """Record events and return their indexes; durable when this returns."""
        ...

    async def get(self, index: int) -> Recorded | None:
        """Return one entry."""
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

    def refuse(self, why: str) -> None:
        """Set the file that was yielded last aside, with the reason."""
        ...

    def refused(self) -> Mapping[str, str]:
        """Return why files were set aside, by name."""
        ...


class Messenger:
    """Drives a trading desk.

    Args:
        desk: Decides what may be sent and follows the answers.
        ledger: Where every message is recorded before it is sent.
        mailbox: To and from central systems.
        units: Whose settlement reports are recorded.
    """

    def __init__(
        self,
        desk: TradingDesk,
        *,
        ledger: Ledger,
        mailbox: Mailbox,
        units: Collection[UnitId] = (),
    ) -> None:
        self.desk = desk
        self._units = frozenset(units)
        self._ledger = ledger
        self._mailbox = mailbox

    async def submit(
        self, artefact: Artefact, *, now: datetime, split: Mapping[Key, Decimal] | None = None
    ) -> int:
        """Record a message, send it, and return its place in the ledger.

        Args:
            artefact: What to say.
            now: When; aware UTC. The file bears the time of the entry, so that it can be made
                again from the ledger, byte for byte.
            split: See `TradingDesk.draft`.

        Raises:
            ContractError: It may not be sent; nothing was recorded.
            SourceError: It was recorded but could not be handed over.
        """
        draft = self.desk.draft(artefact, now=now, split=split)
        (index,) = await self._ledger.append([artefact_event(draft)], now=now)
        entry = await self._ledger.get(index)
        at = datetime.fromisoformat(entry.event["recorded_time"]) if entry else now
        self._mailbox.send(self.desk.issue(draft, ledger_index=index, now=at))
        return index

    async def resume(self, entries: Iterable[Recorded], *, unit: UnitId, now: datetime) -> Restored:
        """Take up what an earlier process left, and send again what has no answer.

        Args:
            entries: See `gridflex.market.trading.restoring.restore`.
            unit: Which unit.
            now: When; aware UTC.

        Raises:
            ContractError: The entries do not belong together.
            SourceError: A file could not be handed over.
        """
        restored = restore(entries, desk=self.desk, unit=unit)
        for file in self.desk.unanswered(now=now):
            self._mailbox.send(file)
        return restored

    async def collect(self, *, now: datetime) -> list[Receipt | Feedback]:
        """Take the answers that came in, record them, and return them; settlement reports too.

        A file that answers nothing that was sent, or breaks the format, is set aside and holds
        up no other; one of a flow that nobody here reads is passed over.
        """
        answers: list[Receipt | Feedback] = []
        for payload in self._mailbox.collect():
            try:
                if is_s0142(payload):
                    await self._ledger.append(self._reports(payload), now=now)
                    continue
                taken = self.desk.take(payload, now=now)
            except ContractError as error:
                self._pass_over(error)
                continue
            events = [answer_event(one, file_sha256=digest(payload)) for one in taken]
            await self._ledger.append(events, now=now)
            answers += taken
        return answers

    def _reports(self, payload: bytes) -> list[Event]:
        try:
            report = read_s0142(payload.decode())
        except UnicodeDecodeError as error:
            raise ContractError(f"settlement report is not UTF-8 text: {error.reason}") from error
        found = unit_reports(report, units=self._units, file_sha256=digest(payload))
        events = [report_event(one) for one in found]
        if not events:
            log.info("the settlement report of %s %s names no unit here", report.day, report.run)
        return events

    @property
    def refused(self) -> Mapping[str, str]:
        """Why files that came in were set aside, by name."""
        return self._mailbox.refused()

    def _pass_over(self, error: ContractError) -> None:
        if isinstance(error, FileError) and error.response is Response.FILE_TYPE:
            log.info("a file that came in is kept unread: %s", error)
            return
        log.warning("a file that came in is set aside: %s", error)
        self._mailbox.refuse(str(error))

    def send_again(self, *, now: datetime) -> None:
        """Send again the files without an answer that can still make a difference."""
        for file in self.desk.send_again(now=now):
            self._mailbox.send(file)
