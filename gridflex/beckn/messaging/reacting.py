"""What follows from a message: what is said, and what is promised by that."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from gridflex.beckn.contracts.states import ContractState, Step
from gridflex.beckn.messaging.keeping import Hold
from gridflex.beckn.messaging.writing import Peer
from gridflex.beckn.wire.entities import Wire
from gridflex.beckn.wire.errors import BecknError
from gridflex.beckn.wire.messages import Message


@dataclass(frozen=True, slots=True)
class Saying:
    """One thing that a trader wants to say.

    Args:
        payload: What.
        action: A request, or a callback that nobody asked for; None answers what arrived.
        error: Why it is a failure.
        is_new: Whether it opens a transaction of its own.
        peer: To whom, if not to the other party of the contract.
        tags: What a request says in its context beside its profile.
    """

    payload: Wire
    action: str | None = None
    error: BecknError | None = None
    is_new: bool = False
    peer: Peer | None = None
    tags: list[dict[str, Any]] | None = None


@dataclass(frozen=True, slots=True)
class Reaction:
    """What a trader makes of a message.

    Args:
        sayings: What it says.
        holds: What it promises by that.
        renews_holds: Whether that is all that the contract holds from now on.
    """

    sayings: tuple[Saying, ...] = ()
    holds: tuple[Hold, ...] = ()
    renews_holds: bool = False


class Trader(Protocol):
    """Decides what is said; see `gridflex.beckn.roles.trading.Desk`."""

    async def react(self, message: Message, step: Step | None, *, now: datetime) -> Reaction:
        """Return what follows from a message.

        Args:
            message: Verified.
            step: What it did to the contract; None if it is about none.
            now: Wall time.

        Raises:
            ContractError: The request cannot be met; the peer is told by callback.
        """
        ...

    async def ended(self, state: ContractState) -> None:
        """Take note that a contract ended."""
        ...


def sayings(*some: Saying) -> Reaction:
    """Return a reaction that only says something."""
    return Reaction(sayings=tuple(some))
