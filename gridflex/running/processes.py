"""Processes of one's own: started, waited for, and ended with all that they started."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

import httpx
import psutil

from gridflex.adapters.clusters.ray_auth import find_token, token_headers
from gridflex.errors import SourceError

STOP_S: Final = 5.0
"""Serve's own actors never end when asked; what matters is in the database."""

LAST_WORDS: Final = 500


@dataclass(frozen=True, slots=True)
class Leader:
    """A process that leads a session, known again after a crash or a reboot.

    Args:
        pid: Its number.
        created_s: When it was created, Unix time.
    """

    pid: int
    created_s: float

    @classmethod
    def of(cls, pid: int) -> Leader:
        """Return the leader with this number."""
        return cls(pid, psutil.Process(pid).create_time())

    def end(self) -> None:
        """End its session, unless the number has passed to another process."""
        try:
            is_same = psutil.Process(self.pid).create_time() == self.created_s
        except psutil.NoSuchProcess:
            is_same = self.created_s > psutil.boot_time()
        if is_same:
            end(self.pid)


_children: Final[dict[int, subprocess.Popen[bytes]]] = {}
"""Kept so that those which end can be waited for."""


def start(
    command: Sequence[str],
    *,
    log: Path,
    ready_url: str,
    ready_s: float = 30.0,
    added: Mapping[str, str] | None = None,
) -> int:
    """Start a server in a session of its own and return its process once it answers.

    Args:
        command: What to run.
        log: Where its output goes.
        ready_url: Answers once it is ready.
        ready_s: Longest wait for that.
        added: Environment beside that of this process.

    Raises:
        SourceError: It did not get ready; its last output is in the message.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the caller's own command
            command,
            stdout=output,
            stderr=output,
            env={**os.environ, **(added or {})},
            start_new_session=True,
        )
    _children[process.pid] = process
    try:
        wait_until(lambda: _is_ready(process, ready_url), ready_s, what=ready_url)
    except BaseException as error:
        end(process.pid)
        if not isinstance(error, SourceError):
            raise
        tail = log.read_text(errors="replace")[-LAST_WORDS:]
        raise SourceError(f"{error}; its last words, in {log}: {tail}") from error
    return process.pid


@contextlib.contextmanager
def environment(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables for all that is started while the block runs; None takes one away."""
    before = dict(os.environ)
    for name, value in variables.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def end(pid: int) -> None:
    """Ask a process and all that share its session to end, and insist after a while.

    What Ray starts for a cluster stays in the session of its head, HAProxy included.

    Args:
        pid: Leader of the session, whether or not it still lives.
    """
    for member in session(pid):
        _signal(member, signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while session(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    for member in session(pid):
        _signal(member, signal.SIGKILL)
    if child := _children.pop(pid, None):
        child.wait()


def session(leader: int) -> list[int]:
    """Return the processes that live in the session of ``leader``."""
    return [pid for pid in psutil.pids() if _session_of(pid) == leader]


def is_free(port: int) -> bool:
    """Return whether nobody listens on a port of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(url: str) -> bool:
    """Return whether ``url`` answers with success."""
    try:
        answer = httpx.get(url, headers=token_headers(find_token()), timeout=5, verify=_trust())
    except httpx.HTTPError:
        return False
    return answer.is_success


@cache
def _trust() -> ssl.SSLContext:
    """Whom to trust, read once: it takes longer than a question."""
    return httpx.create_ssl_context()


def wait_until(is_so: Callable[[], bool], limit_s: float, *, what: str) -> None:
    """Wait until something is so.

    Raises:
        SourceError: It was not within ``limit_s`` of wall time.
    """
    deadline = time.monotonic() + limit_s
    while not is_so():
        if time.monotonic() > deadline:
            raise SourceError(f"{what} did not get ready in {limit_s:g} s")
        time.sleep(0.2)


def wait_until_ready(url: str, limit_s: float, *, what: str) -> None:
    """Wait until ``url`` answers with success.

    Raises:
        SourceError: It did not within ``limit_s`` of wall time; what it says instead is in the
            message.
    """
    try:
        wait_until(lambda: answers(url), limit_s, what=what)
    except SourceError as error:
        try:
            said = httpx.get(url, timeout=5, verify=_trust()).text[-LAST_WORDS:]
        except httpx.HTTPError as failure:
            said = str(failure)
        raise SourceError(f"{error}; it says: {said}") from error


def _is_ready(process: subprocess.Popen[bytes], url: str) -> bool:
    if process.poll() is not None:
        raise SourceError(f"{url}: the process ended with code {process.returncode}")
    return answers(url)


def _session_of(pid: int) -> int | None:
    try:
        is_dead = psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        return None if is_dead else os.getsid(pid)
    except (psutil.NoSuchProcess, ProcessLookupError, PermissionError):
        return None


def _signal(pid: int, which: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, which)
