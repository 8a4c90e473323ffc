"""A process of its own that puts power limits back when the one that set them is gone.

It is told of every limit before that is set, and waits. When its other end closes, be it that the
process ended or was killed, it sets what is still promised, and ends.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from typing import IO

from gridflex.adapters.power.nvml import Nvml
from gridflex.errors import GridFlexError, SourceError

log = logging.getLogger(__name__)

READY = "ready"


class Guard:
    """This process's end: what is promised here is kept even if this process is killed."""

    def __init__(self) -> None:
        self._promised: dict[str, float] = {}
        self._pipe: IO[str] | None = None

    @property
    def promised(self) -> dict[str, float]:
        """What would be set now: watts by UUID of the GPU."""
        return dict(self._promised)

    def promise(self, uuid: str, watts: float) -> None:
        """Have a limit set when this process is gone.

        Raises:
            SourceError: The guard cannot be started.
        """
        self._promised[uuid] = watts
        self._tell(f"{uuid} {watts}")

    def release(self, uuid: str) -> None:
        """Forget a promise, as it has been kept."""
        self._promised.pop(uuid, None)
        self._tell(uuid)

    def watch(self) -> None:
        """Start the guard again if it has ended; it is then told of everything once more."""
        if self._promised:
            self._tell("")

    def _tell(self, line: str) -> None:
        try:
            if self._pipe is not None:
                print(line, file=self._pipe, flush=True)
                return
        except OSError as error:
            log.warning("the guard of power limits has ended, and is started again: %s", error)
        self._pipe = _started()
        for uuid, watts in self._promised.items():
            print(f"{uuid} {watts}", file=self._pipe)
        self._pipe.flush()


def keep(lines: IO[str]) -> dict[str, float]:
    """Read promises until their end, and return those that were not released."""
    promised: dict[str, float] = {}
    for line in lines:
        match line.split():
            case [uuid, watts]:
                promised[uuid] = float(watts)
            case [uuid]:
                promised.pop(uuid, None)
    return promised


def _started() -> IO[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "gridflex.adapters.power.guard"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        start_new_session=True,  # no signal of ours is its own
    )
    if process.stdin is None or process.stdout is None:
        raise AssertionError("both are pipes")
    said = process.stdout.readline().strip()
    process.stdout.close()
    process.wait()  # what waits is its child
    if said != READY:
        raise SourceError("the guard of power limits does not start")
    return process.stdin


def main() -> None:
    """Wait as a child of nobody: Ray ends the children of an actor together with it."""
    if os.fork():
        os._exit(0)
    nvml = Nvml()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with sys.stdout:
        sys.stdout.write(f"{READY}\n")
    for uuid, watts in keep(sys.stdin).items():
        try:
            nvml.set_limit(uuid, watts)
        except GridFlexError as error:
            log.error("a power limit stays: %s", error)  # noqa: TRY400 - nobody debugs a driver


if __name__ == "__main__":
    main()
