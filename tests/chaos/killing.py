"""Kills agents of a running system at chosen moments, from threads of their own."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import LiteralString

import psycopg
import ray
from ray.util.state import list_actors

from gridflex.agents.roles import NAMESPACE

LOOK_EVERY_S = 0.002
PATIENCE_S = 120.0


class How(StrEnum):
    """Ways to die."""

    RAY_KILL = "ray.kill"
    SIGKILL = "SIGKILL"


class Moment(StrEnum):
    """When an agent is killed; the value says it to a person."""

    DISPATCHING = "an attempt is decided and not yet on the cluster"
    PAUSING = "an attempt has been asked to pause and still runs"
    SUBMITTED = "a job has just arrived"
    PLANNED = "a plan has just been committed"
    POLLED = "a provider has just answered"


MARK: dict[Moment, LiteralString] = {
    Moment.DISPATCHING: "SELECT 0",
    Moment.PAUSING: "SELECT 0",
    Moment.SUBMITTED: "SELECT coalesce(max(seq), 0) FROM job",
    Moment.PLANNED: "SELECT coalesce(max(id), 0) FROM plan",
    Moment.POLLED: "SELECT coalesce(max(id), 0) FROM raw_response",
}
HAS_COME: dict[Moment, LiteralString] = {
    Moment.DISPATCHING: "SELECT ray_id FROM attempt WHERE state = 'decided' AND 0 = %s",
    Moment.PAUSING: "SELECT ray_id FROM attempt WHERE state = 'stopping' AND 0 = %s",
    Moment.SUBMITTED: "SELECT id FROM job WHERE seq > %s",
    Moment.PLANNED: "SELECT id::text FROM plan WHERE id > %s",
    Moment.POLLED: "SELECT url FROM raw_response WHERE id > %s",
}


@dataclass(frozen=True, slots=True)
class Kill:
    """One agent, one moment, one way.

    Args:
        agent: Its role.
        how: The way.
        moment: The moment.
    """

    agent: str
    how: How
    moment: Moment


@dataclass(slots=True)
class Outcome:
    """What came of one kill.

    Args:
        agent: The role.
        how: The way.
        moment: The moment.
        caught: What was going on when it was killed; empty if the moment never came.
        attempt_state: State of the attempt just after the kill, where the moment is about one.
        back_after_s: Wall seconds until the agent ticked again; None if it did not.
    """

    agent: str
    how: str
    moment: str
    caught: str = ""
    attempt_state: str = ""
    back_after_s: float | None = None


@contextmanager
def killing(
    kills: Sequence[Kill], database_url: str, *, gcs_address: str, ray_url: str
) -> Iterator[list[Outcome]]:
    """Carry out the kills while the block runs, those of one agent one after the other.

    Yields what came of them.
    """
    ray.init(address=gcs_address, log_to_driver=False, logging_level=logging.WARNING)
    outcomes: list[Outcome] = []
    over = threading.Event()
    killers = [
        threading.Thread(
            target=_kill_all,
            args=([k for k in kills if k.agent == agent], database_url, ray_url, outcomes, over),
            name=f"killer of {agent}",
        )
        for agent in dict.fromkeys(kill.agent for kill in kills)
    ]
    for killer in killers:
        killer.start()
    try:
        yield outcomes
    finally:
        over.set()
        for killer in killers:
            killer.join()
        ray.shutdown()


def _kill_all(
    kills: Sequence[Kill],
    database_url: str,
    ray_url: str,
    outcomes: list[Outcome],
    over: threading.Event,
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        for kill in kills:
            outcome = Outcome(kill.agent, kill.how.value, kill.moment.value)
            outcomes.append(outcome)
            pid = _pid(kill.agent, ray_url)
            outcome.caught = _wait_for(kill.moment, connection, over)
            if not outcome.caught:
                return
            died_wall = datetime.now(UTC)
            _carry_out(kill, pid)
            outcome.attempt_state = _state_of(outcome.caught, connection)
            outcome.back_after_s = _back_after_s(kill.agent, died_wall, connection)


def _wait_for(moment: Moment, connection: psycopg.Connection, over: threading.Event) -> str:
    mark = connection.execute(MARK[moment]).fetchone()
    while not over.is_set():
        found = connection.execute(HAS_COME[moment], mark).fetchone()
        if found:
            return str(found[0])
        time.sleep(LOOK_EVERY_S)
    return ""


def _carry_out(kill: Kill, pid: int) -> None:
    if kill.how is How.SIGKILL:
        os.kill(pid, signal.SIGKILL)
    else:
        ray.kill(ray.get_actor(kill.agent, namespace=NAMESPACE))


def _pid(agent: str, ray_url: str) -> int:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        alive = list_actors(
            address=ray_url, filters=[("name", "=", agent), ("state", "=", "ALIVE")]
        )
        if alive and alive[0].pid:
            return int(alive[0].pid)
        time.sleep(0.2)
    raise TimeoutError(f"agent {agent} does not run")


def _state_of(ray_id: str, connection: psycopg.Connection) -> str:
    found = connection.execute("SELECT state FROM attempt WHERE ray_id = %s", (ray_id,)).fetchone()
    return str(found[0]) if found else ""


def _back_after_s(agent: str, died_wall: datetime, connection: psycopg.Connection) -> float | None:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = connection.execute(
            "SELECT ticked_wall FROM agent WHERE name = %s AND ticked_wall > %s",
            (agent, died_wall),
        ).fetchone()
        if found:
            return float((found[0] - died_wall).total_seconds())
        time.sleep(0.1)
    return None
