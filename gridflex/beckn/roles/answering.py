"""The answer to a published need: jobs that can leave its half-hours, offered as less load.

The need's publisher pays, so the roles are turned round: it is the platform that is asked, and
we ask. What can be offered is worked out anew from the plan at every step, and the jobs are held
before the order is confirmed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from gridflex.beckn.contracts.states import ContractState, Stage, Step
from gridflex.beckn.flexibility.demand_flex import need_settlement_fault
from gridflex.beckn.flexibility.needs import (
    OFFERED,
    REQUESTED,
    RULE_PATH,
    Bid,
    Need,
    interest_in,
    need_of,
    needs_in,
    price_of,
    read_bid,
    with_bid,
)
from gridflex.beckn.flexibility.offers import resource_id
from gridflex.beckn.messaging.keeping import Hold, Store
from gridflex.beckn.messaging.reacting import Reaction, Saying, sayings
from gridflex.beckn.roles.asking import Ask, Asker, peer_in, unwanted
from gridflex.beckn.roles.selling import Flexible, Standing
from gridflex.beckn.wire.entities import Catalog, Contract
from gridflex.beckn.wire.meters import block_of, meter_of, without_performance
from gridflex.beckn.wire.payloads import ContractMessage
from gridflex.errors import InfeasibleError
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId
from gridflex.planning.slack import Block, Slack
from gridflex.units import HOURS_PER_HALF_HOUR, energy_kwh

CURRENCY: Final = "GBP"
MOST_METERS: Final = 10_000
"""In one offer, which cannot be spread over messages; more would have to lie elsewhere."""

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
    most: int = MOST_METERS,
) -> Answer | None:
    """Return what is worth offering to a need; None if nothing is.

    A job is moved out of all the half-hours in which something is wanted, to the cheapest start
    for which there is room. It is worth it if what it earns covers what the move costs and the
    premium of its owner for each kWh that leaves. Jobs that bring most per kWh come first.

    Args:
        need: In pounds.
        standing: What there is to move.
        only: The blocks that may be moved; all by default.
        most: How many may be moved.
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
        if len(answer.moves) >= most:
            break
        for start in starts:
            if _margin_gbp(need, standing, answer, block, [start]) < 0:
                break
            if _has_room(slack, {**answer.moves, block: start}):
                answer.moves[block] = start
                _add(need, answer, block)
                break
    return answer if answer.moves else None


@dataclass(frozen=True, slots=True)
class Amendment:
    """What is to be asked about an agreed contract.

    Args:
        action: ``update`` or ``status``.
        contract: With which it is asked.
        holds: What the contract holds from then on.
    """

    action: str
    contract: Contract
    holds: tuple[Hold, ...]


