"""GPUs that do not exist, behind NVML's own interface: the test's end; limits are simulated."""

from __future__ import annotations

import fcntl
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BINDINGS = Path(__file__).parent / "stand_ins" / "nvml"
"""Put first on the path, ``import pynvml`` finds the stand-in."""

STATE_VARIABLE = "NVML_STAND_IN"


@dataclass(frozen=True, slots=True)
class FakeGpus:
    """The GPUs of one machine.

    Args:
        path: Where they are kept.
    """

    path: Path

    @classmethod
    def make(cls, path: Path, *, gpus: int = 2, is_root: bool = True, **of_each: Any) -> FakeGpus:  # noqa: ANN401 - JSON
        """Return new ones at their default limit of 700 W."""
        each = {
            "default_mw": 700_000,
            "least_mw": 200_000,
            "most_mw": 700_000,
            "limit_mw": 700_000,
            "has_limit": True,
            "model": "NVIDIA H200",
            **of_each,
        }
        state = {
            "driver": "570.86.15",
            "is_root": is_root,
            "gpus": [{"uuid": f"GPU-{n}", **each} for n in range(gpus)],
            "changes": [],
        }
        path.write_text(json.dumps(state))
        return cls(path)

    @property
    def limits_w(self) -> list[float]:
        """Limit of each now."""
        return [gpu["limit_mw"] / 1000 for gpu in self._read()["gpus"]]

    @property
    def changes_w(self) -> list[tuple[str, float]]:
        """Every change of a limit so far."""
        return [(uuid, limit / 1000) for uuid, limit in self._read()["changes"]]

    def change(self, **changes: Any) -> None:  # noqa: ANN401 - JSON
        """Change the machine, such as whether we are root on it."""
        with self.path.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            state = json.load(file) | changes
            file.seek(0)
            file.truncate()
            file.write(json.dumps(state))

    def swap(self, number: int, model: str) -> None:
        """Put a GPU of another model in the place of one."""
        gpus = self._read()["gpus"]
        gpus[number]["model"] = model
        self.change(gpus=gpus)

    def _read(self) -> dict[str, Any]:
        with self.path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            found: dict[str, Any] = json.load(file)
        return found
