"""A participant: takes up what arrived, keeps what follows from it, sends what is to be sent.

Contract states, retries and time limits are handled here, the same for every trade; what is
said and agreed is a `Trader`'s. Nothing here does I/O but through its ports, and nothing is
remembered but in the store.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Final

from gridflex.beckn.contracts.lifecycle import (
    MOST_DRAFTS,
    advance,
    give_up,
    lapse,
    open_contract,
    require_few_drafts,
    require_same,
)
from gridflex.beckn.contracts.phrasing import as_cancelled, as_named
from gridflex.beckn.contracts.states import ContractState, Patience, Side, Step
from gridflex.beckn.messaging.acknowledging import Acknowledgement
from gridflex.beckn.messaging.keeping import Arrived, Decision, Hold, Outgoing, Store
from gridflex.beckn.messaging.reacting import Reaction, Saying, Trader
from gridflex.beckn.messaging.referring import Library, with_lists
from gridflex.beckn.messaging.writing import Author, Peer, peer_of
from gridflex.beckn.trust.verification import Background, is_answer
from gridflex.beckn.wire.entities import Wire
from gridflex.beckn.wire.errors import BecknError, Code, reading_attributes
from gridflex.beckn.wire.messages import Message
from gridflex.beckn.wire.payloads import ContractMessage
from gridflex.errors import ContractError

log = logging.getLogger(__name__)

AT_ONCE: Final = 100
"""Messages taken up in one go."""

SERVICE_ACTIONS: Final = frozenset({"discover", "catalog/publish"})


class Participant:
    """One participant at work.

    Args:
        author: In whose name.
        store: What is kept.
        trader: Who decides.
        patience: How long it waits.
        library: How lists that lie elsewhere are fetched; None leaves them there.
        most_drafts: Drafts that one peer may have open with us.
    """

    def __init__(
        self,
        author: Author,
        *,
        store: Store,
        trader: Trader,
        patience: Patience | None = None,
        library: Library | None = None,
        most_drafts: int = MOST_DRAFTS,
    ) -> None:
        self._author = author
        self._most_drafts = most_drafts
        self._store = store
        self._trader = trader
        self._patience = patience or Patience()
        self._library = library

    async def start(
        self,
        action: str,
        payload: Wire,
        *,
        peer: Peer,
        now: datetime,
        transaction_id: str | None = None,
        holds: tuple[Hold, ...] | None = None,
    ) -> str:
        """Keep a request of ours to be sent, and return its transaction id.

        Args:
            action: What is asked.
            payload: With what.
            peer: Of whom.
            now: Wall time.
            transaction_id: The transaction; a new one by default.
            holds: All that its contract holds from now on; what it holds by default.

        Raises:
            HeldError: Another contract holds some of that; nothing is kept.
        """
        transaction_id = transaction_id or self._author.new_id()
        said = self._author.request(
            action, payload, peer=peer, transaction_id=transaction_id, now=now
        )
        states: tuple[ContractState, ...] = ()
        if _is_about_contract(said.message):
            known = await self._store.contract(transaction_id, Side.BAP)
            states = (self._step(known, said.message, side=Side.BAP, now=now).state,)
        freed = () if holds is None else (transaction_id,)
        decision = Decision(states=states, outgoing=(said,), holds=holds or (), freed=freed)
        await self._store.decide(decision)
        return transaction_id

    async def tell(
        self,
        state: ContractState,
        action: str,
        payload: Wire,
        *,
        now: datetime,
        error: BecknError | None = None,
    ) -> ContractState:
        """Keep a callback that nobody asked for, and return what it makes of the contract."""
        said = self._author.report(state, action, payload, now=now, error=error)
        step = advance(state, said.message, now=now, patience=self._patience)
        await self._store.decide(
            Decision(states=(step.state,), outgoing=(said,), freed=_freed(step.state))
        )
        await self._note_end(step.state)
        return step.state

    async def handle(self, now: datetime) -> int:
        """Take up what arrived and return how many messages that were."""
        arrived = await self._store.arrived(limit=AT_ONCE)
        for one in arrived:
            await self._take_up(one, now)
        return len(arrived)

    async def lapse(self, now: datetime) -> int:
        """End what has run out of time and return how many contracts that were."""
        count = 0
        for state in await self._store.due_contracts(now):
            step = lapse(state, now=now)
            if step is not None:
                await self._keep_end(step, now)
                count += 1
        return count

    async def withdraw(self, state: ContractState, *, reason: BecknError, now: datetime) -> None:
        """Leave a contract as its seller, and say so."""
        step = give_up(state, reason=reason.reason, code=reason.code)
        if step.is_stale:
            return
        payload = ContractMessage(contract=as_cancelled(state.contract, reason.reason))
        said = _if_possible(
            lambda: self._author.report(state, "on_cancel", payload, now=now, error=reason)
        )
        await self._store.decide(
            Decision(states=(step.state,), outgoing=said, freed=_freed(step.state))
        )
        await self._note_end(step.state)

    async def abandon(self, state: ContractState, *, reason: str, now: datetime) -> None:
        """End a contract about which its peer keeps silent; there is nobody to tell."""
        await self._keep_end(give_up(state, reason=reason), now)

    async def _take_up(self, arrived: Arrived, now: datetime) -> None:
        """Decide about a message and keep that; what cannot be decided is refused, then set aside.

        Whatever a peer wrote, its message is taken up once and holds up no other.
        """
        try:
            decision = await self._decide(arrived, now)
            await self._store.decide(decision)
        except ContractError as error:
            log.debug("%s is refused", arrived.incoming.message.action, exc_info=True)
            decision = await self._refuse(arrived, _refused(error), now)
        for state in decision.states:
            await self._note_end(state)

    async def _decide(self, arrived: Arrived, now: datetime) -> Decision:
        message = arrived.incoming.message
        side = Side.BAP if is_answer(message.context) else Side.BPP
        with reading_attributes():
            if self._library is not None:
                message = await with_lists(message, self._library)
            step = await self._step_of(message, side, now)
            reaction = await self._trader.react(message, step, now=now)
            return self._compose(arrived, step, reaction, side=side, now=now)

    async def _refuse(self, arrived: Arrived, error: BecknError, now: datetime) -> Decision:
        try:
            with reading_attributes():
                decision = await self._refusal(arrived, error, now)
                await self._store.decide(decision)
        except ContractError as fault:
            log.warning("%s cannot be answered: %s", arrived.incoming.message.action, fault)
            decision = Decision(handled=arrived.number, failure=str(error))
            await self._store.decide(decision)
        return decision

    async def _step_of(self, message: Message, side: Side, now: datetime) -> Step | None:
        known = await self._store.contract(message.context.transaction_id, side)
        if not _is_about_contract(message):
            return Step(known, known) if known else None
        if known is None and side is Side.BPP:
            peer_id = str(message.context.bap_id)
            drafts = await self._store.drafts(peer_id)
            require_few_drafts(peer_id, drafts, most=self._most_drafts)
        return self._step(known, message, side=side, now=now)

    def _compose(
        self,
        arrived: Arrived,
        step: Step | None,
        reaction: Reaction,
        *,
        side: Side,
        now: datetime,
    ) -> Decision:
        state = step.state if step else None
        outgoing, states = [], []
        for saying in reaction.sayings:
            said = self._written(saying, arrived, state, now)
            outgoing.append(said)
            if not _is_about_contract(said.message):
                continue
            if saying.is_new:
                opened = self._step(None, said.message, side=Side.BAP, now=now)
                states.append(opened.state)
            elif state is not None:
                state = self._step(state, said.message, side=side, now=now).state
        if step is not None and step.must_cancel and state is not None:
            outgoing += self._cancellation(state, now)
        if state is not None and (step is None or state != step.before):
            states.append(state)
        renewed = (state.transaction_id,) if state is not None and reaction.renews_holds else ()
        return Decision(
            handled=arrived.number,
            states=tuple(states),
            outgoing=tuple(outgoing),
            holds=reaction.holds,
            freed=(*renewed, *(one for state in states for one in _freed(state))),
        )

    def _written(
        self, saying: Saying, arrived: Arrived, state: ContractState | None, now: datetime
    ) -> Outgoing:
        if saying.action is None:
            return self._author.answer(
                arrived.incoming, saying.payload, now=now, error=saying.error
            )
        if saying.action.startswith("on_") and state is not None:
            return self._author.report(
                state, saying.action, saying.payload, now=now, error=saying.error
            )
        peer = saying.peer or (peer_of(state) if state else None)
        if peer is None:
            raise ValueError(f"{saying.action} is for nobody")
        context = arrived.incoming.message.context
        return self._author.request(
            saying.action,
            saying.payload,
            peer=peer,
            transaction_id=self._author.new_id() if saying.is_new else context.transaction_id,
            now=now,
            tags=saying.tags,
        )

    async def _refusal(self, arrived: Arrived, error: BecknError, now: datetime) -> Decision:
        """Tell a request's sender why it cannot be; of a callback only keep the reason."""
        message = arrived.incoming.message
        log.info("%s of %s: %s", message.action, arrived.incoming.sender, error)
        done = Decision(handled=arrived.number, failure=str(error))
        if is_answer(message.context) or not isinstance(message.payload, ContractMessage):
            return done
        known = await self._store.contract(message.context.transaction_id, Side.BPP)
        if known is not None and not known.stage.is_draft:
            said = self._author.answer(
                arrived.incoming, ContractMessage(contract=known.contract), now=now, error=error
            )
            return replace(done, outgoing=(said,))
        payload = ContractMessage(contract=as_cancelled(message.contract, error.reason))
        said = self._author.answer(arrived.incoming, payload, now=now, error=error)
        if known is None:
            return replace(done, outgoing=(said,))
        state = give_up(known, reason=error.reason, code=error.code).state
        return replace(done, outgoing=(said,), states=(state,), freed=_freed(state))

    def _step(
        self, known: ContractState | None, message: Message, *, side: Side, now: datetime
    ) -> Step:
        if known is None:
            return open_contract(message, side=side, now=now, patience=self._patience)
        return advance(known, message, now=now, patience=self._patience)

    async def _keep_end(self, step: Step, now: datetime) -> None:
        outgoing = self._cancellation(step.state, now) if step.must_cancel else ()
        await self._store.decide(
            Decision(states=(step.state,), outgoing=outgoing, freed=_freed(step.state))
        )
        await self._note_end(step.state)

    async def _note_end(self, state: ContractState) -> None:
        if state.stage.is_final:
            await self._trader.ended(state)

    def _cancellation(self, state: ContractState, now: datetime) -> tuple[Outgoing, ...]:
        """Return the request that tells the peer of a contract that we have given up.

        A contract without an id cannot be named, and no peer has agreed to one.
        """
        if state.side is not Side.BAP or not state.contract_id:
            return ()
        payload = as_named(state.contract, state.reason or "given up")
        return _if_possible(
            lambda: self._author.request(
                "cancel",
                payload,
                peer=peer_of(state),
                transaction_id=state.transaction_id,
                now=now,
            )
        )

    async def note_outcome(
        self, outgoing: Outgoing, heard: Acknowledgement, *, now: datetime
    ) -> None:
        """Take note of how a message of ours ended up.

        A request that was refused for good, or that no callback will answer, ends a draft. A
        confirmation that its buyer never took is withdrawn.
        """
        if heard.expects_callback or (outgoing.is_callback and heard.is_ack):
            return
        context = outgoing.message.context
        side = Side.BPP if outgoing.is_callback else Side.BAP
        state = await self._store.contract(context.transaction_id, side)
        if state is None or state.stage.is_final:
            return
        error = heard.error or BecknError(Code.NET_CALLBACK_FAILED, "no callback will follow")
        if outgoing.is_callback:
            if context.action == "on_confirm":
                await self.withdraw(state, reason=error, now=now)
            return
        waiting = state.awaiting
        if waiting is None or waiting.message_id != context.message_id:
            return
        if waiting.action in {"select", "init", "confirm"}:
            step = give_up(state, reason=error.reason, code=error.code)
            await self._keep_end(step, now)
        elif heard.error is not None:
            await self._store.decide(Decision(states=(replace(state, awaiting=None),)))


