"""Power limits of planned modes, set on the GPUs that a run holds and lifted when it ends.

Part of the workload agent's tick. A limit is recorded before it is set; one that is recorded and
belongs to no run any more is lifted, whoever set it. Where limits cannot be set, that is noted:
plans then have none there, and runs start without.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from gridflex.adapters.power.store import PowerStore
from gridflex.capping import Ability, GpuPower, GpuSlot, NodePower, PowerLimit
from gridflex.errors import NoAnswerError, SourceError
from gridflex.jobs import JobId
from gridflex.lifecycle import Attempt, Job, JobEventKind

log = logging.getLogger(__name__)

Run = tuple[JobId, int]

GONE_FOR_GOOD: Final = timedelta(days=1)
"""A GPU that is on no node for so long is not waited for: its limit counts as lifted."""


class Keepers(Protocol):
    """The power keepers of this cluster; see `gridflex.agents.power.keepers.Keepers`."""

    async def reports(self) -> Mapping[str, NodePower]:
        """Return what each node with GPUs can do about power, by Ray's id of the node."""
        ...

    async def limit(self, node: str, gpu: str, watts: float, *, before_w: float) -> None:
        """Set a limit."""
        ...

    async def lift(self, node: str, gpu: str, before_w: float) -> None:
        """Put a limit back."""
        ...

    async def hold(self, node: str) -> frozenset[str]:
        """Go on with the limits of a node, and return which of its GPUs are under one."""
        ...


@dataclass(frozen=True, slots=True)
class Cluster:
    """What is asked of a site's cluster; see `gridflex.adapters.clusters.ray_slots`.

    Args:
        nodes: Returns the ids of its nodes with GPUs.
        slots: Returns the GPUs that each job holds, by submission id.
    """

    nodes: Callable[[], Awaitable[Sequence[str]]]
    slots: Callable[[], Awaitable[Mapping[str, Sequence[GpuSlot]]]]


