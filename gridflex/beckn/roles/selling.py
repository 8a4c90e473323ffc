"""The seller: quotes blocks, promises them, reports what they do and settles.

Whatever a buyer says is checked against the plan as it stands: what is quoted may be gone when
it is confirmed. What is written into an answer is always the seller's own.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from gridflex.beckn.contracts.phrasing import as_cancelled, in_state
from gridflex.beckn.contracts.states import ContractState, Stage, Step
from gridflex.beckn.flexibility.offers import (
    Order,
    Terms,
    offer_of,
    read_order,
    resource_id,
    resource_of,
    roles,
)
from gridflex.beckn.flexibility.reporting import is_over, performance_of, quoted, relevant, settled
from gridflex.beckn.flexibility.settling import exact
from gridflex.beckn.messaging.keeping import Hold, Store
from gridflex.beckn.messaging.reacting import Reaction, Saying, sayings
from gridflex.beckn.wire.entities import Commitment, CommitmentCode, Contract, ContractCode
from gridflex.beckn.wire.entities import Participant as Party
from gridflex.beckn.wire.errors import BecknError, Code
from gridflex.beckn.wire.messages import Message
from gridflex.beckn.wire.meters import assembled
from gridflex.beckn.wire.payloads import (
    ContractMessage,
    RatedMessage,
    RateMessage,
    Support,
    SupportMessage,
    Tracking,
    TrackingMessage,
)
from gridflex.beckn.wire.schemas import own
from gridflex.errors import InfeasibleError
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId
from gridflex.planning.slack import Block, Slack

TOLERANCE: Final = 0.01
"""Share by which an ordered half-hour may differ from the block's own energy."""

_CONTRACTS: Final = uuid.UUID("5d6a3c80-7a5e-5c1b-9a35-2f1d4f0b8c11")


@dataclass(frozen=True, slots=True)
class Standing:
    """What a seller has at one moment.

    Args:
        now: The running half-hour.
        slack: What the plan leaves open.
        terms: At what price.
    """

    now: HalfHour
    slack: Slack
    terms: Terms


class Flexible(Protocol):
    """Who knows the plan."""

    async def standing(self) -> Standing:
        """Return what there is to sell now."""
        ...


class House(Flexible, Protocol):
    """The seller's own side: plans and meters."""

    async def now(self) -> HalfHour:
        """Return the running half-hour."""
        ...

    async def used_kwh(self, job_id: JobId) -> Mapping[HalfHour, float]:
        """Return what a job used, by half-hour."""
        ...

    async def intensity_gco2_per_kwh(
        self, start: HalfHour, half_hours: int
    ) -> Mapping[HalfHour, float]:
        """Return the carbon intensity where jobs run, as best known now, by half-hour."""
        ...


