"""Which GPUs each job of a Ray cluster holds, as its dashboard tells them.

A GPU is held by the entrypoint that reserved it (through the actor that runs it) or by a task or
actor of the job's driver. Ray renews these figures every 15 s or so.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from gridflex.adapters.clusters.ray_gpus import within
from gridflex.adapters.clusters.ray_jobs import RayJob, Reply
from gridflex.capping import GpuSlot
from gridflex.errors import SourceError
from gridflex.together import together

SUPERVISOR: Final = "_ray_internal_job_actor_"
"""Ray's name of the actor that runs an entrypoint, before the submission id."""

_GPU: Final = re.compile(r"GPU(_group_[0-9A-Za-z_]+)?")
"""A node's GPUs, or those of a placement group."""


class Dashboard(Protocol):
    """One cluster; see `gridflex.adapters.clusters.ray_jobs.RayJobs`."""

    async def list(self) -> list[RayJob]:
        """Return every job the cluster knows."""
        ...

    async def forward(self, method: str, path: str) -> Reply:
        """Pass a request on and return the answer unchanged."""
        ...


async def gpu_nodes(cluster: Dashboard) -> list[str]:
    """Return the ids of the live nodes that have GPUs.

    Raises:
        SourceError: The cluster does not answer.
    """
    summary = within(await _json(cluster, "/nodes?view=summary"), "data", "summary") or []
    return [
        str(within(node, "raylet", "nodeId"))
        for node in summary
        if within(node, "raylet", "state") == "ALIVE"
        and float(within(node, "raylet", "resourcesTotal", "GPU") or 0) > 0
    ]


async def gpu_slots(cluster: Dashboard) -> dict[str, tuple[GpuSlot, ...]]:
    """Return the whole GPUs that each submitted job holds, by submission id.

    A GPU of which a job holds a share is left out, as it may be another's as well.

    Raises:
        SourceError: The cluster does not answer.
    """
    nodes = await gpu_nodes(cluster)
    jobs = {
        str(job.details["job_id"]): job.ray_id
        for job in await cluster.list()
        if job.details.get("job_id")
    }
    found: dict[str, set[GpuSlot]] = {}
    for node, told in zip(
        nodes, await together(_json(cluster, f"/nodes/{node}") for node in nodes), strict=True
    ):
        detail = within(told, "data", "detail")
        for ray_id, index in _held(detail, jobs):
            found.setdefault(ray_id, set()).add(GpuSlot(node, index))
    return {
        ray_id: tuple(sorted(slots, key=lambda slot: (slot.node_id, slot.index)))
        for ray_id, slots in found.items()
    }


def _held(detail: object, jobs: Mapping[str, str]) -> Iterator[tuple[str, int]]:
    """Yield the submission id and number of each GPU that a worker of the node holds."""
    actors = (within(detail, "actors") or {}).values()
    supervised = {
        str(within(actor, "address", "workerId")): str(name).removeprefix(SUPERVISOR)
        for actor in actors
        if str(name := within(actor, "name") or "").startswith(SUPERVISOR)
    }
    for worker in within(detail, "workers") or ():
        for stats in within(worker, "coreWorkerStats") or ():
            ray_id = supervised.get(str(stats.get("workerId"))) or jobs.get(str(stats.get("jobId")))
            if ray_id is not None:
                yield from ((ray_id, index) for index in _whole_gpus(stats))


def _whole_gpus(stats: Mapping[str, Any]) -> Iterator[int]:
    for name, used in (stats.get("usedResources") or {}).items():
        if _GPU.fullmatch(name):
            for slot in within(used, "resourceSlots") or ():
                if float(slot.get("allocation") or 0) >= 1:
                    yield int(slot.get("slot") or 0)


async def _json(cluster: Dashboard, path: str) -> object:
    answer = await cluster.forward("GET", path)
    try:
        return json.loads(answer.body)
    except ValueError as error:
        raise SourceError(f"{path}: the answer is not JSON") from error
