"""One participant in all parts: requests go to who sells, callbacks to who asked.

A contract is about a block of compute or about a need for less load; each has a party on either
side. What has too many meters for one message is said in pages here, whoever says it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final, Protocol

from gridflex.beckn.contracts.states import ContractState, Side, Stage, Step
from gridflex.beckn.flexibility.needs import is_need, read_bid
from gridflex.beckn.flexibility.reporting import SETTLE_AFTER, relevant
from gridflex.beckn.messaging.keeping import Store
from gridflex.beckn.messaging.participant import Participant
from gridflex.beckn.messaging.reacting import Reaction, Saying
from gridflex.beckn.messaging.writing import peer_of
from gridflex.beckn.roles.answering import Answerer
from gridflex.beckn.roles.buying import Buyer
from gridflex.beckn.roles.procuring import Procurer
from gridflex.beckn.roles.selling import Seller
from gridflex.beckn.trust.verification import is_answer
from gridflex.beckn.wire.entities import Contract
from gridflex.beckn.wire.errors import BecknError, Code, reading_attributes
from gridflex.beckn.wire.messages import Message
from gridflex.beckn.wire.meters import (
    METERS_PER_PAGE,
    asked_page,
    cursor_in,
    pushed,
    tags_for,
    wanted_cursor,
    without_performance,
)
from gridflex.beckn.wire.payloads import (
    CatalogsMessage,
    ContractMessage,
    KnownContractMessage,
    PublishedMessage,
)
from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour

log = logging.getLogger(__name__)

CHASE_AFTER: Final = SETTLE_AFTER + 3
"""Half-hours after the last one of a contract before its peer is asked where its settlement is."""

GIVE_UP_AFTER: Final = 7 * 48


class Party(Protocol):
    """One part in one kind of contract."""

    async def react(self, message: Message, step: Step | None) -> Reaction:
        """See `gridflex.beckn.messaging.reacting.Trader.react`."""
        ...


class Reporter(Protocol):
    """Who has something to say about active contracts."""

    async def report(self, state: ContractState) -> Contract | None:
        """Return what is to be said about an active contract now; None if nothing is new."""
        ...


@dataclass(frozen=True, slots=True)
class Told:
    """What came of reporting.

    Args:
        contracts: Contracts whose buyers were told something.
        failures: Why nothing can be said about a contract, by transaction.
    """

    contracts: int
    failures: Mapping[str, str] = field(default_factory=dict)


class Desk:
    """`gridflex.beckn.messaging.reacting.Trader` made of up to four parties.

    Args:
        seller: Who answers requests for blocks; None sells none.
        buyer: Who acts on callbacks about blocks; None buys none.
        procurer: Who answers offers to needs of ours; None has none.
        answerer: Who acts on callbacks about others' needs; None answers none.
        meters_per_page: Meters in one message.
    """

    def __init__(
        self,
        *,
        seller: Seller | None = None,
        buyer: Buyer | None = None,
        procurer: Procurer | None = None,
        answerer: Answerer | None = None,
        meters_per_page: int = METERS_PER_PAGE,
    ) -> None:
        self._seller = seller
        self._buyer = buyer
        self._procurer = procurer
        self._answerer = answerer
        self._size = meters_per_page

    async def react(self, message: Message, step: Step | None, *, now: datetime) -> Reaction:  # noqa: ARG002 - the port's
        """See `gridflex.beckn.messaging.reacting.Trader.react`."""
        if isinstance(message.payload, PublishedMessage):
            for result in message.payload.results:
                reasons = "; ".join(error.message for error in result.errors or ())
                log.info("catalogue %s: %s %s", result.catalog_id, result.status, reasons)
            return Reaction()
        if isinstance(message.payload, CatalogsMessage):
            return await self._choose(message)
        if is_answer(message.context):
            return await self._go_on(message, step)
        return await self._answer(message, step)

    async def ended(self, state: ContractState) -> None:
        """See `gridflex.beckn.messaging.reacting.Trader.ended`."""
        log.info(
            "contract %s with %s is %s: %s",
            state.contract_id or state.transaction_id,
            state.peer_id,
            state.stage,
            state.reason or "as agreed",
        )

    async def report(self, state: ContractState) -> Contract | None:
        """See `Reporter.report`."""
        reporter: Reporter | None = self._procurer if is_need(state.contract) else self._seller
        return await reporter.report(state) if reporter else None

    async def _choose(self, message: Message) -> Reaction:
        chosen: list[Saying] = []
        for party in (self._buyer, self._answerer):
            if party is not None:
                chosen += (await party.react(message, None)).sayings
        return Reaction(tuple(chosen))

    async def _go_on(self, message: Message, step: Step | None) -> Reaction:
        if step is None:
            return Reaction()
        party: Party | None = self._answerer if is_need(step.state.contract) else self._buyer
        reaction = await party.react(message, step) if party else Reaction()
        return replace(reaction, sayings=(*reaction.sayings, *_pulls(message, step)))

    async def _answer(self, message: Message, step: Step | None) -> Reaction:
        contract = message.contract if isinstance(message.payload, ContractMessage) else None
        if step is not None:
            contract = step.state.contract
        party: Party | None = self._seller
        if contract is not None and is_need(contract):
            party = self._procurer
        if party is None:
            raise BecknError(Code.POL_ENGAGEMENT_REFUSED, "nothing of this kind is sold here")
        reaction = await party.react(message, step)
        if message.action != "status":
            return reaction
        cursor = cursor_in(message.context.tags)
        return replace(
            reaction, sayings=tuple(self._paged(one, cursor) for one in reaction.sayings)
        )

    def _paged(self, saying: Saying, cursor: str | None) -> Saying:
        if not isinstance(saying.payload, ContractMessage):
            return saying
        contract = asked_page(saying.payload.contract, cursor, self._size)
        return replace(saying, payload=ContractMessage(contract=contract))


async def report_all(
    participant: Participant,
    reporter: Reporter,
    store: Store,
    *,
    now: datetime,
    meters_per_page: int = METERS_PER_PAGE,
) -> Told:
    """Tell every buyer what is new about its contract; one that cannot be read holds up no other.

    Args:
        participant: In whose name.
        reporter: What there is to say.
        store: The contracts.
        now: Wall time.
        meters_per_page: Meters in one message.
    """
    told, failures = 0, {}
    for state in await store.open_contracts(Side.BPP):
        try:
            with reading_attributes():
                told += await _report(participant, reporter, state, now, meters_per_page)
        except ContractError as error:
            log.warning("contract %s of %s: %s", state.transaction_id, state.peer_id, error)
            failures[state.transaction_id] = str(error)
    return Told(told, failures)


async def _report(
    participant: Participant, reporter: Reporter, state: ContractState, now: datetime, size: int
) -> bool:
    contract = await reporter.report(state)
    if contract is None:
        return False
    for page in pushed(state.contract, contract, size):
        payload = ContractMessage(contract=page)
        state = await participant.tell(state, "on_status", payload, now=now)
    return True


async def amend_all(
    participant: Participant, answerer: Answerer, store: Store, *, now: datetime
) -> Told:
    """Ask for what has changed about answers to needs; one that cannot be read holds up no other.

    Args:
        participant: In whose name.
        answerer: What there is to ask.
        store: The contracts.
        now: Wall time.
    """
    asked, failures = 0, {}
    for state in await store.open_contracts(Side.BAP):
        if not is_need(state.contract):
            continue
        try:
            with reading_attributes():
                asked += await _amend(participant, answerer, state, now)
        except ContractError as error:
            log.warning("contract %s of %s: %s", state.transaction_id, state.peer_id, error)
            failures[state.transaction_id] = str(error)
    return Told(asked, failures)


async def chase_all(
    participant: Participant, store: Store, *, half_hour: HalfHour, now: datetime
) -> Told:
    """Ask what became of contracts that should be settled; end those that nobody ever settles.

    Args:
        participant: In whose name.
        store: The contracts.
        half_hour: The running one.
        now: Wall time.
    """
    asked, failures = 0, {}
    for state in await store.open_contracts(Side.BAP):
        if state.stage is not Stage.ACTIVE or state.awaiting is not None:
            continue
        try:
            with reading_attributes():
                late = _ends(state.contract).until(half_hour)
                if late >= GIVE_UP_AFTER:
                    reason = f"not settled {late // 2} h after it was over"
                    await participant.abandon(state, reason=reason, now=now)
                elif late >= CHASE_AFTER:
                    await _ask_status(participant, state, now)
                asked += late >= CHASE_AFTER
        except ContractError as error:
            log.warning("contract %s of %s: %s", state.transaction_id, state.peer_id, error)
            failures[state.transaction_id] = str(error)
    return Told(asked, failures)


def _ends(contract: Contract) -> HalfHour:
    """Return the first half-hour after the delivery of a contract."""
    if is_need(contract):
        return read_bid(contract).table.end
    return max(one for commitment in contract.commitments for one in relevant(commitment)) + 1


async def _ask_status(participant: Participant, state: ContractState, now: datetime) -> None:
    await participant.start(
        "status",
        KnownContractMessage(contract=without_performance(state.contract)),
        peer=peer_of(state),
        now=now,
        transaction_id=state.transaction_id,
    )


async def _amend(
    participant: Participant, answerer: Answerer, state: ContractState, now: datetime
) -> bool:
    wanted = await answerer.amend(state)
    if wanted is None:
        return False
    kind = KnownContractMessage if wanted.action == "status" else ContractMessage
    await participant.start(
        wanted.action,
        kind(contract=wanted.contract),
        peer=peer_of(state),
        now=now,
        transaction_id=state.transaction_id,
        holds=wanted.holds,
    )
    return True


def _pulls(message: Message, step: Step) -> tuple[Saying, ...]:
    """Return the requests for pages of meters that are missing."""
    if not isinstance(message.payload, ContractMessage):
        return ()
    contract = step.state.contract
    asked = KnownContractMessage(contract=without_performance(contract)) if contract.id else None
    return tuple(
        Saying(asked, "status", tags=tags_for(cursor))
        for cursor in wanted_cursor(contract, message.contract.performance or ())
        if asked is not None
    )
