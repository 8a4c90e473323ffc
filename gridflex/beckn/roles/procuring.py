"""The publisher of a need: takes what sellers offer, meters what they do, and settles.

More than is wanted is never bought: what active contracts have offered is taken off first. One
meter counts for one contract.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, Protocol

from gridflex.beckn.contracts.phrasing import as_cancelled, in_state
from gridflex.beckn.contracts.states import ContractState, Side, Stage, Step
from gridflex.beckn.flexibility import demand_flex
from gridflex.beckn.flexibility.needs import (
    BUY_OFFER_TYPE,
    NEED_TYPE,
    OFFERED,
    PENALTY,
    PRICE,
    REQUESTED,
    RULE_PATH,
    Bid,
    Need,
    is_need,
    need_of,
    price_of,
    read_bid,
    read_need,
    with_bid,
)
from gridflex.beckn.flexibility.offers import BASELINE
from gridflex.beckn.flexibility.reporting import DELIVERED, SETTLE_AFTER, USAGE
from gridflex.beckn.messaging.keeping import Hold, Store
from gridflex.beckn.messaging.reacting import Reaction, Saying, sayings
from gridflex.beckn.wire.entities import (
    Catalog,
    CommitmentCode,
    CommittedOffer,
    CommittedResource,
    Contract,
    ContractCode,
    Descriptor,
    Offer,
    Participant,
    Performance,
    Provider,
    Quantity,
    Resource,
    TimePeriod,
)
from gridflex.beckn.wire.errors import BecknError, Code
from gridflex.beckn.wire.messages import Message
from gridflex.beckn.wire.payloads import ContractMessage
from gridflex.beckn.wire.schemas import deg, own
from gridflex.beckn.wire.tables import BUYER, SELLER, Column, Table
from gridflex.halfhour import HalfHour

PUBLISHED: Final = "BASELINE_PUBLISHED"
RULE_URL: Final = own("DemandFlexPolicy").removesuffix("/context.jsonld")
_CONTRACTS: Final = uuid.UUID("0f0b7c1e-3c0e-5a55-8d43-6a4f6f1b9d27")

Metered = Mapping[str, Mapping[HalfHour, tuple[float, float | None]]]
"""By meter and half-hour: baseline and use in kW; None where it has not been read."""


class Feeder(Protocol):
    """The publisher's own side: needs and meters."""

    @property
    def methodology(self) -> str:
        """How the baseline is made."""
        ...

    async def now(self) -> HalfHour:
        """Return the running half-hour."""
        ...

    async def needs(self) -> Sequence[Need]:
        """Return what is wanted and has not begun."""
        ...

    async def metered(self, bid: Bid) -> Metered:
        """Return what the meters of an offer say about its half-hours."""
        ...