class Answerer(Asker):
    """Offers less load to needs.

    Args:
        subscriber_id: Its own id, also as seller.
        house: Plans.
        store: Its contracts.
        most_contracts: Answers open at the same time.
    """

    def __init__(
        self, subscriber_id: str, *, house: Flexible, store: Store, most_contracts: int = 20
    ) -> None:
        super().__init__(
            subscriber_id, store=store, most_contracts=most_contracts, about_needs=True
        )
        self._house = house

    async def _asks(self, catalogs: Sequence[Catalog], taken: set[str]) -> list[Ask]:
        needs = [
            (peer_in(catalog), need)
            for catalog in catalogs
            for need in needs_in(catalog)
            if _is_understood(need)
        ]
        if not needs:
            return []
        standing = await self._house.standing()
        left = list(standing.slack.blocks())
        chosen: list[Ask] = []
        for peer, need in needs:
            answer = best_answer(need, standing, only=left)
            if answer is None or need.resource.id in taken:
                continue
            taken.add(need.resource.id)
            left = [block for block in left if block not in answer.moves]
            chosen.append((peer, interest_in(need, most_kw=answer.most_kw)))
        return chosen

    async def _go_on(self, step: Step, following: str) -> Reaction:
        return await (self._offer(step) if following == "init" else self._confirm(step))

    def _settlement_fault(self, contract: Contract) -> str | None:
        return need_settlement_fault(contract)

    async def amend(self, state: ContractState) -> Amendment | None:
        """Return what is to be asked about an agreed answer before its need begins, if anything.

        Where more jobs can leave the need's half-hours by now, more is offered. Where jobs are
        held for an offer whose answer was lost, the publisher is asked what it knows.
        """
        if state.stage is not Stage.ACTIVE or state.awaiting is not None:
            return None
        need, bid = need_of(state.contract), read_bid(state.contract)
        held = await self._held(state)
        if len(self._agreed(state, held)) < len(held):
            return Amendment("status", without_performance(state.contract), held)
        standing = await self._house.standing()
        if standing.now >= need.table.start or not _is_understood(need):
            return None
        more = best_answer(_left(need, bid), standing, most=MOST_METERS - len(bid.meters))
        if more is None:
            return None
        contract = with_bid(
            without_performance(state.contract),
            [
                bid.table.at(OFFERED, one) + kw
                for one, kw in zip(more.grid, more.offered_kw, strict=True)
            ],
            seller=bid.seller,
            meters=[*bid.meters, *(self._meter(block) for block in more.moves)],
        )
        return Amendment("update", contract, (*held, *_holds(state.transaction_id, more)))

    async def _follow(self, step: Step) -> Reaction:
        """Hold what the publisher says is agreed, and no other job."""
        state = step.state
        if state.stage is not Stage.ACTIVE:
            return Reaction()
        held = await self._held(state)
        agreed = self._agreed(state, held)
        _require_deliverable(step, agreed)
        if state.awaiting is not None:
            return Reaction()
        return Reaction(holds=agreed, renews_holds=True) if agreed != held else Reaction()

    async def _held(self, state: ContractState) -> tuple[Hold, ...]:
        return tuple(
            one for one in await self._store.holds() if one.transaction_id == state.transaction_id
        )

    def _agreed(self, state: ContractState, held: Sequence[Hold]) -> tuple[Hold, ...]:
        """Return the holds on jobs whose meters are in the contract."""
        meters = frozenset(read_bid(state.contract).meters)
        return tuple(
            one for one in held if meter_of(resource_id(self._id, JobId(one.thing))) in meters
        )

    def _meter(self, block: Block) -> str:
        return meter_of(resource_id(self._id, block.job_id))

    async def _offer(self, step: Step) -> Reaction:
        need = need_of(step.state.contract)
        answer = best_answer(need, await self._house.standing()) if _is_understood(need) else None
        if answer is None:
            raise unwanted("at this price nothing can be offered any more")
        contract = with_bid(
            step.state.contract,
            answer.offered_kw,
            seller=self._id,
            meters=[self._meter(block) for block in answer.moves],
        )
        return sayings(Saying(ContractMessage(contract=contract), "init"))

    async def _confirm(self, step: Step) -> Reaction:
        contract = step.state.contract
        _require_same(contract, step.before.contract if step.before else contract)
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
            raise unwanted("the plan changed since the offer was made")
        holds = _holds(step.state.transaction_id, answer)
        return Reaction((Saying(ContractMessage(contract=contract), "confirm"),), holds)


def _require_deliverable(step: Step, held: Sequence[Hold]) -> None:
    """Refuse an answer to an update that promises more than our jobs use, or at another price."""
    before = step.before.contract if step.before else step.state.contract
    if price_of(need_of(step.state.contract)) != price_of(need_of(before)):
        raise unwanted("the price changed since it was agreed")
    offered = read_bid(step.state.contract).table.column(OFFERED).values
    most = sum(one.energy_kwh / one.half_hours for one in held) / HOURS_PER_HALF_HOUR
    if max(value or 0.0 for value in offered) > most + 1e-6:
        raise unwanted(f"more is promised than the {most:g} kW of our jobs")


def _holds(transaction_id: str, answer: Answer) -> tuple[Hold, ...]:
    return tuple(
        Hold(
            transaction_id,
            str(block.job_id),
            start,
            block.half_hours,
            round(block.energy_kwh, 6),
        )
        for block, start in answer.moves.items()
    )


def _left(need: Need, bid: Bid) -> Need:
    """Return a need less what is offered to it already."""
    table = need.table
    wanted = table.column(REQUESTED)
    span = table.start.span(table.half_hours)
    values = tuple(max(0.0, need.requested_kw(one) - bid.table.at(OFFERED, one)) for one in span)
    columns = {**table.columns, REQUESTED: replace(wanted, values=values)}
    return replace(need, table=replace(table, columns=columns))


def _is_understood(need: Need) -> bool:
    return need.currency == CURRENCY and need.rule == RULE_PATH and bool(need.half_hours)


def _require_same(said: Contract, ours: Contract) -> None:
    """Refuse an answer to our offer that differs from it."""
    theirs, mine = read_bid(said), read_bid(ours)
    if (theirs.table, theirs.meters, theirs.seller) != (mine.table, mine.meters, mine.seller):
        raise unwanted("the answer is about another offer than ours")
    if price_of(need_of(said)) != price_of(need_of(ours)):
        raise unwanted("the price changed since the quote")


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
