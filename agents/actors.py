"""The three agents as detached Ray actors: thin shells that build a core and tick it.

Each is found by its name in the namespace ``gridflex`` and started idempotently. Ray restarts
one that dies; one that was killed for good is started again by `ensure_agents`, which the HTTP
application calls with every health check.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Final, TypeVar

import ray
from ray.actor import ActorHandle, ActorProxy
from ray.exceptions import RayError

from gridflex.adapters.database import place
from gridflex.adapters.grid_store import GridStore
from gridflex.adapters.ledger_feed import LedgerFeed
from gridflex.adapters.receipt_store import ReceiptStore
from gridflex.adapters.timestamps import TimestampAuthority
from gridflex.agents.bookkeeper import Bookkeeper
from gridflex.agents.cleaning import Cleaner, Retention
from gridflex.agents.energy import EnergySeller
from gridflex.agents.energy_ports import build_seller
from gridflex.agents.loop import Next, Tick, run_forever
from gridflex.agents.own_cluster import OwnCluster
from gridflex.agents.ports import Ports, build_ports
from gridflex.agents.roles import (
    BOOKS,
    BOOKS_EVERY_S,
    ENERGY,
    ENERGY_EVERY_S,
    GRID,
    NAMESPACE,
    ON_HEAD,
    ORCHESTRATOR,
    TRADING,
    TRADING_EVERY_S,
    WORKLOAD,
)
from gridflex.agents.trading import Trading
from gridflex.agents.trading_ports import build_planner, build_trading
from gridflex.agents.workload import Workload
from gridflex.errors import SourceError
from gridflex.halfhour import HalfHour
from gridflex.planning.warm_up import warm_up
from gridflex.settings import Settings, dump_settings, parse_settings

log = logging.getLogger(__name__)

POLLS_PER_HALF_HOUR: Final = 10
SLOWEST_POLL_S: Final = 2.0
FASTEST_POLL_S: Final = 0.5
"""Wall time between two looks at the clusters; changes in the database wake the agent earlier."""

ASK_AGAIN_S: Final = 20.0
"""Wall time after which a stop that had no effect is asked for again."""

ANSWER_S: Final = 10.0
"""Wall time within which an agent says who it is."""

NICENESS: Final = 10
"""Where processors are short, who asks is answered before what can wait a moment is worked out."""

DEPLOY_TRIES: Final = 5

IDLE_S: Final = 86_400.0
RETRY_S: Final = 2.0

Shell = TypeVar("Shell")


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose agent one is.

    Args:
        place: Where its data is.
        settings_digest: Digest of all its settings.
    """

    place: str
    settings_digest: str


def identity(settings: Settings) -> Identity:
    """Return the identity of agents with these settings."""
    digest = hashlib.sha256(dump_settings(settings).encode()).hexdigest()
    return Identity(place(settings), digest)


class AgentShell:
    """What every agent's actor answers.

    Args:
        settings_yaml: What it was started with.
        loops: Its loops; a failure of one ends the process, and Ray starts it again.
    """

    def __init__(self, settings_yaml: str, *loops: _AgentLoop) -> None:
        os.nice(NICENESS)
        self._identity = identity(parse_settings(settings_yaml))
        self._loops = loops

    @ray.method
    async def ping(self) -> str:
        """Return the agent's role."""
        return self._loops[0].role

    @ray.method
    async def identity(self) -> Identity:
        """Return whose agent it is."""
        return self._identity


class WorkloadActor(AgentShell):
    """`Workload` behind Ray. Builds the core and ticks it; decides nothing."""

    def __init__(self, settings_yaml: str) -> None:
        wanted = frozenset({"job", "stop", "plan", "curtailment"})
        super().__init__(settings_yaml, _AgentLoop(WORKLOAD, settings_yaml, _workload_tick, wanted))


class GridActor(AgentShell):
    """`Grid`, `Bookkeeper`, `Trading` and `EnergySeller` behind Ray; decides nothing."""

    def __init__(self, settings_yaml: str) -> None:
        super().__init__(
            settings_yaml,
            _AgentLoop(GRID, settings_yaml, _grid_tick, frozenset()),
            _AgentLoop(BOOKS, settings_yaml, _books_tick, frozenset({"plan", "stop", "ended"})),
            _AgentLoop(TRADING, settings_yaml, _trading_tick, frozenset({"beckn"})),
            _AgentLoop(ENERGY, settings_yaml, _energy_tick, frozenset()),
        )


