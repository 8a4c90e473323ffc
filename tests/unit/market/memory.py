"""A ledger in memory, for tests of what reads and appends to one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from gridflex.adapters.ledger.store import LedgerStore, Logged
from gridflex.errors import ConflictError
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import Event, EventType
from gridflex.ledger.verify.merkle import leaf_hash


class MemoryLedger(LedgerStore):
    """Keeps entries in a list; the same event again keeps its place, as in the real one."""

    def __init__(self) -> None:
        self.logged: list[Logged] = []
        self._places: dict[str, int] = {}

    async def append(self, events: Sequence[Event], *, now: datetime) -> list[int]:
        for event in events:
            if event.id not in self._places:
                index = self._places[event.id] = len(self.logged)
                entry = event.entry(recorded_at=now)
                self.logged.append(Logged(index, leaf_hash(entry), entry))
        return [self._places[event.id] for event in events]

    async def append_unless_changed(
        self, events: Sequence[Event], *, now: datetime, since: int, kinds: Sequence[EventType]
    ) -> list[int]:
        if await self.find(*kinds, since=since):
            raise ConflictError(f"{', '.join(kinds)} since {since}")
        return await self.append(events, now=now)

    async def size(self) -> int:
        return len(self.logged)

    async def get(self, index: int) -> Logged | None:
        return self.logged[index] if index < len(self.logged) else None

    async def newest(
        self,
        *event_types: EventType,
        subject: str | None = None,
        recorded_before: datetime | None = None,
    ) -> Logged | None:
        found = await self.find(*event_types, subject=subject)
        return next(
            (
                one
                for one in reversed(found)
                if recorded_before is None
                or datetime.fromisoformat(one.event["recorded_time"]) < recorded_before
            ),
            None,
        )

    async def find(
        self,
        *event_types: EventType,
        subject: str | None = None,
        first: HalfHour | None = None,
        last: HalfHour | None = None,
        since: int = 0,
        recorded_since: datetime | None = None,
        limit: int | None = None,
    ) -> list[Logged]:
        return [
            one
            for one in self.logged[since:]
            if (
                recorded_since is None
                or datetime.fromisoformat(one.event["recorded_time"]) >= recorded_since
            )
            and (not event_types or one.event["event_type"] in event_types)
            and (subject is None or one.event["subject"] == subject)
            and (first is None or _is_about(one, lambda about: about >= first))
            and (last is None or _is_about(one, lambda about: about <= last))
        ][:limit]


def _is_about(one: Logged, holds: Callable[[HalfHour], bool]) -> bool:
    about = one.event["valid_time"]
    return about is not None and holds(HalfHour.parse(about))
