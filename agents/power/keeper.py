"""Power keeper: sets power limits on the GPUs of one node, and sees to their end.

The workload agent starts one on each node with GPUs and speaks to it in every tick. A limit ends
when the agent says so, when the agent has been silent for `LEASE_S`, and when this process ends,
however it does: a guard puts back what it leaves behind.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import ray

from gridflex.adapters.power.guard import Guard
from gridflex.adapters.power.nvml import Nvml, counted_by_ray, parent_environment
from gridflex.capping import GpuPower, NodePower
from gridflex.errors import GridFlexError, SourceError

log = logging.getLogger(__name__)

LEASE_S: Final = 60.0
"""Wall time for which a limit outlives the last word of the agent that wanted it."""

LOOK_EVERY_S: Final = 5.0


class Limits(Protocol):
    """Power limits of a machine; see `gridflex.adapters.power.nvml.Nvml`."""

    def gpus(self) -> tuple[GpuPower, ...]:
        """Return every GPU of the machine, in NVML's order."""
        ...

    def set_limit(self, uuid: str, watts: float) -> None:
        """Set the limit of one GPU."""
        ...


class Promises(Protocol):
    """What is put back if this process ends; see `gridflex.adapters.power.guard.Guard`."""

    @property
    def promised(self) -> dict[str, float]:
        """What would be set now: watts by UUID of the GPU."""
        ...

    def promise(self, uuid: str, watts: float) -> None:
        """Have a limit set when this process is gone."""
        ...

    def release(self, uuid: str) -> None:
        """Forget a promise, as it has been kept."""
        ...

    def watch(self) -> None:
        """Start the guard again if it has ended."""
        ...


class PowerKeeper:
    """Sets and lifts limits.

    Args:
        open_limits: Opens the driver; tried again where there is none.
        guard: Puts limits back if this process ends.
        raylet: Environment of the node's raylet, by which Ray counts GPUs.
        monotonic_s: Wall time.
    """

    def __init__(
        self,
        open_limits: Callable[[], Limits],
        *,
        guard: Promises,
        raylet: Mapping[str, str],
        monotonic_s: Callable[[], float],
    ) -> None:
        self._open = open_limits
        self._guard = guard
        self._raylet = raylet
        self._monotonic_s = monotonic_s
        self._limits: Limits | None = None
        self._heard_at_s = monotonic_s()

    def report(self) -> NodePower:
        """Return the node's GPUs, and whether their limits can be set.

        That is tried: the limit of each is set to what it is, which changes nothing.
        """
        try:
            limits = self._opened()
            gpus = counted_by_ray(limits.gpus(), self._raylet)
            for gpu in gpus:
                limits.set_limit(gpu.uuid, gpu.limit_w)
        except SourceError as error:
            return NodePower(refusal=str(error))
        return NodePower(gpus)

    def limit(self, uuid: str, watts: float, *, before_w: float) -> None:
        """Set a limit, to be lifted to ``before_w``.

        Raises:
            SourceError: The driver refuses; the limit is what it was.
        """
        self._heard_at_s = self._monotonic_s()
        self._guard.promise(uuid, before_w)
        try:
            self._opened().set_limit(uuid, watts)
        except SourceError:
            self._guard.release(uuid)
            raise

    def lift(self, uuid: str, before_w: float) -> None:
        """Put a limit back.

        Raises:
            SourceError: The driver refuses; the guard will try again.
        """
        self._opened().set_limit(uuid, before_w)
        self._guard.release(uuid)

    def hold(self) -> frozenset[str]:
        """Go on with the limits for another `LEASE_S`, and return which GPUs are under one."""
        self._heard_at_s = self._monotonic_s()
        self._guard.watch()
        return frozenset(self._guard.promised)

    def lapse(self) -> None:
        """Lift all limits if the agent has been silent for too long."""
        if self._monotonic_s() - self._heard_at_s < LEASE_S:
            return
        for uuid, before_w in dict(self._guard.promised).items():
            log.warning("GPU %s: nobody asks for its power limit any more", uuid)
            try:
                self.lift(uuid, before_w)
            except GridFlexError as error:
                log.warning("it stays for now: %s", error)

    def _opened(self) -> Limits:
        if self._limits is None:
            self._limits = self._open()
        return self._limits


class PowerKeeperActor:
    """`PowerKeeper` behind Ray. Builds the core and delegates; decides nothing."""

    def __init__(self) -> None:
        self._keeper = PowerKeeper(
            Nvml, guard=Guard(), raylet=parent_environment(), monotonic_s=time.monotonic
        )
        self._lapsing = asyncio.get_running_loop().create_task(self._lapse())

    async def _lapse(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            self._keeper.lapse()

    @ray.method
    async def report(self) -> NodePower:
        """See `PowerKeeper.report`."""
        return self._keeper.report()

    @ray.method
    async def limit(self, uuid: str, watts: float, before_w: float) -> None:
        """See `PowerKeeper.limit`."""
        self._keeper.limit(uuid, watts, before_w=before_w)

    @ray.method
    async def lift(self, uuid: str, before_w: float) -> None:
        """See `PowerKeeper.lift`."""
        self._keeper.lift(uuid, before_w)

    @ray.method
    async def hold(self) -> frozenset[str]:
        """See `PowerKeeper.hold`."""
        return self._keeper.hold()