class OrchestratorActor(AgentShell):
    """`Orchestrator` behind Ray. Builds the core and ticks it; decides nothing."""

    def __init__(self, settings_yaml: str) -> None:
        wanted = frozenset({"job", "stop", "ended", "forecast", "hold", "curtailment"})
        super().__init__(
            settings_yaml, _AgentLoop(ORCHESTRATOR, settings_yaml, _orchestrator_tick, wanted)
        )


def start_workload(settings: Settings) -> ActorProxy[WorkloadActor]:
    """Start the workload agent of this cluster, or return it if it already runs."""
    return _start(WorkloadActor, WORKLOAD, settings)


def start_grid(settings: Settings) -> ActorProxy[GridActor]:
    """Start the grid agent of this cluster, or return it if it already runs."""
    return _start(GridActor, GRID, settings)


def start_orchestrator(settings: Settings) -> ActorProxy[OrchestratorActor]:
    """Start the orchestration engine of this cluster, or return it if it already runs."""
    return _start(OrchestratorActor, ORCHESTRATOR, settings)


def ensure_agents(settings: Settings) -> None:
    """Start every agent that does not run; returns without waiting for them."""
    start_workload(settings)
    start_grid(settings)
    start_orchestrator(settings)


def check_cluster_is_ours(settings: Settings) -> None:
    """Refuse a cluster on which the agents of another GridFlex run.

    Raises:
        SourceError: They do; names where their data is.
    """
    ours = identity(settings)
    for name, agent in _running():
        other = _identity_of(name, agent)
        if other is not None and other.place != ours.place:
            raise SourceError(
                f"another GridFlex runs on this Ray cluster, with its data in {other.place}; this "
                f"one has {ours.place}: end the other first, or use its settings"
            )


def deploy_agents(settings: Settings) -> None:
    """Start every agent that does not run, and replace those that run with other settings.

    Raises:
        SourceError: They belong to another GridFlex, or are replaced by someone else each time.
    """
    check_cluster_is_ours(settings)
    for _ in range(DEPLOY_TRIES):
        outdated = [a for name, a in _running() if _identity_of(name, a) != identity(settings)]
        for agent in outdated:
            ray.kill(agent)
        ensure_agents(settings)
        if not outdated:
            return
    raise SourceError("the agents keep running with other settings: who else deploys them?")


def stop_agents() -> None:
    """End the agents of this cluster for good; what they knew is in the database."""
    for _, agent in _running():
        ray.kill(agent)


def _identity_of(name: str, agent: ActorHandle[AgentShell]) -> Identity | None:
    try:
        found: object = ray.get(agent.identity.remote(), timeout=ANSWER_S)
    except RayError as error:
        log.warning("agent %s does not say who it is: %s", name, error)
        return None
    return found if isinstance(found, Identity) else None


def _running() -> Iterator[tuple[str, ActorHandle[AgentShell]]]:
    for name in (WORKLOAD, GRID, ORCHESTRATOR):
        with contextlib.suppress(ValueError):  # it does not run
            yield name, ray.get_actor(name, namespace=NAMESPACE)


class _AgentLoop:
    """One agent's loop as a task of the actor's event loop."""

    def __init__(
        self,
        role: str,
        settings_yaml: str,
        make_tick: Callable[[Ports], Awaitable[Tick]],
        wanted: frozenset[str],
    ) -> None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
        self.role = role
        self._settings = parse_settings(settings_yaml)
        self._make_tick = make_tick
        self._wanted = wanted
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._task.add_done_callback(self._end_process)

    def _end_process(self, loop: asyncio.Task[None]) -> None:
        """Let Ray start the agent again, rather than live on without a loop."""
        if not loop.cancelled():
            log.error("agent %s: its loop ended", self.role, exc_info=loop.exception())
            os._exit(1)

    async def _run(self) -> None:
        ports, tick = await self._prepare()
        await run_forever(
            self.role,
            tick,
            url=ports.url,
            clock=ports.clock,
            heartbeats=ports.agents,
            wanted=self._wanted,
        )

    async def _prepare(self) -> tuple[Ports, Tick]:
        while True:
            try:
                ports = await asyncio.to_thread(build_ports, self._settings)
                return ports, await self._make_tick(ports)
            except SourceError as error:
                log.warning("agent %s cannot start yet: %s", self.role, error)
                await asyncio.sleep(RETRY_S)


