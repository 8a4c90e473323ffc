"""Who asks: picks from catalogues, then answers each callback with the next request.

Nothing is remembered between messages: what was asked is in the contract, and each answer is
checked before the next step.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from gridflex.beckn.contracts.states import Side, Stage, Step
from gridflex.beckn.flexibility.needs import is_need
from gridflex.beckn.messaging.keeping import Store
from gridflex.beckn.messaging.reacting import Reaction, Saying, sayings
from gridflex.beckn.messaging.writing import Peer
from gridflex.beckn.wire.entities import Catalog, Contract
from gridflex.beckn.wire.errors import BecknError, Code, reading_attributes
from gridflex.beckn.wire.messages import Message
from gridflex.beckn.wire.meters import is_whole
from gridflex.beckn.wire.payloads import CatalogsMessage, ContractMessage, KnownContractMessage

log = logging.getLogger(__name__)

NEXT: Final = {"on_select": "init", "on_init": "confirm"}

Ask = tuple[Peer, Contract]
"""Of whom something is asked, and the draft that asks it."""


class Asker(ABC):
    """Acts on callbacks about one kind of contract.

    Args:
        subscriber_id: Its own id.
        store: Its contracts.
        most_contracts: Contracts of this kind that are open at the same time.
        about_needs: Whether the kind is needs, else blocks.
    """

    def __init__(
        self, subscriber_id: str, *, store: Store, most_contracts: int, about_needs: bool
    ) -> None:
        self._id = subscriber_id
        self._store = store
        self._most = most_contracts
        self._about_needs = about_needs

    async def react(self, message: Message, step: Step | None) -> Reaction:
        """Return the next step; see `gridflex.beckn.messaging.reacting.Trader.react`."""
        if isinstance(message.payload, CatalogsMessage):
            return await self._choose(message.payload.catalogs)
        if step is None:
            return Reaction()
        if step.state.stage is Stage.COMPLETE:
            self._check_settlement(step)
        following = NEXT.get(message.action)
        if step.is_stale or step.state.stage.is_final:
            return Reaction()
        if following is None:
            return await self._follow(step)
        try:
            with reading_attributes():
                return await self._go_on(step, following)
        except BecknError as error:
            return _leave(step, error.reason)

    @abstractmethod
    async def _asks(self, catalogs: Sequence[Catalog], taken: set[str]) -> list[Ask]:
        """Return what to ask for, the best first.

        Args:
            catalogs: Of others, each with its address.
            taken: Resources that are ordered already.
        """

    @abstractmethod
    async def _go_on(self, step: Step, following: str) -> Reaction:
        """Return the request that follows from an answer.

        Args:
            step: What the answer did.
            following: ``init`` or ``confirm``.

        Raises:
            BecknError: What was answered is not wanted; the contract is left.
        """

    async def _follow(self, step: Step) -> Reaction:  # noqa: ARG002 - for who wants to
        """Return what follows from a statement that no request follows from."""
        return Reaction()

    @abstractmethod
    def _settlement_fault(self, contract: Contract) -> str | None:
        """Return how a settlement differs from what its own telemetry gives, if it does."""

    async def _choose(self, catalogs: Sequence[Catalog]) -> Reaction:
        open_ones = [
            one.contract
            for one in await self._store.open_contracts(Side.BAP)
            if is_need(one.contract) is self._about_needs
        ]
        taken = {
            resource.id
            for contract in open_ones
            for commitment in contract.commitments
            for resource in commitment.resources
        }
        of_others = [
            one for one in catalogs if one.bpp_id and one.bpp_uri and one.bpp_id != self._id
        ]
        room = max(0, self._most - len(open_ones))
        orders = await self._asks(of_others, taken) if room and of_others else []
        return sayings(
            *(
                Saying(ContractMessage(contract=contract), "select", is_new=True, peer=peer)
                for peer, contract in orders[:room]
            )
        )

    def _check_settlement(self, step: Step) -> None:
        state = step.state
        if not is_whole(state.contract.performance or ()):
            return
        fault = self._settlement_fault(state.contract)
        if fault is not None:
            log.warning("contract %s of %s: %s", state.contract_id, state.peer_id, fault)


def peer_in(catalog: Catalog) -> Peer:
    """Return whose catalogue it is."""
    return Peer(str(catalog.bpp_id), str(catalog.bpp_uri))


def unwanted(reason: str) -> BecknError:
    """Return the reason to leave a contract that is still a draft."""
    return BecknError(Code.BIZ_QUOTE_EXPIRED_OR_CHANGED, reason)


def _leave(step: Step, reason: str) -> Reaction:
    """Return what ends a draft that is not wanted any more.

    Raises:
        BecknError: It has no id by which its seller could be told; it lapses.
    """
    contract = step.state.contract
    if contract.id is None:
        raise unwanted(reason)
    status = contract.status.model_copy(update={"short_desc": reason}) if contract.status else None
    named = contract.model_copy(update={"status": status})
    return sayings(Saying(KnownContractMessage(contract=named), "cancel"))
