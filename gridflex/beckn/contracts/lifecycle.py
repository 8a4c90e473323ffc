"""The life of a contract as one party sees it: a value, and a pure function that advances it.

State is declared, not synchronised: each party advances its own copy by the messages it sends
and receives, by the same rules. Messages arrive late, twice, out of order or never; a contract
only moves forward, final states stay, and what is overdue lapses by the clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from gridflex.beckn.contracts.states import (
    DRAFTS,
    OPENING,
    Awaiting,
    ContractState,
    Patience,
    Side,
    Stage,
    Step,
)
from gridflex.beckn.wire import meters
from gridflex.beckn.wire.context import Direction, zulu
from gridflex.beckn.wire.entities import CommitmentCode, Contract, ContractCode, Performance
from gridflex.beckn.wire.errors import BecknError, Code
from gridflex.beckn.wire.messages import Message
from gridflex.beckn.wire.payloads import ContractMessage

MOST_DRAFTS: Final = 100
"""Of one peer, open at the same time."""

MOST_AHEAD: Final = timedelta(seconds=60)
"""By how much a peer's clock is believed to be ahead; one further ahead silences nobody."""

_ORDER: Final = {stage: rank for rank, stage in enumerate(Stage)}

_REQUESTS: Final[Mapping[str, tuple[frozenset[Stage], Stage | None]]] = {
    "select": (DRAFTS - {Stage.CONFIRMING}, Stage.SELECTING),
    "init": (
        frozenset({Stage.QUOTED, Stage.INITIALISING, Stage.INITIALISED}),
        Stage.INITIALISING,
    ),
    "confirm": (frozenset({Stage.INITIALISED, Stage.CONFIRMING}), Stage.CONFIRMING),
    "update": (frozenset({Stage.ACTIVE}), None),
    "cancel": (DRAFTS | {Stage.ACTIVE}, None),
}
"""From which stages a request may be made, and where it leads; others are possible anywhere."""

_ANSWERS: Final = {
    "on_select": (Stage.SELECTING, Stage.QUOTED),
    "on_init": (Stage.INITIALISING, Stage.INITIALISED),
    "on_confirm": (Stage.CONFIRMING, Stage.ACTIVE),
}


def open_contract(message: Message, *, side: Side, now: datetime, patience: Patience) -> Step:
    """Return the step by which a request, `OPENING`, opens a contract.

    Raises:
        BecknError: Another message cannot open one.
    """
    context = message.context
    if message.action != OPENING:
        code = Code.BIZ_ORDER_NOT_FOUND
        if context.direction is Direction.CALLBACK:
            code = Code.CTX_TRANSACTION_ID_UNKNOWN
        raise BecknError(code, f"{message.action} about a transaction that {OPENING} did not open")
    is_bap = side is Side.BAP
    state = ContractState(
        transaction_id=context.transaction_id,
        side=side,
        peer_id=str(context.bpp_id if is_bap else context.bap_id),
        peer_uri=str(context.bpp_uri if is_bap else context.bap_uri),
        network_id=context.network_id,
        stage=Stage.SELECTING,
        opened_at=now,
        lapses_at=now + patience.draft,
        contract=message.contract,
        awaiting=_awaited(message, now, patience) if is_bap else None,
    )
    return Step(before=None, state=state)


def require_few_drafts(peer_id: str, drafts: int, *, most: int) -> None:
    """Refuse another draft of a peer that has enough of them open.

    Args:
        peer_id: Who wants to open one.
        drafts: How many of its drafts are open.
        most: How many may be.

    Raises:
        BecknError: There is no room; the peer may ask again when one of them has ended.
    """
    if drafts >= most:
        raise BecknError(
            Code.POL_NP_CAPACITY_EXCEEDED,
            f"{peer_id} has {drafts} drafts open here, at most {most}; confirm or cancel one, "
            "or let it lapse",
        )


def advance(state: ContractState, message: Message, *, now: datetime, patience: Patience) -> Step:
    """Return what a message, ours or the peer's, does to a contract.

    Args:
        state: The contract so far.
        message: Verified, or about to be sent.
        now: When it is taken up.
        patience: How long to wait for what it asks.

    Raises:
        BecknError: It is about something else, or it is not possible in this stage.
    """
    require_same(state, message)
    if message.context.direction is Direction.REQUEST:
        return _request(state, message, now=now, patience=patience)
    return _callback(state, message, now=now)


def require_same(state: ContractState, message: Message) -> None:
    """Refuse what is said by somebody who is no party to a contract, or about another one.

    Raises:
        BecknError: It is one of both.
    """
    context = message.context
    peer = context.bpp_id if state.side is Side.BAP else context.bap_id
    if peer != state.peer_id:
        raise BecknError(
            Code.AUT_UNAUTHORIZED_ACTION,
            f"{peer} is not a party to transaction {state.transaction_id}",
        )
    if state.stage.is_final or not isinstance(message.payload, ContractMessage):
        return
    contract = message.contract
    is_callback = context.direction is Direction.CALLBACK
    if is_callback and state.contract_id and contract.id not in {None, state.contract_id}:
        raise BecknError(
            Code.BIZ_UPDATE_INCONSISTENT,
            f"contract {contract.id} in a transaction that is about {state.contract_id}",
            path="$.message.contract.id",
        )