class Capping:
    """Sets and lifts limits.

    Args:
        store: Where limits are recorded.
        keepers: Who sets them.
        clusters: The sites where GridFlex is to set them, by name.
        check_every: GridFlex time between two looks at what can be set where.
    """

    def __init__(
        self,
        *,
        store: PowerStore,
        keepers: Keepers,
        clusters: Mapping[str, Cluster],
        check_every: timedelta,
    ) -> None:
        self._store = store
        self._keepers = keepers
        self._clusters = clusters
        self._check_every = check_every
        self._checked_at: datetime | None = None
        self._nodes: Mapping[str, NodePower] = {}
        self._refusals = dict.fromkeys(clusters, "it is not known yet whether they can be set")
        self._told: set[tuple[Run, str]] = set()

    @property
    def sites(self) -> Collection[str]:
        """The sites where GridFlex is to set limits."""
        return self._clusters.keys()

    @property
    def refusals(self) -> Mapping[str, str]:
        """Those of which it is not known that it can, and why not."""
        return self._refusals

    async def limits_of(self, runs: Collection[Run]) -> list[PowerLimit]:
        """Return all limits of some runs.

        Raises:
            SourceError: The database does not answer.
        """
        return await self._store.of_attempts(runs)

    async def tick(self, jobs: Sequence[Job], now: datetime) -> None:
        """Lift what belongs to no run, and limit the runs of capped modes that are not limited.

        Args:
            jobs: Open jobs as they are now.
            now: GridFlex time.

        Raises:
            SourceError: The database does not answer; a node or cluster that does not waits.
        """
        if self._checked_at is None or now - self._checked_at >= self._check_every:
            await self._check(now)
        wanted = {
            (job.id, attempt.number): (job, attempt)
            for job in jobs
            if (attempt := job.live_attempt)
            and attempt.site in self._clusters
            and attempt.started_at is not None
            and attempt.power_cap_fraction < 1
        }
        holders = await self._holders({attempt.site for _, attempt in wanted.values()}, now)
        still = await self._settle(wanted, holders, now)
        await self._limit_all(wanted, still, now)

    async def _check(self, now: datetime) -> None:
        self._nodes = await self._keepers.reports()
        self._checked_at = now
        known = await self._store.abilities()
        for name, cluster in self._clusters.items():
            try:
                ability = _ability(name, await cluster.nodes(), self._nodes, at=now)
            except SourceError as error:
                log.warning("site %s: power limits stay as they were: %s", name, error)
                continue
            self._refusals.pop(name, None)
            if not ability.is_able:
                self._refusals[name] = ability.detail
            before = known.get(name)
            if before is None or (before.is_able, before.detail) != (
                ability.is_able,
                ability.detail,
            ):
                log.info("site %s: %s", name, ability.detail)
                await self._store.note_ability(ability)

    async def _holders(self, sites: Collection[str], now: datetime) -> dict[str, set[str]]:
        """Return the runs that hold each GPU, by its UUID; looks when limits are checked."""
        holders: dict[str, set[str]] = {}
        if self._checked_at != now:
            return holders
        for site in sorted(sites):
            for ray_id, slots in (await self._slots(site)).items():
                for slot in slots:
                    with suppress(SourceError):
                        holders.setdefault(self._gpu(slot).uuid, set()).add(ray_id)
        return holders

    async def _settle(
        self,
        wanted: Mapping[Run, tuple[Job, Attempt]],
        holders: Mapping[str, Collection[str]],
        now: datetime,
    ) -> list[PowerLimit]:
        """Lift what is not wanted, or not held any more; return what is, or may be, in force."""
        recorded = await self._store.open()
        nodes = {limit.id: self._node_of(limit) for limit in recorded}
        held = {node: await self._held(node) for node in set(nodes.values()) if node}
        lifted = [
            limit
            for limit in recorded
            for node in [nodes[limit.id]]
            if node != limit.node_id
            or not _is_kept(limit, wanted, held.get(node))
            or _is_passed_on(limit, wanted, holders)
            if (await self._lift(limit, node) if node else now - limit.recorded_at > GONE_FOR_GOOD)
        ]
        await self._store.note_lifted([limit.id for limit in lifted], at=now)
        for run in {(limit.job_id, limit.attempt) for limit in lifted if limit.set_at}:
            gpus = sum((limit.job_id, limit.attempt) == run for limit in lifted)
            detail = {"attempt": run[1], "gpus": gpus, "still_runs": run in wanted}
            await self._store.tell(run[0], JobEventKind.POWER_RESTORED, detail, at=now)
        gone = {limit.id for limit in lifted}
        return [limit for limit in recorded if limit.id not in gone]

    async def _held(self, node: str) -> frozenset[str] | None:
        try:
            return await self._keepers.hold(node)
        except SourceError as error:
            log.warning("%s", error)
            return None

    def _node_of(self, limit: PowerLimit) -> str | None:
        """Return where its GPU is: a node that was started anew has another id."""
        if limit.node_id in self._nodes:
            return limit.node_id
        return next(
            (
                node
                for node, power in self._nodes.items()
                if any(gpu.uuid == limit.gpu for gpu in power.gpus)
            ),
            None,
        )

    async def _lift(self, limit: PowerLimit, node: str) -> bool:
        try:
            await self._keepers.lift(node, limit.gpu, limit.before_w)
        except SourceError as error:
            log.warning("a power limit is lifted later: %s", error)
            return False
        return True

    async def _limit_all(
        self,
        wanted: Mapping[Run, tuple[Job, Attempt]],
        still: Sequence[PowerLimit],
        now: datetime,
    ) -> None:
        limited = Counter((limit.job_id, limit.attempt) for limit in still)
        taken = {limit.gpu for limit in still}
        missing = {
            run: (job, attempt)
            for run, (job, attempt) in wanted.items()
            if limited[run] < job.shape_of(attempt).gpus
        }
        slots = {site: await self._slots(site) for site in {a.site for _, a in missing.values()}}
        to_do = {
            run: (attempt, found)
            for run, (_, attempt) in missing.items()
            if (found := slots[attempt.site].get(attempt.ray_id))
        }
        if to_do:
            self._nodes = await self._keepers.reports()  # with what is in force at this moment
        for run, (attempt, found) in to_do.items():
            await self._limit(run, attempt, found, taken, now)

    async def _slots(self, site: str) -> Mapping[str, Sequence[GpuSlot]]:
        try:
            return await self._clusters[site].slots()
        except SourceError as error:
            log.warning("site %s: which GPUs its jobs hold is not known: %s", site, error)
            return {}

    async def _limit(
        self,
        run: Run,
        attempt: Attempt,
        slots: Sequence[GpuSlot],
        taken: Collection[str],
        now: datetime,
    ) -> None:
        numbers: list[int] = []
        watts = 0.0
        for slot in slots:
            try:
                gpu = self._gpu(slot)
                if gpu.uuid in taken:
                    continue
                watts = gpu.watts(attempt.power_cap_fraction)
                numbers.append(await self._set(run, attempt, slot.node_id, gpu, now))
            except SourceError as error:
                self._checked_at = None  # perhaps none can be set there any more
                await self._tell_once(run, str(error), now)
        await self._store.note_set(numbers, at=now)
        if numbers:
            detail = {"attempt": run[1], "gpus": len(numbers), "limit_w": watts}
            await self._store.tell(run[0], JobEventKind.POWER_LIMITED, detail, at=now)

    def _gpu(self, slot: GpuSlot) -> GpuPower:
        node = self._nodes.get(slot.node_id)
        if node is None:
            raise SourceError(f"node {slot.node_id} is not on the cluster of the agents")
        if node.refusal:
            raise SourceError(node.refusal)
        if slot.index >= len(node.gpus):
            raise SourceError(f"node {slot.node_id}: NVML knows no GPU {slot.index}")
        return node.gpus[slot.index]

    async def _set(
        self, run: Run, attempt: Attempt, node: str, gpu: GpuPower, now: datetime
    ) -> int:
        watts = gpu.watts(attempt.power_cap_fraction)
        number = await self._store.record(
            run[0],
            run[1],
            site=attempt.site,
            node_id=node,
            gpu=gpu.uuid,
            before_w=gpu.limit_w,
            limit_w=watts,
            at=now,
        )
        try:
            await self._keepers.limit(node, gpu.uuid, watts, before_w=gpu.limit_w)
        except NoAnswerError:  # it may have been set: it stays recorded, and is lifted
            raise
        except SourceError:
            await self._store.note_lifted([number], at=now)
            raise
        return number

    async def _tell_once(self, run: Run, why: str, now: datetime) -> None:
        if (run, why) in self._told:
            return
        self._told.add((run, why))
        log.warning("run %s of job %s is not limited: %s", run[1], run[0], why)
        detail = {"attempt": run[1], "why": why}
        await self._store.tell(run[0], JobEventKind.POWER_NOT_LIMITED, detail, at=now)


