"""The sandbox network as separate processes on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Final, Self

import httpx
import stamina

from gridflex.beckn.wire.meters import METERS_PER_PAGE
from gridflex.errors import SourceError
from gridflex.sandbox.beckn.behaviour import Behaviour
from gridflex.sandbox.beckn.parts import NAMES, NETWORK, WANTED_HOURS, Part, PartSettings
from gridflex.settings import ClockSettings

STOP_WITHIN_S: Final = 5.0


class SandboxNetwork:
    """Registry, discovery service, utility and aggregator; started on entry, ended on exit.

    Args:
        host: Address to bind.
        port: Of the registry; the others take the next ones. 0 takes any.
        behaviours: How counterparties behave at first.
        parts: Which parts to start; registry and service are always among them.
        clock: GridFlex time of the counterparties.
        ttl_s: How long their requests count.
        every_s: Wall time between two discoveries or catalogues.
        premium_gbp_per_kwh: What the aggregator asks and the utility pays at most.
        wanted_hours: Hours of the day, UTC, in which the utility wants less load.
        meters_per_page: Meters in one message about what was delivered.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        behaviours: Mapping[Part, Behaviour] | None = None,
        parts: frozenset[Part] = frozenset(Part),
        clock: ClockSettings | None = None,
        ttl_s: float = 300.0,
        every_s: float = 5.0,
        premium_gbp_per_kwh: str = "0.15",
        wanted_hours: tuple[int, ...] = WANTED_HOURS,
        meters_per_page: int = METERS_PER_PAGE,
    ) -> None:
        self._listeners = {
            part: _listen(host, port + number if port else 0) for number, part in enumerate(Part)
        }
        self.base_urls = {
            part: f"http://{host}:{listener.getsockname()[1]}"
            for part, listener in self._listeners.items()
        }
        self._chosen = parts | {Part.REGISTRY, Part.SERVICE}
        self._settings = {
            part: PartSettings(
                part=part,
                descriptor=self._listeners[part].fileno(),
                base_urls=self.base_urls,
                behaviour=(behaviours or {}).get(part, Behaviour.ACCEPT),
                clock=clock or ClockSettings(),
                ttl_s=ttl_s,
                every_s=every_s,
                premium_gbp_per_kwh=premium_gbp_per_kwh,
                wanted_hours=wanted_hours,
                meters_per_page=meters_per_page,
            )
            for part in Part
        }
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Start all processes and wait until they answer.

        Raises:
            SourceError: One does not.
        """
        parts = [part for part in Part if part in self._chosen]
        self._processes += [_start(self._settings[part]) for part in parts]
        try:
            for part in parts:
                _wait_for(self.base_urls[part])
        except httpx.HTTPError as error:
            self.stop()
            raise SourceError(f"the sandbox network did not start: {error}") from error
        return self

    def add(self, part: Part, *, clock: ClockSettings) -> None:
        """Start one more part and wait until it answers.

        Args:
            part: One that was left out so far.
            clock: Its GridFlex time.
        """
        settings = self._settings[part].model_copy(update={"clock": clock})
        self._processes.append(_start(settings))
        _wait_for(self.base_urls[part])

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End every process that was started here."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for listener in self._listeners.values():
            listener.close()
        self._processes.clear()

    def wait(self) -> None:
        """Return when the processes ended, or when this one is asked to end."""
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            for process in self._processes:
                process.wait()
        except KeyboardInterrupt:
            return
        finally:
            signal.signal(signal.SIGTERM, before)

    def environment(self) -> dict[str, str]:
        """Return the settings with which a GridFlex trades on this network."""
        return {
            "GRIDFLEX_MARKET__NETWORK_ID": NETWORK,
            "GRIDFLEX_MARKET__REGISTRY_URL": f"{self.base_urls[Part.REGISTRY]}/dedi",
            "GRIDFLEX_MARKET__SERVICE_ID": NAMES[Part.SERVICE],
            "GRIDFLEX_MARKET__SERVICE_URL": f"{self.base_urls[Part.SERVICE]}/beckn",
        }


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError as error:
        raise SourceError(f"cannot listen on {host}:{port}: {error.strerror}") from error


def _start(settings: PartSettings) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603 - this interpreter with our own settings
        [sys.executable, "-m", "gridflex.sandbox.beckn", settings.model_dump_json()],
        pass_fds=[settings.descriptor],
        env=os.environ.copy(),
    )


def _wait_for(base_url: str) -> None:
    for attempt in stamina.retry_context(
        on=httpx.HTTPError, attempts=None, timeout=60, wait_initial=0.1, wait_max=0.5
    ):
        with attempt:
            httpx.get(f"{base_url}/healthz", timeout=5).raise_for_status()