def lapse(state: ContractState, *, now: datetime) -> Step | None:
    """Return what the passing of time does to a contract, or None if nothing.

    A draft that is not confirmed in time expires, and so does a confirmation without answer:
    the peer is then told, since it may have agreed. A cancellation needs no consent.
    """
    if state.stage.is_final:
        return None
    waiting = state.awaiting
    if waiting is not None and now >= waiting.until:
        return _unanswered(state, waiting)
    if state.stage.is_draft and now >= state.lapses_at and waiting is None:
        return Step(state, _ended(state, Stage.EXPIRED, "it was not confirmed in time"))
    return None


def give_up(state: ContractState, *, reason: str, code: str | None = None) -> Step:
    """Return the step by which we leave a contract that is still open.

    Args:
        state: The contract.
        reason: Why, for a person.
        code: Error code, where there is one.
    """
    if state.stage.is_final:
        return Step(state, state, is_stale=True)
    stage = Stage.CANCELLED if state.stage is Stage.ACTIVE else Stage.REFUSED
    return Step(state, replace(_ended(state, stage, reason), reason_code=code))


def _request(state: ContractState, message: Message, *, now: datetime, patience: Patience) -> Step:
    rule = _REQUESTS.get(message.action)
    if rule is None:
        waiting = state.awaiting or _awaited(message, now, patience)
        return Step(state, replace(state, awaiting=waiting) if _is_ours(state, message) else state)
    allowed, stage = rule
    if state.stage not in allowed:
        raise _impossible(state, message.action)
    if message.context.is_trial:
        return Step(state, state)
    changed = replace(state, stage=stage or state.stage)
    if stage is not None:
        changed = replace(changed, contract=_merged(state.contract, message.contract))
    if _is_ours(state, message):
        changed = replace(changed, awaiting=_awaited(message, now, patience))
    return Step(state, changed)


def _callback(state: ContractState, message: Message, *, now: datetime) -> Step:
    if message.context.is_trial or not isinstance(message.payload, ContractMessage):
        return Step(state, _answered(state, message))
    said, contract = _declared(message), message.contract
    if state.stage.is_final:
        return _after_the_end(state, message, said)
    if _is_behind(state, message) and said is not ContractCode.CANCELLED:
        return Step(state, _with_performance(_answered(state, message), contract), is_stale=True)
    if said is ContractCode.CANCELLED or (said is ContractCode.DRAFT and message.error):
        return Step(state, _failed(state, message))
    return _agreed(state, message, said, now=now)


def _after_the_end(state: ContractState, message: Message, said: ContractCode) -> Step:
    """A settled contract still takes in pages of meters that come late."""
    if state.stage is not Stage.COMPLETE:
        return Step(state, state, is_stale=True, must_cancel=said is ContractCode.ACTIVE)
    told = _with_performance(_answered(state, message), message.contract)
    return Step(state, told, is_stale=True)


def _agreed(state: ContractState, message: Message, said: ContractCode, *, now: datetime) -> Step:
    stage = _stage_after(state, message, said)
    if stage is None:
        return Step(state, _answered(state, message), is_stale=True)
    contract = _merged(state.contract, message.contract)
    if _is_agreed(state, message, said):
        contract = _with_terms(contract, state.contract)
    answered = _answered(state, message)
    if stage not in DRAFTS or _ORDER[stage] > _ORDER[state.stage]:
        answered = _without_draft_wait(answered)
    changed = replace(
        answered,
        stage=stage,
        contract=contract,
        told_at=min(message.context.timestamp, now + MOST_AHEAD),
    )
    return Step(state, changed)


def _is_agreed(state: ContractState, message: Message, said: ContractCode) -> bool:
    """Return whether the terms stand: from our confirmation on nobody changes them unasked.

    The answers to our own ``update`` and ``status`` may; whoever asked checks how.
    """
    if state.side is not Side.BAP or state.stage not in {Stage.CONFIRMING, Stage.ACTIVE}:
        return False
    waiting = state.awaiting
    is_asked = (
        waiting is not None
        and waiting.action in {"update", "status"}
        and waiting.message_id == message.context.message_id
    )
    return said is not ContractCode.ACTIVE or not is_asked


def _with_terms(told: Contract, agreed: Contract) -> Contract:
    """Return what was told, with the terms that were agreed: what, how much, at which price.

    Raises:
        BecknError: It is about other commitments.
    """
    if len(told.commitments) != len(agreed.commitments):
        raise BecknError(
            Code.BIZ_UPDATE_INCONSISTENT,
            f"{len(told.commitments)} commitments; {len(agreed.commitments)} were agreed",
            path="$.message.contract.commitments",
        )
    commitments = [
        ours.model_copy(update={"id": ours.id or theirs.id, "status": theirs.status})
        for theirs, ours in zip(told.commitments, agreed.commitments, strict=True)
    ]
    kept = {
        name: value
        for name, value in (agreed.contract_attributes or {}).items()
        if name != "revenueFlows"
    }
    attributes = {**(told.contract_attributes or {}), **kept}
    update: dict[str, object] = {"commitments": commitments}
    if attributes:
        update["contract_attributes"] = attributes
    return told.model_copy(update=update)


