"""The power keepers of this cluster, one on each node with GPUs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Final, TypeVar

import ray
from ray.actor import ActorProxy
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from gridflex.agents.power.keeper import PowerKeeperActor
from gridflex.capping import NodePower
from gridflex.errors import NoAnswerError, SourceError
from gridflex.together import together

ANSWER_S: Final = 20.0
"""Wall time within which a keeper answers, its start included."""

T = TypeVar("T")


class Keepers:
    """Starts them and speaks to them.

    They belong to this process: Ray ends them with it, and their guards then lift every limit.
    """

    def __init__(self) -> None:
        self._actors: dict[str, ActorProxy[PowerKeeperActor]] = {}

    async def reports(self) -> Mapping[str, NodePower]:
        """Return what each node with GPUs can do about power, by Ray's id of the node."""
        nodes = await asyncio.to_thread(_gpu_nodes)
        self._actors = {node: self._actors.get(node) or _start(node) for node in sorted(nodes)}
        found = await together(self._report(node) for node in self._actors)
        return dict(zip(self._actors, found, strict=True))

    async def limit(self, node: str, gpu: str, watts: float, *, before_w: float) -> None:
        """Set a limit; see `gridflex.agents.power.keeper.PowerKeeper.limit`.

        Raises:
            SourceError: The driver refuses, or the node does not answer.
        """
        await _answer(node, self._actor(node).limit.remote(gpu, watts, before_w))

    async def lift(self, node: str, gpu: str, before_w: float) -> None:
        """Put a limit back.

        Raises:
            SourceError: The driver refuses, or the node does not answer.
        """
        await _answer(node, self._actor(node).lift.remote(gpu, before_w))

    async def hold(self, node: str) -> frozenset[str]:
        """Go on with the limits of a node, and return which of its GPUs are under one.

        Raises:
            SourceError: The node does not answer.
        """
        return await _answer(node, self._actor(node).hold.remote())

    def _actor(self, node: str) -> ActorProxy[PowerKeeperActor]:
        if node not in self._actors:
            raise SourceError(f"node {node} is not there")
        return self._actors[node]

    async def _report(self, node: str) -> NodePower:
        try:
            return await _answer(node, self._actors[node].report.remote())
        except SourceError as error:
            return NodePower(refusal=str(error))


async def _answer(node: str, asked: Awaitable[T]) -> T:
    try:
        return await asyncio.wait_for(asked, ANSWER_S)
    except TimeoutError as error:
        raise NoAnswerError(f"node {node}: no answer about power in {ANSWER_S:g} s") from error
    except RayTaskError as error:
        raise SourceError(str(error.cause)) from error
    except RayError as error:
        raise NoAnswerError(f"node {node}: {error}") from error


def _gpu_nodes() -> set[str]:
    return {
        str(node["NodeID"])
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"] and node["Resources"].get("GPU", 0) > 0
    }


def _start(node: str) -> ActorProxy[PowerKeeperActor]:
    started: ActorProxy[PowerKeeperActor] = (
        ray.remote(PowerKeeperActor)
        .options(
            num_cpus=0,
            max_restarts=-1,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        )
        .remote()
    )
    return started
