"""A contract as one party sees it, as a value, and as JSON for the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from gridflex.beckn.wire.context import utc, zulu
from gridflex.beckn.wire.entities import Contract

DEFAULT_ANSWER_TIME: Final = timedelta(minutes=5)
DEFAULT_DRAFT_TIME: Final = timedelta(minutes=30)


OPENING: Final = "select"
"""The request that opens a contract."""


class Side(StrEnum):
    """Which platform we are in this transaction: who asks, or who answers."""

    BAP = "bap"
    BPP = "bpp"


class Stage(StrEnum):
    """How far a contract has come."""

    SELECTING = "selecting"
    QUOTED = "quoted"
    INITIALISING = "initialising"
    INITIALISED = "initialised"
    CONFIRMING = "confirming"
    ACTIVE = "active"
    COMPLETE = "complete"
    CANCELLED = "cancelled"
    REFUSED = "refused"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """Whether nothing can change it any more."""
        return self in FINAL

    @property
    def is_draft(self) -> bool:
        """Whether nobody is bound yet."""
        return self in DRAFTS


FINAL: Final = frozenset({Stage.COMPLETE, Stage.CANCELLED, Stage.REFUSED, Stage.EXPIRED})
DRAFTS: Final = frozenset(
    {Stage.SELECTING, Stage.QUOTED, Stage.INITIALISING, Stage.INITIALISED, Stage.CONFIRMING}
)


@dataclass(frozen=True, slots=True)
class Awaiting:
    """An answer that we wait for.

    Args:
        action: Our request.
        message_id: Its id.
        until: When we stop waiting.
    """

    action: str
    message_id: str
    until: datetime


@dataclass(frozen=True, slots=True)
class ContractState:
    """One contract.

    Args:
        transaction_id: The business transaction.
        side: Which platform we are in it.
        peer_id: Subscriber id of the other.
        peer_uri: Its address.
        network_id: Where we met.
        stage: How far it has come.
        opened_at: When it began.
        lapses_at: When it expires if it is still a draft.
        contract: What was last said about it.
        told_at: Timestamp of the BPP's last statement about it.
        awaiting: The answer we wait for, if any.
        reason: Why it ended, for a person.
        reason_code: Error code, where a party gave one.
    """

    transaction_id: str
    side: Side
    peer_id: str
    peer_uri: str
    network_id: str
    stage: Stage
    opened_at: datetime
    lapses_at: datetime
    contract: Contract
    told_at: datetime | None = None
    awaiting: Awaiting | None = None
    reason: str | None = None
    reason_code: str | None = None

    @property
    def contract_id(self) -> str | None:
        """The id that the BPP gave it."""
        return self.contract.id


@dataclass(frozen=True, slots=True)
class Step:
    """What one message did.

    Args:
        before: The state before it; None if it opened the contract.
        state: The state now.
        is_stale: Whether it came too late to change anything.
        must_cancel: Whether the peer believes in a contract that we have given up, so that it
            has to be told.
    """

    before: ContractState | None
    state: ContractState
    is_stale: bool = False
    must_cancel: bool = False


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a party waits.

    Args:
        answer: For the callback to a request without ttl.
        draft: For a draft to be confirmed.
    """

    answer: timedelta = DEFAULT_ANSWER_TIME
    draft: timedelta = DEFAULT_DRAFT_TIME


def state_to_json(state: ContractState) -> dict[str, Any]:
    """Return a state as JSON; `state_from_json` reads it back."""
    waiting = state.awaiting
    return {
        "transaction_id": state.transaction_id,
        "side": state.side.value,
        "peer_id": state.peer_id,
        "peer_uri": state.peer_uri,
        "network_id": state.network_id,
        "stage": state.stage.value,
        "opened_at": zulu(state.opened_at),
        "lapses_at": zulu(state.lapses_at),
        "contract": state.contract.to_wire(),
        "told_at": zulu(state.told_at) if state.told_at else None,
        "awaiting": {
            "action": waiting.action,
            "message_id": waiting.message_id,
            "until": zulu(waiting.until),
        }
        if waiting
        else None,
        "reason": state.reason,
        "reason_code": state.reason_code,
    }


def state_from_json(values: Mapping[str, Any]) -> ContractState:
    """Return the state that `state_to_json` wrote."""
    waiting = values["awaiting"]
    instants = {
        name: utc(values[name]) if values[name] else None
        for name in ("opened_at", "lapses_at", "told_at")
    }
    return ContractState(
        **{
            **values,
            **instants,
            "side": Side(values["side"]),
            "stage": Stage(values["stage"]),
            "contract": Contract.model_validate(values["contract"]),
            "awaiting": Awaiting(**{**waiting, "until": utc(waiting["until"])})
            if waiting
            else None,
        }
    )
