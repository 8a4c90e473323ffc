"""The loop that owns the clock: it calls an agent's tick and decides when to call again.

One process leads each role. A tick that fails is logged and tried again; nothing an agent
needs is kept between ticks that PostgreSQL does not have.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from gridflex.adapters.agent_store import AgentStore
from gridflex.adapters.clock import Clock
from gridflex.adapters.wakeups import leading
from gridflex.agents.steps import Steps
from gridflex.errors import GridFlexError

log = logging.getLogger(__name__)

LEAST_GAP_S: Final = 0.25
"""Wall time between two ticks at least; a burst of changes is taken in one."""

BUSY_SHARE: Final = 3.0
"""A tick that took d seconds is followed by at least d times this of rest."""

LONGEST_REST_S: Final = 5.0
"""But by no more than this: a tick that waited for others was slow, not busy."""


FAILED: Final = "failed"
"""Key under which a heartbeat says why the last tick failed."""


@dataclass(frozen=True, slots=True)
class Next:
    """What a tick says about the next one.

    Args:
        within_s: GridFlex time after which it is due even if nothing happens.
        detail: What to show of the agent.
    """

    within_s: float
    detail: dict[str, Any] = field(default_factory=dict)


Tick = Callable[[datetime, frozenset[str]], Awaitable[Next]]
"""Called with GridFlex time and what was announced since the last tick."""


async def run_forever(
    name: str,
    tick: Tick,
    *,
    url: str,
    clock: Clock,
    heartbeats: AgentStore,
    wanted: frozenset[str],
    retry_s: float = 1.0,
) -> None:
    """Tick until cancelled.

    Args:
        name: The role; one process at a time ticks under it.
        tick: What to do.
        url: The database that announces changes and gives the role.
        clock: GridFlex time.
        heartbeats: Where each tick is noted.
        wanted: Announcements that call for a tick; others only wait.
        retry_s: Wall time to wait after the database was lost.
    """
    while True:
        try:
            async with leading(url, f"agent {name}") as wakeups:
                log.info("agent %s leads", name)
                reasons = frozenset({"start"})
                while True:
                    began = time.monotonic()
                    due_s = await _tick_once(name, tick, clock, heartbeats, reasons)
                    took_s = time.monotonic() - began
                    await asyncio.sleep(rest_s(took_s))
                    until = began + due_s
                    reasons = frozenset()
                    while not reasons & wanted and (left_s := until - time.monotonic()) > 0:
                        reasons |= await wakeups.wait(left_s)
        except GridFlexError as error:
            log.warning("agent %s lost the database, will try again: %s", name, error)
            await asyncio.sleep(retry_s)


def rest_s(took_s: float) -> float:
    """Return how long to rest after a tick that took so long, seconds of wall time."""
    return min(max(LEAST_GAP_S, took_s * BUSY_SHARE), LONGEST_REST_S)


async def _tick_once(
    name: str, tick: Tick, clock: Clock, heartbeats: AgentStore, reasons: frozenset[str]
) -> float:
    now = clock.now()
    steps = Steps(f"agent {name} at {now}")
    following = await steps.take("tick", tick(now, reasons))
    detail = following.detail if following else {FAILED: steps.failed["tick"]}
    await heartbeats.beat(name, at=now, detail=detail)
    return clock.wall_s(following.within_s) if following else LEAST_GAP_S * 4
