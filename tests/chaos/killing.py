"""Kills parts of a running system at chosen moments, from threads of their own."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import LiteralString

import psycopg
import ray
from ray.util.state import list_actors

from gridflex.agents.roles import NAMESPACE
from gridflex.running import processes
from gridflex.serve.app import GATEWAY as REPLICA

LOOK_EVERY_S = 0.01
PATIENCE_S = 120.0
GATEWAY = "gateway"
DATABASE = "database"
SERVICES = frozenset({GATEWAY, DATABASE})
"""What can be killed beside the agents."""


class How(StrEnum):
    """Ways to die."""

    RAY_KILL = "ray.kill"
    SIGKILL = "SIGKILL"


class Moment(StrEnum):
    """When something is killed; the value says it to a person."""

    DISPATCHING = "an attempt is decided and not yet on the cluster"
    PAUSING = "an attempt has been asked to pause and still runs"
    SUBMITTED = "a job has just arrived"
    PLANNED = "a plan has just been committed"
    POLLED = "a provider has just answered"
    ALL_SUBMITTED = "the last job has arrived and not all have ended"


MARK: dict[Moment, LiteralString] = {
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
    Moment.ALL_SUBMITTED: """
        SELECT max(id) FROM job HAVING count(*) >= %s AND bool_or(ended_at IS NULL)
    """,
}

ATTEMPT_STATE: LiteralString = "SELECT state FROM attempt WHERE ray_id = %s"
HAS_TICKED: LiteralString = "SELECT name FROM agent WHERE name = %s AND ticked_wall > %s"


@dataclass(frozen=True, slots=True)
class Kill:
    """One part of the system, one moment, one way.

    Args:
        victim: Role of an agent, `GATEWAY` or `DATABASE`.
        how: The way.
        moment: The moment.
    """

    victim: str
    how: How
    moment: Moment


@dataclass(slots=True)
class Outcome:
    """What came of one kill.

    Args:
        victim: What was killed.
        how: The way.
        moment: The moment.
        caught: What was going on when it was killed; empty if the moment never came.
        attempt_state: State of the attempt just after the kill, where the moment is about one.
        back_after_s: Wall seconds until it worked again; None if it did not.
    """

    victim: str
    how: str
    moment: str
    caught: str = ""
    attempt_state: str = ""
    back_after_s: float | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """The system.

    Args:
        database_url: Of its database, for psycopg.
        state: Its state folder.
        gcs_address: Its Ray cluster.
        ray_url: The cluster's dashboard.
        url: Where GridFlex answers.
        jobs: How many jobs will be submitted.
    """

    database_url: str
    state: Path
    gcs_address: str
    ray_url: str
    url: str
    jobs: int


@contextmanager
def killing(kills: Sequence[Kill], target: Target) -> Iterator[list[Outcome]]:
    """Carry out the kills while the block runs; yields what came of them.

    Agents are killed side by side, each one time after the other; gateway and database together
    in one more thread.
    """
    ray.init(address=target.gcs_address, log_to_driver=False, logging_level=logging.WARNING)
    outcomes: list[Outcome] = []
    over = threading.Event()
    killers = [
        threading.Thread(target=_kill_all, args=(some, target, outcomes, over), name="killer")
        for some in _by_thread(kills)
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


def _by_thread(kills: Sequence[Kill]) -> list[list[Kill]]:
    threads: dict[str, list[Kill]] = {}
    for kill in kills:
        threads.setdefault("" if kill.victim in SERVICES else kill.victim, []).append(kill)
    return list(threads.values())


def _kill_all(
    kills: Sequence[Kill], target: Target, outcomes: list[Outcome], over: threading.Event
) -> None:
    with Questions(target.database_url) as questions:
        for kill in kills:
            outcome = Outcome(kill.victim, kill.how.value, kill.moment.value)
            outcomes.append(outcome)
            pid = _pid(kill.victim, target)
            outcome.caught = _wait_for(kill.moment, questions, target, over)
            if not outcome.caught:
                return
            died_wall = datetime.now(UTC)
            _carry_out(kill, pid)
            if kill.victim not in SERVICES:
                outcome.attempt_state = questions.first(ATTEMPT_STATE, outcome.caught)
            works = (
                partial(_serves_anew, target, pid)
                if kill.victim in SERVICES
                else partial(questions.first, HAS_TICKED, kill.victim, died_wall)
            )
            if _succeeds(works):
                outcome.back_after_s = (datetime.now(UTC) - died_wall).total_seconds()


class Questions:
    """Asks the database, and connects again when it was away."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection | None = None

    def __enter__(self) -> Questions:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def first(self, question: LiteralString, *values: object) -> str:
        """Return the first column of the first row; empty if there is none."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                if self._connection is None:
                    self._connection = psycopg.connect(self._url, autocommit=True)
                found = self._connection.execute(question, values).fetchone()
            except psycopg.OperationalError:
                self._close()
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)
            else:
                return str(found[0]) if found else ""

    def _close(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._connection.close()
        self._connection = None


def _wait_for(moment: Moment, questions: Questions, target: Target, over: threading.Event) -> str:
    if moment is Moment.ALL_SUBMITTED:
        mark = target.jobs
    else:
        mark = int(questions.first(MARK[moment])) if moment in MARK else 0
    while not over.is_set():
        if found := questions.first(HAS_COME[moment], mark):
            return found
        time.sleep(LOOK_EVERY_S)
    return ""


def _carry_out(kill: Kill, pid: int) -> None:
    if kill.how is How.SIGKILL:
        os.kill(pid, signal.SIGKILL)
    else:
        ray.kill(ray.get_actor(kill.victim, namespace=NAMESPACE))


def _pid(victim: str, target: Target) -> int:
    if victim == DATABASE:
        file = target.state / "postgresql" / "postmaster.pid"
        return int(file.read_text().splitlines()[0])
    if not _succeeds(partial(_alive, victim, target)):
        raise TimeoutError(f"{victim} does not run")
    return _alive(victim, target)[0]


def _alive(victim: str, target: Target) -> list[int]:
    if victim == GATEWAY:
        which = ("class_name", "=", f"ServeReplica:orchestration:{REPLICA}")
    else:
        which = ("name", "=", victim)
    alive = list_actors(address=target.ray_url, filters=[which, ("state", "=", "ALIVE")])
    return [int(actor.pid) for actor in alive if actor.pid]


def _serves_anew(target: Target, killed: int) -> bool:
    """Return whether GridFlex answers, from another replica or over another server."""
    if not processes.answers(f"{target.url}/readyz"):
        return False
    return killed not in {_pid(DATABASE, target), *_alive(GATEWAY, target)}


def _succeeds(attempt: Callable[[], object]) -> bool:
    """Return whether it returns something true before patience ends."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if attempt():
            return True
        time.sleep(0.1)
    return False