def _stage_after(state: ContractState, message: Message, said: ContractCode) -> Stage | None:
    """Return the stage that a statement leads to, or None if it is behind the times."""
    if said is ContractCode.COMPLETE:
        return Stage.COMPLETE if state.stage in {Stage.CONFIRMING, Stage.ACTIVE} else None
    if said is ContractCode.ACTIVE:
        return Stage.ACTIVE if state.stage in {Stage.CONFIRMING, Stage.ACTIVE} else None
    if message.action in _ANSWERS:
        before, after = _ANSWERS[message.action]
        return after if state.stage in {before, after} else None
    return state.stage if state.stage.is_draft else None


def _declared(message: Message) -> ContractCode:
    """Return what a callback says about the contract; unconfirmed commitments make a draft."""
    code = message.contract.code
    promised = [
        one.status.descriptor.code for one in message.contract.commitments if one.status.descriptor
    ]
    if (
        message.action == "on_confirm"
        and code is not ContractCode.CANCELLED
        and CommitmentCode.DRAFT in promised
    ):
        return ContractCode.CANCELLED
    if message.action == "on_confirm" and code is ContractCode.DRAFT:
        return ContractCode.CANCELLED
    return code


def _failed(state: ContractState, message: Message) -> ContractState:
    error, status = message.error, message.contract.status
    told = error.message if error else status and (status.short_desc or status.name)
    stage = Stage.CANCELLED
    if state.stage.is_draft and message.action != "on_cancel":
        stage = Stage.REFUSED
    return replace(
        _ended(state, stage, told or f"{message.action} says so without a reason"),
        reason_code=error.code if error else None,
    )


def _unanswered(state: ContractState, waiting: Awaiting) -> Step:
    text = f"no answer to {waiting.action} until {zulu(waiting.until)}"
    if waiting.action == "cancel":
        return Step(state, _ended(state, Stage.CANCELLED, text))
    if waiting.action in {"select", "init", "confirm"}:
        must_cancel = waiting.action == "confirm"
        return Step(state, _ended(state, Stage.EXPIRED, text), must_cancel=must_cancel)
    return Step(state, replace(state, awaiting=None))


def _ended(state: ContractState, stage: Stage, reason: str) -> ContractState:
    return replace(state, stage=stage, reason=reason, awaiting=None)


def _answered(state: ContractState, message: Message) -> ContractState:
    waiting = state.awaiting
    if waiting is None or waiting.message_id != message.context.message_id:
        return state
    return replace(state, awaiting=None)


def _without_draft_wait(state: ContractState) -> ContractState:
    """A later stage answers every request that led to an earlier one."""
    is_over = state.awaiting is not None and state.awaiting.action in {"select", "init", "confirm"}
    return replace(state, awaiting=None) if is_over else state


def _merged(known: Contract, told: Contract) -> Contract:
    """Return what was told, with the performances of both: reports arrive one by one."""
    merged = told.model_copy(update={"id": told.id or known.id})
    return merged.model_copy(update=_all_performance(told, known))


def _with_performance(state: ContractState, told: Contract) -> ContractState:
    kept = state.contract.model_copy(update=_all_performance(state.contract, told))
    return replace(state, contract=kept)


def _all_performance(first: Contract, second: Contract) -> dict[str, list[Performance]]:
    both = meters.merged(first.performance or (), second.performance or ())
    return {"performance": both} if both else {}


def _is_behind(state: ContractState, message: Message) -> bool:
    return state.told_at is not None and message.context.timestamp < state.told_at


def _awaited(message: Message, now: datetime, patience: Patience) -> Awaiting:
    context = message.context
    until = context.expires or now + patience.answer
    return Awaiting(message.action, context.message_id, until)


def _is_ours(state: ContractState, message: Message) -> bool:
    return (state.side is Side.BAP) == (message.context.direction is Direction.REQUEST)


def _impossible(state: ContractState, action: str) -> BecknError:
    if state.stage is Stage.ACTIVE and action in {"confirm", "init", "select"}:
        code = Code.BIZ_ALREADY_CONFIRMED
    elif state.stage is Stage.CANCELLED:
        code = Code.BIZ_ALREADY_CANCELLED
    elif state.stage is Stage.EXPIRED:
        code = Code.BIZ_QUOTE_EXPIRED_OR_CHANGED
    elif state.stage is Stage.COMPLETE and action == "cancel":
        code = Code.POL_CANCELLATION_NOT_ALLOWED
    else:
        code = Code.BIZ_INVALID_STATE_TRANSITION
    return BecknError(code, f"{action} is not possible: the contract is {state.stage}")