def screen_contract(
    message: Message, background: Background, now: datetime, *, most_drafts: int = MOST_DRAFTS
) -> None:
    """Refuse at once what the state of its contract, or the number of drafts, does not allow.

    Raises:
        BecknError: It is not possible now.
    """
    action = message.action
    if is_answer(message.context):
        if background.state is not None:
            require_same(background.state, message)
        return
    if action in SERVICE_ACTIONS:
        raise BecknError(Code.CTX_ACTION_MISMATCH, f"{action} is for the network's services")
    patience = Patience()
    if background.state is None:
        step = open_contract(message, side=Side.BPP, now=now, patience=patience)
        require_few_drafts(step.state.peer_id, background.drafts, most=most_drafts)
    elif _is_about_contract(message):
        advance(background.state, message, now=now, patience=patience)


def _if_possible(write: Callable[[], Outgoing]) -> tuple[Outgoing, ...]:
    """Return a message; none if what a peer wrote into the contract makes it too large to send."""
    try:
        return (write(),)
    except BecknError as error:
        log.warning("a peer cannot be told that a contract ended: %s", error)
        return ()


def _refused(error: ContractError) -> BecknError:
    if isinstance(error, BecknError):
        return error
    return BecknError(Code.BIZ_GENERIC_ERROR, str(error))


def _is_about_contract(message: Message) -> bool:
    return isinstance(message.payload, ContractMessage)


def _freed(state: ContractState) -> tuple[str, ...]:
    return (state.transaction_id,) if state.stage.is_final else ()