class Procurer:
    """Answers requests about needs.

    Args:
        subscriber_id: Its own id, also as buyer.
        feeder: Needs and meters.
        store: Its contracts.
    """

    def __init__(self, subscriber_id: str, *, feeder: Feeder, store: Store) -> None:
        self._id = subscriber_id
        self._feeder = feeder
        self._store = store

    async def react(self, message: Message, step: Step | None) -> Reaction:
        """Return the answer to a request; see `gridflex.beckn.messaging.reacting.Trader.react`."""
        if step is None:
            raise BecknError(
                Code.BIZ_ORDER_NOT_FOUND,
                f"no contract in transaction {message.context.transaction_id}",
            )
        match message.action:
            case "select":
                return await self._quote(message)
            case "init" | "confirm":
                return await self._agree(message)
            case "status":
                return sayings(Saying(ContractMessage(contract=await self._told(step.state))))
            case "cancel":
                return await self._cancel(message, step.state)
            case "update":
                return await self._amend(message, step.state)
            case _:
                raise BecknError(
                    Code.NET_NOT_IMPLEMENTED, f"{message.action} about a need is not offered"
                )

    async def report(self, state: ContractState) -> Contract | None:
        """Return what is to be said about an active contract now; None if nothing is new."""
        if state.stage is not Stage.ACTIVE:
            return None
        told = await self._told(state)
        bid = read_bid(told)
        if bid.table.end + SETTLE_AFTER <= await self._feeder.now():
            return demand_flex.settled(told)
        known = {
            (one.id, one.status and one.status.code) for one in state.contract.performance or ()
        }
        new = {(one.id, one.status and one.status.code) for one in told.performance or ()}
        return told if new - known else None

    async def _quote(self, message: Message) -> Reaction:
        asked = message.contract.commitments[0].resources[0].id
        need = await self._need(asked)
        contract = self._written(message, need)
        return sayings(Saying(ContractMessage(contract=contract)))

    async def _agree(self, message: Message) -> Reaction:
        contract, holds = await self._offered(message)
        if message.action == "init":
            return sayings(Saying(ContractMessage(contract=contract)))
        return Reaction((Saying(ContractMessage(contract=_active(contract))),), holds)

    async def _amend(self, message: Message, state: ContractState) -> Reaction:
        """Take other meters or another power into an offer whose need has not begun."""
        if state.stage is not Stage.ACTIVE:
            raise BecknError(Code.POL_UPDATE_NOT_ALLOWED, f"the contract is {state.stage}")
        begins = need_of(state.contract).table.start
        if await self._feeder.now() >= begins:
            raise BecknError(Code.POL_UPDATE_NOT_ALLOWED, f"delivery began at {begins}")
        if need_of(message.contract).resource.id != need_of(state.contract).resource.id:
            raise BecknError(Code.BIZ_INVALID_UPDATE_TARGET, "the contract is about another need")
        if read_bid(message.contract).seller != read_bid(state.contract).seller:
            raise BecknError(Code.BIZ_UPDATE_INCONSISTENT, "another seller cannot take it over")
        contract, holds = await self._offered(message)
        said = Saying(ContractMessage(contract=_active(contract)))
        if message.context.is_trial:
            return sayings(said)
        return Reaction((said,), holds, renews_holds=True)

    async def _offered(self, message: Message) -> tuple[Contract, tuple[Hold, ...]]:
        """Return the draft with what is offered, and what it holds."""
        said, bid = need_of(message.contract), read_bid(message.contract)
        need = await self._need(said.resource.id)
        if price_of(said) != price_of(need):
            raise BecknError(Code.BIZ_PRICE_MISMATCH, f"{need.resource.id} has another price")
        await self._require_wanted(need, bid, message.context.transaction_id)
        contract = with_bid(
            self._written(message, need),
            [bid.table.at(OFFERED, one) for one in _grid(need)],
            seller=bid.seller,
            meters=bid.meters,
        )
        count = len(need.table.column(REQUESTED).values)
        holds = tuple(
            Hold(message.context.transaction_id, meter, need.table.start, count, bid.energy_kwh)
            for meter in bid.meters
        )
        return contract, holds

    async def _need(self, resource_id: str) -> Need:
        for need in await self._feeder.needs():
            if need.resource.id == resource_id:
                return need
        raise BecknError(Code.BIZ_ITEM_NOT_FOUND, f"{resource_id} is not wanted, or no more")

    async def _require_wanted(self, need: Need, bid: Bid, transaction_id: str) -> None:
        others = [
            read_bid(one.contract)
            for one in await self._store.open_contracts(Side.BPP)
            if one.stage is Stage.ACTIVE
            and one.transaction_id != transaction_id
            and is_need(one.contract)
            and need_of(one.contract).resource.id == need.resource.id
        ]
        for one in _grid(need):
            left = need.requested_kw(one) - sum(other.table.at(OFFERED, one) for other in others)
            if bid.table.at(OFFERED, one) > left + 1e-6:
                raise BecknError(
                    Code.BIZ_QUANTITY_UNAVAILABLE, f"no more than {left:g} kW are wanted at {one}"
                )

    def _written(self, message: Message, need: Need) -> Contract:
        """Return a draft about a need with everything that is ours to say."""
        commitment = message.contract.commitments[0]
        offered = dict(need.offer.offer_attributes or {})
        offered.pop("contractAttributes", None)
        quantity = commitment.resources[0].quantity
        resource = need.resource.model_copy(update={"quantity": quantity})
        drafted = message.contract.model_copy(
            update={
                "id": str(uuid.uuid5(_CONTRACTS, f"{self._id}/{message.context.transaction_id}")),
                "commitments": [
                    commitment.model_copy(
                        update={
                            "id": commitment.id or "commitment-1",
                            "resources": [CommittedResource.model_validate(resource.to_wire())],
                            "offer": CommittedOffer.model_validate(
                                {**need.offer.to_wire(), "offerAttributes": offered}
                            ),
                        }
                    )
                ],
                "contract_attributes": dict(need.terms),
                "participants": [Participant(id=self._id)],
            }
        )
        return in_state(drafted, ContractCode.DRAFT, CommitmentCode.DRAFT)

    async def _cancel(self, message: Message, state: ContractState) -> Reaction:
        begins = need_of(state.contract).table.start
        if state.stage is Stage.ACTIVE and await self._feeder.now() >= begins:
            raise BecknError(
                Code.POL_CANCELLATION_NOT_ALLOWED,
                f"delivery began at {begins}; the contract will be settled",
            )
        if message.context.is_trial:
            return sayings(Saying(ContractMessage(contract=state.contract)))
        cancelled = as_cancelled(state.contract, "cancelled by the seller")
        return sayings(Saying(ContractMessage(contract=cancelled)))

    async def _told(self, state: ContractState) -> Contract:
        """Return the contract with the baseline, and what was metered once it is over."""
        if state.stage is not Stage.ACTIVE:
            return state.contract
        bid = read_bid(state.contract)
        metered, now = await self._feeder.metered(bid), await self._feeder.now()
        is_over = bid.table.end <= now
        performance = _performance(
            state, bid, metered, is_over=is_over, by=self._feeder.methodology
        )
        return state.contract.model_copy(update={"performance": [performance]})