class Seller:
    """Answers requests about blocks.

    Args:
        subscriber_id: Its own id.
        house: Plans and meters.
        store: What is promised.
        page_of: Returns where a person can watch a contract.
        support_url: Where help is to be had.
    """

    def __init__(
        self,
        subscriber_id: str,
        *,
        house: House,
        store: Store,
        page_of: Callable[[str], str],
        support_url: str,
    ) -> None:
        self._id = subscriber_id
        self._house = house
        self._store = store
        self._page_of = page_of
        self._support_url = support_url

    async def react(self, message: Message, step: Step | None) -> Reaction:
        """Return the answer to a request; see `gridflex.beckn.messaging.reacting.Trader.react`."""
        if message.action in {"select", "init", "confirm"}:
            return await self._agree(message)
        if step is None:
            raise BecknError(
                Code.BIZ_ORDER_NOT_FOUND,
                f"no contract in transaction {message.context.transaction_id}",
            )
        match message.action:
            case "status":
                contract = await self._reported(step.state)
                return sayings(Saying(ContractMessage(contract=contract)))
            case "cancel":
                return await self._cancel(message, step.state)
            case "update":
                raise BecknError(
                    Code.POL_UPDATE_NOT_ALLOWED, "a block is cancelled and ordered again"
                )
            case _:
                return sayings(Saying(self._courtesy(message, step.state)))

    async def report(self, state: ContractState) -> Contract | None:
        """Return what is to be said about an active contract now; None if nothing is new."""
        if state.stage is not Stage.ACTIVE:
            return None
        told = await self._reported(state)
        if is_over(told, await self._house.now()):
            return settled(told)[0]
        is_new = told.performance != (assembled(state.contract.performance or ()) or None)
        return told if is_new else None

    async def _agree(self, message: Message) -> Reaction:
        standing = await self._house.standing()
        orders = [(one, read_order(one)) for one in message.contract.commitments]
        chosen = self._chosen(standing, [order for _, order in orders])
        for order, block in chosen.items():
            self._require_same(order, block, standing, is_quote=message.action == "select")
        _require_room(standing, chosen)
        is_final = message.action == "confirm"
        contract = self._contract(message, standing, orders, chosen, is_final=is_final)
        holds = tuple(
            Hold(
                message.context.transaction_id,
                str(block.job_id),
                order.start,
                block.half_hours,
                round(block.energy_kwh, 6),
            )
            for order, block in chosen.items()
        )
        return Reaction((Saying(ContractMessage(contract=contract)),), holds if is_final else ())

    def _chosen(self, standing: Standing, orders: list[Order]) -> dict[Order, Block]:
        known = {resource_id(self._id, block.job_id): block for block in standing.slack.blocks()}
        if len({order.resource_id for order in orders}) != len(orders):
            raise BecknError(Code.BIZ_QUANTITY_UNAVAILABLE, "one block is ordered twice")
        for order in orders:
            if order.resource_id not in known:
                raise BecknError(
                    Code.BIZ_QUANTITY_UNAVAILABLE,
                    f"{order.resource_id} is not on offer: sold, started, finished or unknown",
                )
        return {order: known[order.resource_id] for order in orders}

    def _require_same(
        self, order: Order, block: Block, standing: Standing, *, is_quote: bool
    ) -> None:
        price = exact(float(standing.terms.price(block.job_id)))
        if order.price_gbp_per_kwh != price:
            raise BecknError(
                Code.BIZ_PRICE_MISMATCH,
                f"{order.price_gbp_per_kwh} GBP/kWh for {order.resource_id}; it costs {price}",
            )
        if order.planned != block.planned and not is_quote:
            raise BecknError(
                Code.BIZ_QUOTE_EXPIRED_OR_CHANGED,
                f"{order.resource_id} is now planned for {block.planned}, not {order.planned}",
            )
        off = max(
            abs(order.least_kwh - block.half_hour_kwh), abs(order.most_kwh - block.half_hour_kwh)
        )
        if order.half_hours != block.half_hours or off > TOLERANCE * block.half_hour_kwh:
            raise BecknError(
                Code.BIZ_QUANTITY_UNAVAILABLE,
                f"{order.resource_id} runs whole: {block.half_hours} half-hours of "
                f"{block.half_hour_kwh:g} kWh",
            )

    def _contract(
        self,
        message: Message,
        standing: Standing,
        orders: list[tuple[Commitment, Order]],
        chosen: Mapping[Order, Block],
        *,
        is_final: bool,
    ) -> Contract:
        terms = standing.terms
        commitments = [
            commitment.model_copy(
                update={
                    "id": commitment.id or f"commitment-{number}",
                    "resources": [resource_of(chosen[order], terms)],
                    "offer": offer_of(chosen[order], terms),
                }
            )
            for number, (commitment, order) in enumerate(orders, start=1)
        ]
        buyer = str(message.context.bap_id)
        drafted = message.contract.model_copy(
            update={
                "id": str(uuid.uuid5(_CONTRACTS, f"{self._id}/{message.context.transaction_id}")),
                "commitments": commitments,
                "participants": [Party(id=buyer), Party(id=self._id)],
                "contract_attributes": roles(buyer=buyer, seller=self._id),
            }
        )
        price = max(terms.price(block.job_id) for block in chosen.values())
        priced = quoted(drafted, price_gbp_per_kwh=price)
        if is_final:
            return in_state(priced, ContractCode.ACTIVE, CommitmentCode.ACTIVE)
        return in_state(priced, ContractCode.DRAFT, CommitmentCode.DRAFT)

    async def _cancel(self, message: Message, state: ContractState) -> Reaction:
        if state.stage is Stage.ACTIVE:
            running = await self._house.now()
            first = min(
                half_hour for one in state.contract.commitments for half_hour in relevant(one)
            )
            if running >= first:
                raise BecknError(
                    Code.POL_CANCELLATION_NOT_ALLOWED,
                    f"delivery began at {first}; the contract will be settled",
                )
        if message.context.is_trial:
            return sayings(Saying(ContractMessage(contract=state.contract)))
        reason = "cancelled by the buyer"
        return sayings(Saying(ContractMessage(contract=as_cancelled(state.contract, reason))))

    async def _reported(self, state: ContractState) -> Contract:
        """Return the contract with what has been metered by now."""
        if state.stage is not Stage.ACTIVE:
            return state.contract
        held = {
            resource_id(self._id, JobId(hold.thing)): JobId(hold.thing)
            for hold in await self._store.holds()
            if hold.transaction_id == state.transaction_id
        }
        now = await self._house.now()
        reports = []
        for one in state.contract.commitments:
            spans = relevant(one)
            job_id = held.get(one.resources[0].id)
            if job_id is None or now <= min(spans):
                continue
            first, count = min(spans), min(spans).until(max(spans)) + 1
            reports.append(
                performance_of(
                    one,
                    event_id=str(state.contract_id),
                    now=now,
                    used_kwh=await self._house.used_kwh(job_id),
                    intensity_gco2_per_kwh=await self._house.intensity_gco2_per_kwh(first, count),
                )
            )
        if not reports:
            return state.contract
        return state.contract.model_copy(update={"performance": reports})

    def _courtesy(
        self, message: Message, state: ContractState
    ) -> TrackingMessage | RatedMessage | SupportMessage:
        payload = message.payload
        if isinstance(payload, RateMessage):
            return RatedMessage(ratings=payload.rating_inputs)
        if isinstance(payload, SupportMessage):
            channel = {
                "@context": own("SupportChannel"),
                "@type": "SupportChannel",
                "url": self._support_url,
            }
            return SupportMessage(support=Support(order_id=state.contract_id, channels=[channel]))
        is_open = not state.stage.is_final
        return TrackingMessage(
            tracking=Tracking(
                url=self._page_of(state.transaction_id),
                status="ACTIVE" if is_open else "INACTIVE",
            )
        )


def _require_room(standing: Standing, chosen: Mapping[Order, Block]) -> None:
    try:
        standing.slack.require_room({block: order.start for order, block in chosen.items()})
    except InfeasibleError as error:
        raise BecknError(Code.BIZ_FULFILLMENT_UNAVAILABLE, str(error)) from error
