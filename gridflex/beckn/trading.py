"""One participant in both parts: requests go to the seller, callbacks to the buyer."""

from __future__ import annotations

import logging
from datetime import datetime

from gridflex.beckn.buying import Buyer
from gridflex.beckn.errors import BecknError, Code
from gridflex.beckn.keeping import Store
from gridflex.beckn.messages import Message
from gridflex.beckn.participant import Participant, Reaction
from gridflex.beckn.payloads import ContractMessage, PublishedMessage
from gridflex.beckn.selling import Seller
from gridflex.beckn.states import ContractState, Side, Step
from gridflex.beckn.verification import is_answer

log = logging.getLogger(__name__)


class Desk:
    """`gridflex.beckn.participant.Trader` made of a seller and a buyer.

    Args:
        seller: Who answers requests; None sells nothing.
        buyer: Who acts on callbacks; None buys nothing.
    """

    def __init__(self, *, seller: Seller | None = None, buyer: Buyer | None = None) -> None:
        self._seller = seller
        self._buyer = buyer

    async def react(self, message: Message, step: Step | None, *, now: datetime) -> Reaction:  # noqa: ARG002 - the port's
        """See `gridflex.beckn.participant.Trader.react`."""
        if isinstance(message.payload, PublishedMessage):
            for result in message.payload.results:
                reasons = "; ".join(error.message for error in result.errors or ())
                log.info("catalogue %s: %s %s", result.catalog_id, result.status, reasons)
            return Reaction()
        if is_answer(message.context):
            return await self._buyer.react(message, step) if self._buyer else Reaction()
        if self._seller is None:
            raise BecknError(Code.POL_ENGAGEMENT_REFUSED, "nothing is sold here")
        return await self._seller.react(message, step)

    async def ended(self, state: ContractState) -> None:
        """See `gridflex.beckn.participant.Trader.ended`."""
        log.info(
            "contract %s with %s is %s: %s",
            state.contract_id or state.transaction_id,
            state.peer_id,
            state.stage,
            state.reason or "as agreed",
        )


async def report_all(
    participant: Participant, seller: Seller, store: Store, *, now: datetime
) -> int:
    """Tell every buyer what is new about its contract; return how many were told.

    Args:
        participant: In whose name.
        seller: What there is to say.
        store: The contracts.
        now: Wall time.
    """
    told = 0
    for state in await store.open_contracts(Side.BPP):
        contract = await seller.report(state)
        if contract is not None:
            payload = ContractMessage(contract=contract)
            await participant.tell(state, "on_status", payload, now=now)
            told += 1
    return told
