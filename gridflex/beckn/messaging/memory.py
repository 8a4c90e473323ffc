"""A `Store` that forgets: for the sandbox's counterparties and for tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from gridflex.beckn.contracts.states import OPENING, ContractState, Side
from gridflex.beckn.messaging.keeping import (
    Arrived,
    Decision,
    Delivery,
    HeldError,
    Hold,
    Outgoing,
    Pending,
    due_at,
)
from gridflex.beckn.messaging.receiving import Incoming
from gridflex.beckn.trust.replay import Novelty, judge
from gridflex.beckn.trust.verification import Background, is_answer
from gridflex.beckn.wire.context import Context


class MemoryStore:
    """Keeps everything in lists; one event loop at a time."""

    def __init__(self) -> None:
        self.received: list[Incoming] = []
        self.sent: list[Outgoing] = []
        self.deliveries: list[tuple[int, Delivery]] = []
        self.failures: dict[int, str] = {}
        self._contracts: dict[tuple[str, Side], ContractState] = {}
        self._holds: list[Hold] = []
        self._taken_up: set[int] = set()
        self._due: dict[int, tuple[datetime, int]] = {}

    @property
    def ended(self) -> list[ContractState]:
        """Contracts that are over."""
        return [one for one in self._contracts.values() if one.stage.is_final]

    async def background(self, context: Context, *, sender: str) -> Background:
        """See `gridflex.beckn.messaging.receiving.Inbox.background`."""
        is_callback = is_answer(context)
        asked = next((one for one in self.sent if self._asked(one, context)), None)
        side = Side.BAP if is_callback else Side.BPP
        return Background(
            earlier=tuple(
                one.signature
                for one in self.received
                if one.sender == sender
                and one.message.context.message_id == context.message_id
                and is_answer(one.message.context) is is_callback
            ),
            request_signature=asked.header.signature if asked and is_callback else None,
            request_body=asked.message.raw if asked and is_callback else None,
            state=self._contracts.get((context.transaction_id, side)),
            drafts=await self.drafts(sender) if context.action == OPENING else 0,
        )

    async def keep(self, incoming: Incoming) -> bool:
        """See `gridflex.beckn.messaging.receiving.Inbox.keep`."""
        context = incoming.message.context
        earlier = (await self.background(context, sender=incoming.sender)).earlier
        is_callback = is_answer(context)
        if earlier and not is_callback:
            return False
        if judge(incoming.signature, earlier, is_callback=is_callback) is not Novelty.NEW:
            return False
        self.received.append(incoming)
        return True

    async def arrived(self, *, limit: int) -> Sequence[Arrived]:
        """See `Store.arrived`."""
        waiting = (
            Arrived(number, one)
            for number, one in enumerate(self.received)
            if number not in self._taken_up
        )
        return [one for one, _ in zip(waiting, range(limit), strict=False)]

    async def pending(self, now: datetime, *, limit: int, per_peer: int) -> Sequence[Pending]:
        """See `Store.pending`."""
        due = sorted(number for number, (at, _) in self._due.items() if at <= now)
        to_peer: Counter[str] = Counter()
        found: list[Pending] = []
        for number in due:
            outgoing = self.sent[number]
            to_peer[outgoing.peer_id] += 1
            if to_peer[outgoing.peer_id] <= per_peer:
                found.append(Pending(number, outgoing, self._due[number][1]))
        return found[:limit]

    async def delivered(self, number: int, delivery: Delivery) -> None:
        """See `Store.delivered`."""
        self.deliveries.append((number, delivery))
        _, tries = self._due.pop(number)
        if delivery.retry_at is not None:
            self._due[number] = (delivery.retry_at, tries + 1)

    async def decide(self, decision: Decision) -> bool:
        """See `Store.decide`."""
        if decision.handled is not None and decision.handled in self._taken_up:
            return False
        kept = [one for one in self._holds if one.transaction_id not in decision.freed]
        for hold in decision.holds:
            if any(one.thing == hold.thing for one in kept):
                raise HeldError(hold.thing)
            kept.append(hold)
        self._holds = kept
        if decision.handled is not None:
            self._taken_up.add(decision.handled)
            if decision.failure:
                self.failures[decision.handled] = decision.failure
        for state in decision.states:
            self._contracts[state.transaction_id, state.side] = state
        for one in decision.outgoing:
            self._due[len(self.sent)] = (one.made_at, 0)
            self.sent.append(one)
        return True

    async def contract(self, transaction_id: str, side: Side) -> ContractState | None:
        """See `Store.contract`."""
        return self._contracts.get((transaction_id, side))

    async def open_contracts(self, side: Side) -> Sequence[ContractState]:
        """See `Store.open_contracts`."""
        return [
            one for one in self._contracts.values() if one.side is side and not one.stage.is_final
        ]

    async def drafts(self, peer_id: str) -> int:
        """See `Store.drafts`."""
        open_ones = await self.open_contracts(Side.BPP)
        return sum(one.stage.is_draft and one.peer_id == peer_id for one in open_ones)

    async def due_contracts(self, now: datetime) -> Sequence[ContractState]:
        """See `Store.due_contracts`."""
        due = [(one, due_at(one)) for one in self._contracts.values()]
        return [one for one, at in due if at is not None and at <= now]

    async def holds(self) -> Sequence[Hold]:
        """See `Store.holds`."""
        return [replace(one) for one in self._holds]

    def _asked(self, one: Outgoing, context: Context) -> bool:
        return not one.is_callback and one.message.context.message_id == context.message_id
