"""What each agent does when its loop wakes it: cores built over real ports, and their pace.

Imports are where they are used: an agent's process loads what that agent needs, not the others'.
"""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from gridflex.adapters.grid.store import GridStore
from gridflex.agents.cleaning import Cleaner, Retention
from gridflex.agents.loop import Next, Tick
from gridflex.agents.ports import Ports
from gridflex.agents.roles import (
    BOOKS_EVERY_S,
    ENERGY_EVERY_S,
    TRADING_EVERY_S,
)
from gridflex.agents.site_sizes import Resized, Sized
from gridflex.halfhour import HalfHour

if TYPE_CHECKING:
    from gridflex.agents.beckn.desk import Trading
    from gridflex.agents.energy.seller import EnergySeller
    from gridflex.agents.power.capping import Capping

POLLS_PER_HALF_HOUR: Final = 10
SLOWEST_POLL_S: Final = 2.0
FASTEST_POLL_S: Final = 0.5
"""Wall time between two looks at the clusters; changes in the database wake the agent earlier."""

LIMITS_CHECKED_EVERY_S: Final = 60.0
"""Wall time between two looks at where power limits can be set."""

ASK_AGAIN_S: Final = 20.0
"""Wall time after which a stop that had no effect is asked for again."""

IDLE_S: Final = 86_400.0


async def workload_tick(ports: Ports) -> Tick:
    """Return the tick that starts and follows runs, and removes packages that nobody needs."""
    from gridflex.agents.workload import Workload

    speed = ports.clock.speed
    capping = _capping(ports)

    def build(found: Sized) -> Workload:
        return Workload(
            jobs=ports.jobs,
            plans=ports.plans,
            curtailments=ports.curtailments,
            clusters=ports.clusters,
            sites=found.sites,
            packages=ports.packages,
            restart=ports.restart,
            ask_again_after=timedelta(seconds=ASK_AGAIN_S * speed),
            checkpoint_root=ports.settings.checkpoint_root,
            clock=ports.clock.now,
            gridflex_time=ports.clock.at,
            capping=capping,
        )

    workload = Resized(ports.sizes(), build)
    cleaner = Cleaner(jobs=ports.jobs, packages=ports.packages)
    half_hour_s = ports.clock.wall_s(1800)
    poll_s = min(SLOWEST_POLL_S, max(FASTEST_POLL_S, half_hour_s / POLLS_PER_HALF_HOUR))

    async def tick(now: datetime, _reasons: frozenset[str]) -> Next:
        core, found = await workload.now()
        report = await core.tick(now)
        await cleaner.tick(ports.clock.wall_now())
        shown = asdict(replace(report, degraded={**report.degraded, **found.degraded}))
        return Next(min(poll_s * speed, _to_next_half_hour_s(now)), shown)

    return tick


def _capping(ports: Ports) -> Capping | None:
    """Return what sets power limits; None where no site leaves that to GridFlex."""
    sites = [site.name for site in ports.settings.sites if site.is_capped_by_us]
    if not sites:
        return None
    from gridflex.adapters.clusters.ray_slots import gpu_nodes, gpu_slots
    from gridflex.adapters.power.store import PowerStore
    from gridflex.agents.power.capping import Capping, Cluster
    from gridflex.agents.power.keepers import Keepers

    return Capping(
        store=PowerStore(ports.engine),
        keepers=Keepers(),
        clusters={
            name: Cluster(
                nodes=partial(gpu_nodes, ports.clusters[name]),
                slots=partial(gpu_slots, ports.clusters[name]),
            )
            for name in sites
        },
        check_every=timedelta(seconds=LIMITS_CHECKED_EVERY_S * ports.clock.speed),
    )