def need_item(
    *,
    resource_id: str,
    buyer: str,
    name: str,
    table: Table,
    until: datetime,
    methodology: Mapping[str, int],
    currency: str = "GBP",
) -> Need:
    """Return a need, ready to be published.

    Args:
        resource_id: Its name.
        buyer: Who needs it.
        name: For a person.
        table: See `need_table`.
        until: When answers must be in.
        methodology: How the baseline is made.
        currency: Of its prices.
    """
    terms = {
        "@context": deg("DEGContract"),
        "@type": "DEGContract",
        "roles": [
            {"role": BUYER, "participantId": buyer},
            {"role": SELLER, "participantId": None},
        ],
        "policy": {"url": RULE_URL, "queryPath": RULE_PATH},
    }
    most = max(value or 0.0 for value in table.column(REQUESTED).values)
    resource = Resource(
        id=resource_id,
        descriptor=Descriptor(name=name),
        quantity=Quantity(unit_code="kW", unit_quantity=most, type_="Quantity"),
        resource_attributes={
            "@context": deg(NEED_TYPE),
            "@type": NEED_TYPE,
            **table.to_wire(),
        },
    )
    inputs = {"currency": currency, "baselineMethodology": dict(methodology)}
    offer = Offer(
        id=f"offer-{resource_id}",
        descriptor=Descriptor(name=name),
        resource_ids=[resource_id],
        validity=TimePeriod(end_date=until),
        offer_attributes={
            "@context": deg(BUY_OFFER_TYPE),
            "@type": BUY_OFFER_TYPE,
            "contractAttributes": terms,
            "inputs": [
                {"role": BUYER, "participantId": buyer, "inputs": inputs},
                {"role": SELLER, "participantId": None},
            ],
        },
    )
    return read_need(resource, offer)


def need_table(
    start: HalfHour,
    *,
    requested_kw: Sequence[float],
    price_gbp_per_kwh: float,
    penalty_gbp_per_kwh: float,
) -> Table:
    """Return the table of a need, with one price and one penalty."""
    rows = len(requested_kw)
    return Table.of(
        start,
        Column(REQUESTED, "KW", tuple(requested_kw), BUYER),
        Column(PRICE, "GBP_PER_KWH", (price_gbp_per_kwh,) * rows, BUYER),
        Column(PENALTY, "GBP_PER_KWH", (penalty_gbp_per_kwh,) * rows, BUYER),
    )


def catalog_of_needs(
    needs: Sequence[Need], *, catalog_id: str, provider: str, name: str
) -> Catalog:
    """Return the catalogue of some needs."""
    return Catalog(
        id=catalog_id,
        descriptor=Descriptor(name=f"{name}: demand flexibility wanted"),
        provider=Provider(id=provider, descriptor=Descriptor(name=name)),
        resources=[one.resource for one in needs],
        offers=[one.offer for one in needs],
    )


def _performance(
    state: ContractState, bid: Bid, metered: Metered, *, is_over: bool, by: str
) -> Performance:
    code = DELIVERED if is_over else PUBLISHED
    meters = [
        {
            "meterId": meter,
            "telemetry": {
                "@type": "TimeSeries",
                **_telemetry(bid, metered.get(meter, {}), is_over=is_over).to_wire(),
            },
        }
        for meter in sorted(bid.meters)
    ]
    return Performance(
        id=f"performance-{'actuals' if is_over else 'baselines'}",
        status=Descriptor(code=code),
        commitment_ids=[str(state.contract.commitments[0].id)],
        performance_attributes={
            "@context": deg("DemandFlexPerformance"),
            "@type": "DemandFlexPerformance",
            "eventId": str(state.contract_id),
            "methodology": by,
            "meters": meters,
        },
    )


def _telemetry(
    bid: Bid, read: Mapping[HalfHour, tuple[float, float | None]], *, is_over: bool
) -> Table:
    rows = [read.get(one, (0.0, None)) for one in bid.table.start.span(bid.table.half_hours)]
    baseline = Column(BASELINE, "KW", tuple(row[0] for row in rows))
    if not is_over:
        return Table.of(bid.table.start, baseline)
    return Table.of(bid.table.start, baseline, Column(USAGE, "KW", tuple(row[1] for row in rows)))


def _active(contract: Contract) -> Contract:
    return in_state(contract, ContractCode.ACTIVE, CommitmentCode.ACTIVE)


def _grid(need: Need) -> list[HalfHour]:
    return list(need.table.start.span(need.table.half_hours))
