"""Saying the same contract in another state: draft, active, cancelled, complete."""

from __future__ import annotations

from gridflex.beckn.wire.entities import (
    Commitment,
    CommitmentCode,
    CommitmentDescriptor,
    CommitmentStatus,
    Contract,
    ContractCode,
    ContractStatus,
)
from gridflex.beckn.wire.meters import without_performance
from gridflex.beckn.wire.payloads import KnownContractMessage


def in_state(
    contract: Contract,
    code: ContractCode,
    commitment: CommitmentCode,
    *,
    reason: str | None = None,
    **changes: object,
) -> Contract:
    """Return a contract said to be in a state.

    Args:
        contract: What is agreed.
        code: The contract's state.
        commitment: The state of each of its commitments.
        reason: Why, for a person.
        changes: Other members to replace.
    """
    status = ContractStatus(code=code)
    if reason is not None:
        status = ContractStatus(code=code, short_desc=reason)
    descriptor = CommitmentDescriptor(code=commitment)
    commitments: list[Commitment] = [
        one.model_copy(update={"status": CommitmentStatus(descriptor=descriptor)})
        for one in contract.commitments
    ]
    update = {"status": status, "commitments": commitments, **changes}
    return contract.model_copy(update=update)


def as_cancelled(contract: Contract, reason: str) -> Contract:
    """Return a contract said to be cancelled; of a draft that it will not be."""
    return in_state(contract, ContractCode.CANCELLED, CommitmentCode.CLOSED, reason=reason)


def as_named(contract: Contract, reason: str) -> KnownContractMessage:
    """Return what asks to cancel a contract."""
    described = contract.status or ContractStatus()
    status = described.model_copy(update={"short_desc": reason})
    named = without_performance(contract).model_copy(update={"status": status})
    return KnownContractMessage(contract=named)
