"""A power keeper that is killed leaves no limit behind; the GPUs are simulated behind NVML."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.nvml import BINDINGS, STATE_VARIABLE, FakeGpus
from tests.shared import ROOT

KEEPER = """
import sys, time
from gridflex.adapters.power.nvml import Nvml
from gridflex.adapters.power.guard import Guard
from gridflex.agents.power.keeper import PowerKeeper

keeper = PowerKeeper(Nvml, guard=Guard(), raylet={}, monotonic_s=time.monotonic)
for gpu in keeper.report().gpus:
    keeper.limit(gpu.uuid, 399.0, before_w=gpu.limit_w)
keeper.lift("GPU-1", 700.0)
print("limited", flush=True)
for line in sys.stdin:
    print(sorted(keeper.hold()), flush=True)
"""


@contextmanager
def limited(gpus: FakeGpus) -> Iterator[subprocess.Popen[str]]:
    """Run a keeper that has limited GPU-0."""
    keeper = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", KEEPER],
        cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{BINDINGS}{os.pathsep}{ROOT}",
             STATE_VARIABLE: str(gpus.path)},
    )  # fmt: skip
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    try:
        assert keeper.stdout.readline() == "limited\n"
        assert gpus.limits_w == [399.0, 700.0]
        yield keeper
    finally:
        keeper.kill()
        keeper.stdin.close()
        keeper.stdout.close()
        keeper.wait()


def until(is_so: Callable[[], bool], within_s: float = 60.0) -> bool:
    deadline = time.monotonic() + within_s
    while not is_so() and time.monotonic() < deadline:
        time.sleep(0.02)
    return is_so()


def guards(gpus: FakeGpus) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter()
        if "gridflex.adapters.power.guard" in _command(process)
        and _environment(process).get(STATE_VARIABLE) == str(gpus.path)
    ]


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_keeper_leaves_no_limit(tmp_path: Path, how: signal.Signals) -> None:
    gpus = FakeGpus.make(tmp_path / "gpus.json")
    with limited(gpus) as keeper:
        for child in psutil.Process(keeper.pid).children(recursive=True):
            child.kill()  # as Ray does with an actor's children
        keeper.send_signal(how)

        assert until(lambda: gpus.limits_w == [700.0, 700.0])
    assert until(lambda: not guards(gpus))


def test_a_killed_guard_is_started_again_and_knows_what_it_has_to_keep(tmp_path: Path) -> None:
    gpus = FakeGpus.make(tmp_path / "gpus.json")
    with limited(gpus) as keeper:
        (guard,) = guards(gpus)
        guard.kill()
        assert until(lambda: not guards(gpus))
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        print("go on", file=keeper.stdin, flush=True)
        assert keeper.stdout.readline() == "['GPU-0']\n"
        assert gpus.limits_w == [399.0, 700.0]
        keeper.kill()

        assert until(lambda: gpus.limits_w == [700.0, 700.0])