async def grid_tick(ports: Ports) -> Tick:
    """Return the tick that polls the grid, forecasts it, and trains forecasters again."""
    from gridflex.agents.own_cluster import OwnCluster

    own = ports.own_forecasts()
    doubts = ports.learnt_doubts()
    retraining = ports.retraining(OwnCluster())
    retention = Retention(
        "raw responses",
        GridStore(ports.engine).forget_responses,
        kept_days=ports.settings.retention.raw_responses_days,
    )

    async def tick(now: datetime, _reasons: frozenset[str]) -> Next:
        report = await ports.grid.tick(now)
        ours = await own.tick(now)
        await doubts.tick(now)
        await retention.tick(now)
        degraded = {feed.name: feed.reason for feed in report.degraded}
        degraded |= await retraining.tick(now)
        degraded |= {f"own {name}": one.degraded for name, one in ours.items() if one.degraded}
        shown = {"saved": report.saved, "degraded": degraded}
        return Next(
            ports.settings.grid.poll_s,
            {**shown, "own": {signal.value: one.source for signal, one in ours.items()}},
        )

    return tick


async def books_tick(ports: Ports) -> Tick:
    """Return the tick that keeps the ledger and writes receipts."""
    from gridflex.adapters.ledger.feed import LedgerFeed
    from gridflex.adapters.ledger.timestamps import TimestampAuthority
    from gridflex.adapters.market.receipt_store import ReceiptStore
    from gridflex.agents.bookkeeper import Bookkeeper

    ledger = ports.signing_ledger()
    stamp_url = ports.settings.ledger.timestamp_url

    def build(found: Sized) -> Bookkeeper:
        return Bookkeeper(
            ledger=ledger,
            feed=LedgerFeed(ports.engine),
            receipts=ReceiptStore(ports.engine, ledger=ledger),
            jobs=ports.jobs,
            outturns=GridStore(ports.engine),
            sites=found.sites,
            restart=ports.restart,
            stamper=TimestampAuthority(stamp_url) if stamp_url else None,
            tariffs=ports.tariffs,
            unsized=frozenset(found.unsized),
        )

    books = Resized(ports.sizes(), build)

    async def tick(now: datetime, _reasons: frozenset[str]) -> Next:
        core, found = await books.now()
        report = await core.tick(now)
        shown = {**asdict(report), "degraded": found.degraded}
        return Next(min(BOOKS_EVERY_S, _to_next_half_hour_s(now)), shown)

    return tick


async def trading_tick(ports: Ports) -> Tick:
    """Return the tick that trades over Beckn; an idle one where nobody does."""
    if ports.settings.market.subscriber_id is None:
        return _idle
    from gridflex.agents.beckn.ports import SizedPlanner, build_trading

    planner = SizedPlanner(ports)
    desk: list[Trading] = []

    async def tick(now: datetime, _reasons: frozenset[str]) -> Next:
        if not desk:
            desk.append(build_trading(ports, planner=planner))
        report = await desk[0].tick(now, wall=ports.clock.wall_now())
        return Next(TRADING_EVERY_S * ports.clock.speed, asdict(report))

    return tick


async def energy_tick(ports: Ports) -> Tick:
    """Return the tick that sells energy; an idle one where no unit is named."""
    if ports.settings.energy.unit is None:
        return _idle
    from gridflex.agents.energy.ports import build_seller

    seller: list[EnergySeller] = []

    async def tick(now: datetime, _reasons: frozenset[str]) -> Next:
        if not seller:
            seller.append(await build_seller(ports))
        report = await seller[0].tick(now)
        return Next(min(ENERGY_EVERY_S, _to_next_half_hour_s(now)), asdict(report))

    return tick


async def _idle(_now: datetime, _reasons: frozenset[str]) -> Next:
    return Next(IDLE_S)


async def orchestrator_tick(ports: Ports) -> Tick:
    """Return the tick that plans."""
    from gridflex.agents.beckn.ports import SizedPlanner
    from gridflex.planning.warm_up import warm_up

    planner = SizedPlanner(ports)
    await asyncio.to_thread(warm_up)
    retention = Retention(
        "inputs of plans",
        ports.plans.forget_inputs,
        kept_days=ports.settings.retention.plan_inputs_days,
    )

    async def tick(now: datetime, reasons: frozenset[str]) -> Next:
        await retention.tick(now)
        core, found = await planner.now()
        report = await core.tick(now, reason=", ".join(sorted(reasons)) or "tick")
        due_s = min(ports.settings.planner.replan_s, _to_next_half_hour_s(now))
        return Next(due_s, {**asdict(report), "degraded": found.degraded})

    return tick


def _to_next_half_hour_s(now: datetime) -> float:
    return (HalfHour.containing(now).end - now).total_seconds()