def _is_kept(limit: PowerLimit, wanted: Collection[Run], held: Collection[str] | None) -> bool:
    """Return whether a limit stays: its run wants it, and it is in force as far as is known."""
    if (limit.job_id, limit.attempt) not in wanted or limit.set_at is None:
        return False
    return held is None or limit.gpu in held


def _ability(
    site: str, nodes: Sequence[str], known: Mapping[str, NodePower], *, at: datetime
) -> Ability:
    """Return whether limits can be set on every node of a site."""
    if not nodes:
        return Ability(site, is_able=False, detail="no node with GPUs", at=at)
    foreign = [node for node in nodes if node not in known]
    if foreign:
        why = "it is not the Ray cluster of the agents, which set limits on its nodes only"
        return Ability(site, is_able=False, detail=why, at=at)
    refusals = [f"node {node}: {known[node].refusal}" for node in nodes if known[node].refusal]
    if refusals:
        return Ability(site, is_able=False, detail=refusals[0], at=at)
    gpus = [gpu for node in nodes for gpu in known[node].gpus]
    least = max(gpu.least_w / gpu.default_w for gpu in gpus) if gpus else 1.0
    detail = f"can be set on {len(gpus)} GPUs, from {least:.0%} of their default on"
    return Ability(site, is_able=bool(gpus), detail=detail, at=at)


def _is_passed_on(
    limit: PowerLimit,
    wanted: Mapping[Run, tuple[Job, Attempt]],
    holders: Mapping[str, Collection[str]],
) -> bool:
    """Return whether its GPU is another job's by now: a run may hold GPUs for a while only."""
    _, attempt = wanted[limit.job_id, limit.attempt]
    return attempt.ray_id not in holders.get(limit.gpu, (attempt.ray_id,))
