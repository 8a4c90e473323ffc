"""What a message says, in a line for a person."""

from __future__ import annotations

from gridflex.beckn.flexibility.needs import is_need, need_of, read_bid
from gridflex.beckn.flexibility.offers import read_order
from gridflex.beckn.flexibility.reporting import due_gbp
from gridflex.beckn.wire.entities import Contract
from gridflex.beckn.wire.errors import BecknError, reading_attributes
from gridflex.beckn.wire.messages import Message
from gridflex.beckn.wire.payloads import (
    CatalogsMessage,
    ContractMessage,
    PublishedMessage,
    PublishMessage,
)
from gridflex.halfhour import HalfHour


def summary(message: Message) -> str:
    """Return what a message says: of a contract its state, energy, first half-hour and money.

    What a peer wrote in a shape that cannot be read is left out.
    """
    payload = message.payload
    said: list[str] = []
    if isinstance(payload, ContractMessage):
        said = _contract(payload.contract)
    elif isinstance(payload, CatalogsMessage | PublishMessage):
        count = sum(len(one.resources or ()) for one in payload.catalogs)
        said = [f"{count} on offer in {len(payload.catalogs)} catalogues"]
    elif isinstance(payload, PublishedMessage):
        said = [f"{one.catalog_id} {one.status.lower()}" for one in payload.results]
    if message.error is not None:
        said.append(message.error.code)
    return ", ".join(said)


def energy_kwh(contract: Contract) -> float:
    """Return the energy that a contract is about: of its blocks, or what a need is offered.

    Raises:
        BecknError: What it says about a need cannot be read.
    """
    if is_need(contract):
        has_bid = contract.commitments[0].commitment_attributes is not None
        return read_bid(contract).energy_kwh if has_bid else 0.0
    quantities = (
        resource.quantity
        for commitment in contract.commitments
        for resource in commitment.resources
    )
    return sum(
        one.unit_quantity or 0.0
        for one in quantities
        if one.unit_code is not None and one.unit_code.lower() == "kwh"
    )


def _contract(contract: Contract) -> list[str]:
    said = [contract.code.value.lower()]
    try:
        with reading_attributes():
            said.append(f"{energy_kwh(contract):g} kWh from {_begins(contract)}")
            due = due_gbp(contract)
            said += [] if due is None else [f"{due} GBP due"]
    except BecknError:
        return said
    return said


def _begins(contract: Contract) -> HalfHour:
    if is_need(contract):
        return need_of(contract).table.start
    return min(read_order(one).start for one in contract.commitments)
