"""The answer to a published need: jobs that can leave its half-hours, offered as less load.

The need's publisher pays, so the roles are turned round: it is the platform that is asked, and
we ask. What can be offered is worked out anew from the plan at every step, and the jobs are held
before the order is confirmed.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gridflex.beckn.buying import leave
from gridflex.beckn.curtailing import settlement_fault
from gridflex.beckn.entities import Catalog, Contract
from gridflex.beckn.errors import BecknError
from gridflex.beckn.keeping import Hold, Store
from gridflex.beckn.messages import Message
from gridflex.beckn.meters import block_of, is_whole, meter_of
from gridflex.beckn.needs import (
    OFFERED,
    RULE_PATH,
    Need,
    interest_in,
    is_need,
    need_of,
    needs_in,
    price_of,
    read_bid,
    with_bid,
)
from gridflex.beckn.offers import resource_id
from gridflex.beckn.participant import Reaction, Saying, sayings
from gridflex.beckn.payloads import CatalogsMessage, ContractMessage
from gridflex.beckn.selling import Flexible, Standing
from gridflex.beckn.states import Side, Stage, Step
from gridflex.beckn.writing import Peer
from gridflex.errors import InfeasibleError
from gridflex.halfhour import HalfHour
from gridflex.planning.slack import Block, Slack
from gridflex.units import energy_kwh

log = logging.getLogger(__name__)

CURRENCY: Final = "GBP"
TRIED: Final = 8
"""Other starts that are tried for one job, the cheapest first."""


@dataclass(slots=True)
class Answer:
    """What can be offered to a need.

    Args:
        grid: The need's half-hours, wanted or not.
        moves: Where each job would start instead.
        offered_kw: Less power in each half-hour of the grid.
    """

    grid: tuple[HalfHour, ...]
    moves: dict[Block, HalfHour] = field(default_factory=dict)
    offered_kw: list[float] = field(default_factory=list)

    @property
    def most_kw(self) -> float:
        """Greatest power offered."""
        return max(self.offered_kw)


def best_answer(
    need: Need,
    standing: Standing,
    *,
    only: Collection[Block] | None = None,
) -> Answer | None:
    """Return what is worth offering to a need; None if nothing is.

    A job is moved out of all the half-hours in which something is wanted, to the cheapest start
    for which there is room. It is worth it if what it earns covers what the move costs and the
    premium of its owner for each kWh that leaves. Jobs that bring most per kWh come first.

    Args:
        need: In pounds.
        standing: What there is to move.
        only: The blocks that may be moved; all by default.
    """
    slack = standing.slack
    grid = tuple(need.table.start.span(need.table.half_hours))
    answer = Answer(grid, offered_kw=[0.0] * len(grid))
    blocks = slack.blocks() if only is None else only
    ranked = sorted(
        ((_starts(need, slack, block), block) for block in blocks if _leaves(need, block)),
        key=lambda pair: -_margin_gbp(need, standing, answer, pair[1], pair[0]),
    )
    for starts, block in ranked:
        for start in starts:
            if _margin_gbp(need, standing, answer, block, [start]) < 0:
                break
            if _has_room(slack, {**answer.moves, block: start}):
                answer.moves[block] = start
                _add(need, answer, block)
                break
    return answer if answer.moves else None


class Answerer:
    """Acts on callbacks about needs.

    Args:
        subscriber_id: Its own id, also as seller.
        house: Plans.
        store: Its contracts.
        most_contracts: Answers open at the same time.
    """

    def __init__(
        self, subscriber_id: str, *, house: Flexible, store: Store, most_contracts: int = 20
    ) -> None:
        self._id = subscriber_id
        self._house = house
        self._store = store
        self._most = most_contracts

    async def react(self, message: Message, step: Step | None) -> Reaction:
        """Return the next step; see `gridflex.beckn.participant.Trader.react`."""
        if isinstance(message.payload, CatalogsMessage):
            return await self._choose(message.payload.catalogs)
        if step is None:
            return Reaction()
        if step.state.stage is Stage.COMPLETE:
            _check_settlement(step)
        if step.is_stale or step.state.stage.is_final:
            return Reaction()
        match message.action:
            case "on_select":
                return await self._offer(step)
            case "on_init":
                return await self._confirm(step)
            case _:
                return Reaction()

    async def _choose(self, catalogs: Sequence[Catalog]) -> Reaction:
        needs = [
            (Peer(catalog.bpp_id, catalog.bpp_uri), need)
            for catalog in catalogs
            if catalog.bpp_id and catalog.bpp_uri and catalog.bpp_id != self._id
            for need in needs_in(catalog)
            if _is_understood(need)
        ]
        if not needs:
            return Reaction()
        standing = await self._house.standing()
        open_ones = await self._store.open_contracts(Side.BAP)
        answered = {
            one.contract.commitments[0].resources[0].id
            for one in open_ones
            if is_need(one.contract)
        }
        room, left = self._most - len(answered), list(standing.slack.blocks())
        chosen: list[Saying] = []
        for peer, need in needs:
            answer = best_answer(need, standing, only=left)
            if answer is None or need.resource.id in answered or len(chosen) >= room:
                continue
            answered.add(need.resource.id)
            left = [block for block in left if block not in answer.moves]
            payload = ContractMessage(contract=interest_in(need, most_kw=answer.most_kw))
            chosen.append(Saying(payload, "select", is_new=True, peer=peer))
        return Reaction(tuple(chosen))

    async def _offer(self, step: Step) -> Reaction:
        try:
            need = need_of(step.state.contract)
        except BecknError as error:
            return leave(step, error.reason)
        answer = best_answer(need, await self._house.standing()) if _is_understood(need) else None
        if answer is None:
            return leave(step, "at this price nothing can be offered any more")
        contract = with_bid(
            step.state.contract,
            answer.offered_kw,
            seller=self._id,
            meters=[meter_of(resource_id(self._id, block.job_id)) for block in answer.moves],
        )
        return sayings(Saying(ContractMessage(contract=contract), "init"))

    async def _confirm(self, step: Step) -> Reaction:
        contract = step.state.contract
        try:
            fault = _fault(contract, step.before.contract if step.before else contract)
        except BecknError as error:
            fault = error.reason
        if fault is not None:
            return leave(step, fault)
        need, bid = need_of(contract), read_bid(contract)
        standing = await self._house.standing()
        named = {block_of(meter) for meter in bid.meters}
        blocks = {
            block
            for block in standing.slack.blocks()
            if resource_id(self._id, block.job_id) in named
        }
        answer = best_answer(need, standing, only=blocks)
        if answer is None or tuple(answer.offered_kw) != bid.table.column(OFFERED).values:
            return leave(step, "the plan changed since the offer was made")
        holds = tuple(
            Hold(
                step.state.transaction_id,
                str(block.job_id),
                start,
                block.half_hours,
                round(block.energy_kwh, 6),
            )
            for block, start in answer.moves.items()
        )
        return Reaction((Saying(ContractMessage(contract=contract), "confirm"),), holds)


def _is_understood(need: Need) -> bool:
    return need.currency == CURRENCY and need.rule == RULE_PATH and bool(need.half_hours)


def _fault(said: Contract, ours: Contract) -> str | None:
    """Return how the answer to our offer differs from it, if it does."""
    theirs, mine = read_bid(said), read_bid(ours)
    if (theirs.table, theirs.meters, theirs.seller) != (mine.table, mine.meters, mine.seller):
        return "the answer is about another offer than ours"
    if price_of(need_of(said)) != price_of(need_of(ours)):
        return "the price changed since the quote"
    return None


def _leaves(need: Need, block: Block) -> bool:
    return any(block.energy_from(block.planned, one) for one in need.half_hours)


def _starts(need: Need, slack: Slack, block: Block) -> list[HalfHour]:
    """Return where a block could go so that it is out of the way, the cheapest first."""
    free = [
        start
        for start in block.starts
        if not any(block.energy_from(start, one) for one in need.half_hours)
    ]
    return sorted(free, key=lambda start: (slack.cost_gbp(block, start), start))[:TRIED]


def _margin_gbp(
    need: Need, standing: Standing, answer: Answer, block: Block, starts: Sequence[HalfHour]
) -> float:
    """Return what moving a block to the first of some starts brings beyond its owner's premium."""
    if not starts:
        return -float("inf")
    slack = standing.slack
    leaving = [one for one in answer.grid if block.energy_from(block.planned, one)]
    paid = sum(
        need.price_per_kwh(one) * energy_kwh(_room_kw(need, answer, one, block)) for one in leaving
    )
    extra = slack.cost_gbp(block, starts[0]) - slack.cost_gbp(block, block.planned)
    premium = float(standing.terms.price(block.job_id)) * block.half_hour_kwh * len(leaving)
    return paid - extra - premium


def _room_kw(need: Need, answer: Answer, half_hour: HalfHour, block: Block) -> float:
    offered = answer.offered_kw[answer.grid.index(half_hour)]
    return max(0.0, min(block.power_kw, need.requested_kw(half_hour) - offered))


def _add(need: Need, answer: Answer, block: Block) -> None:
    for index, one in enumerate(answer.grid):
        if block.energy_from(block.planned, one):
            answer.offered_kw[index] += _room_kw(need, answer, one, block)
            answer.offered_kw[index] = round(answer.offered_kw[index], 6)


def _has_room(slack: Slack, moves: Mapping[Block, HalfHour]) -> bool:
    try:
        slack.require_room(moves)
    except InfeasibleError:
        return False
    return True


def _check_settlement(step: Step) -> None:
    state = step.state
    if not is_whole(state.contract.performance or ()):
        return
    fault = settlement_fault(state.contract)
    if fault is not None:
        log.warning("contract %s of %s: %s", state.contract_id, state.peer_id, fault)