async def _workload_tick(ports: Ports) -> Tick:
    speed = ports.clock.speed
    core = Workload(
        jobs=ports.jobs,
        plans=ports.plans,
        curtailments=ports.curtailments,
        clusters=ports.clusters,
        sites=await ports.sites(),
        packages=ports.packages,
        restart=ports.restart,
        ask_again_after=timedelta(seconds=ASK_AGAIN_S * speed),
        checkpoint_root=ports.settings.checkpoint_root,
        clock=ports.clock.now,
        gridflex_time=ports.clock.at,
    )
    cleaner = Cleaner(jobs=ports.jobs, packages=ports.packages)
    half_hour_s = ports.clock.wall_s(1800)
    poll_s = min(SLOWEST_POLL_S, max(FASTEST_POLL_S, half_hour_s / POLLS_PER_HALF_HOUR))

    async def tick(now: datetime, _reasons: frozenset[str]) -> Next:
        report = await core.tick(now)
        await cleaner.tick(ports.clock.wall_now())
        return Next(min(poll_s * speed, _to_next_half_hour_s(now)), asdict(report))

    return tick


async def _grid_tick(ports: Ports) -> Tick:
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


async def _books_tick(ports: Ports) -> Tick:
    ledger = ports.signing_ledger()
    core = Bookkeeper(
        ledger=ledger,
        feed=LedgerFeed(ports.engine),
        receipts=ReceiptStore(ports.engine, ledger=ledger),
        jobs=ports.jobs,
        outturns=GridStore(ports.engine),
        sites=await ports.sites(),
        restart=ports.restart,
        stamper=TimestampAuthority(url) if (url := ports.settings.ledger.timestamp_url) else None,
    )

    async def tick(now: datetime, _reasons: frozenset[str]) -> Next:
        report = await core.tick(now)
        return Next(min(BOOKS_EVERY_S, _to_next_half_hour_s(now)), asdict(report))

    return tick


async def _trading_tick(ports: Ports) -> Tick:
    if ports.settings.market.subscriber_id is None:
        return _idle
    planner = await build_planner(ports)
    desk: list[Trading] = []

    async def tick(now: datetime, _reasons: frozenset[str]) -> Next:
        if not desk:
            desk.append(build_trading(ports, planner=planner))
        report = await desk[0].tick(now, wall=ports.clock.wall_now())
        return Next(TRADING_EVERY_S * ports.clock.speed, asdict(report))

    return tick


async def _energy_tick(ports: Ports) -> Tick:
    if ports.settings.energy.unit is None:
        return _idle
    seller: list[EnergySeller] = []

    async def tick(now: datetime, _reasons: frozenset[str]) -> Next:
        if not seller:
            seller.append(await build_seller(ports))
        report = await seller[0].tick(now)
        return Next(min(ENERGY_EVERY_S, _to_next_half_hour_s(now)), asdict(report))

    return tick


async def _idle(_now: datetime, _reasons: frozenset[str]) -> Next:
    return Next(IDLE_S)


async def _orchestrator_tick(ports: Ports) -> Tick:
    core = await build_planner(ports)
    await asyncio.to_thread(warm_up)
    retention = Retention(
        "inputs of plans",
        ports.plans.forget_inputs,
        kept_days=ports.settings.retention.plan_inputs_days,
    )

    async def tick(now: datetime, reasons: frozenset[str]) -> Next:
        await retention.tick(now)
        report = await core.tick(now, reason=", ".join(sorted(reasons)) or "tick")
        due_s = min(ports.settings.planner.replan_s, _to_next_half_hour_s(now))
        return Next(due_s, asdict(report))

    return tick


def _to_next_half_hour_s(now: datetime) -> float:
    return (HalfHour.containing(now).end - now).total_seconds()


def _start(shell: type[Shell], name: str, settings: Settings) -> ActorProxy[Shell]:
    started: ActorProxy[Shell] = (
        ray.remote(shell)
        .options(
            name=name,
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            max_restarts=-1,
            num_cpus=0,
            resources=ON_HEAD,
        )
        .remote(dump_settings(settings))
    )
    return started
