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
from dataclasses import dataclass
from typing import Final, TypeVar

import ray
from ray.actor import ActorHandle, ActorProxy
from ray.exceptions import RayError

from gridflex.adapters.database import place
from gridflex.agents.loop import Tick, run_forever
from gridflex.agents.ports import Ports, build_ports
from gridflex.agents.roles import (
    BOOKS,
    ENERGY,
    GRID,
    NAMESPACE,
    ON_HEAD,
    ORCHESTRATOR,
    TRADING,
    WORKLOAD,
)
from gridflex.agents.ticks import (
    books_tick,
    energy_tick,
    grid_tick,
    orchestrator_tick,
    trading_tick,
    workload_tick,
)
from gridflex.errors import SourceError
from gridflex.settings import Settings
from gridflex.settings_files import dump_settings, parse_settings

log = logging.getLogger(__name__)

ANSWER_S: Final = 10.0
"""Wall time within which an agent says who it is."""

NICENESS: Final = 10
"""Where processors are short, who asks is answered before what can wait a moment is worked out."""

DEPLOY_TRIES: Final = 5

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
        super().__init__(settings_yaml, _AgentLoop(WORKLOAD, settings_yaml, workload_tick, wanted))


class GridActor(AgentShell):
    """`Grid`, `Bookkeeper`, `Trading` and `EnergySeller` behind Ray; decides nothing."""

    def __init__(self, settings_yaml: str) -> None:
        super().__init__(
            settings_yaml,
            _AgentLoop(GRID, settings_yaml, grid_tick, frozenset()),
            _AgentLoop(BOOKS, settings_yaml, books_tick, frozenset({"plan", "stop", "ended"})),
            _AgentLoop(TRADING, settings_yaml, trading_tick, frozenset({"beckn"})),
            _AgentLoop(ENERGY, settings_yaml, energy_tick, frozenset()),
        )


class OrchestratorActor(AgentShell):
    """`Orchestrator` behind Ray. Builds the core and ticks it; decides nothing."""

    def __init__(self, settings_yaml: str) -> None:
        wanted = frozenset({"job", "stop", "ended", "forecast", "hold", "curtailment", "power"})
        super().__init__(
            settings_yaml, _AgentLoop(ORCHESTRATOR, settings_yaml, orchestrator_tick, wanted)
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
