"""NVML's bindings over GPUs that do not exist: found instead of nvidia-ml-py by its real name.

Names, units, ranges and refusals are those of NVML on H100 and H200: limits in mW, from 200 to
700 W, a default of 700 W, kept whoever ends. The GPUs are one file, so that all processes of a
test see the same; its path is in `STATE_VARIABLE`. See `tests.nvml` for the test's end of it.
"""

# ruff: noqa: N802 - the names are those of the bindings

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

STATE_VARIABLE = "NVML_STAND_IN"

NVML_ERROR_UNINITIALIZED = 1
NVML_ERROR_INVALID_ARGUMENT = 2
NVML_ERROR_NOT_SUPPORTED = 3
NVML_ERROR_NO_PERMISSION = 4
NVML_ERROR_NOT_FOUND = 6
NVML_ERROR_DRIVER_NOT_LOADED = 9


class NVMLError(Exception):
    """As in the bindings: made from a number, it is of the class of that number."""

    _TEXT: ClassVar = {
        NVML_ERROR_UNINITIALIZED: "Uninitialized",
        NVML_ERROR_INVALID_ARGUMENT: "Invalid Argument",
        NVML_ERROR_NOT_SUPPORTED: "Not Supported",
        NVML_ERROR_NO_PERMISSION: "Insufficient Permissions",
        NVML_ERROR_NOT_FOUND: "Not Found",
        NVML_ERROR_DRIVER_NOT_LOADED: "Driver Not Loaded",
    }

    def __new__(cls, value: int) -> "NVMLError":
        made = super().__new__(_CLASSES.get(value, cls))
        made.value = value  # type: ignore[attr-defined]
        return made

    def __str__(self) -> str:
        return self._TEXT[self.value]  # type: ignore[attr-defined]


class NVMLError_NoPermission(NVMLError):  # noqa: N801, N818 - the bindings' name
    pass


class NVMLError_NotSupported(NVMLError):  # noqa: N801, N818
    pass


_CLASSES: dict[int, type[NVMLError]] = {
    NVML_ERROR_NO_PERMISSION: NVMLError_NoPermission,
    NVML_ERROR_NOT_SUPPORTED: NVMLError_NotSupported,
}
_initialised = 0


def nvmlInit() -> None:
    global _initialised  # noqa: PLW0603 - as the library
    with _state() as state:
        if state["driver"] is None:
            raise NVMLError(NVML_ERROR_DRIVER_NOT_LOADED)
    _initialised += 1


def nvmlShutdown() -> None:
    global _initialised  # noqa: PLW0603
    if not _initialised:
        raise NVMLError(NVML_ERROR_UNINITIALIZED)
    _initialised -= 1


def nvmlDeviceGetCount() -> int:
    with _state() as state:
        return len(_ready(state)["gpus"])


def nvmlDeviceGetHandleByIndex(index: int) -> int:
    with _state() as state:
        if not 0 <= index < len(_ready(state)["gpus"]):
            raise NVMLError(NVML_ERROR_INVALID_ARGUMENT)
    return index


def nvmlDeviceGetHandleByUUID(uuid: str) -> int:
    with _state() as state:
        for index, gpu in enumerate(_ready(state)["gpus"]):
            if gpu["uuid"] == uuid:
                return index
    raise NVMLError(NVML_ERROR_NOT_FOUND)


def nvmlDeviceGetUUID(handle: int) -> str:
    return str(_gpu(handle)["uuid"])


def nvmlDeviceGetName(handle: int) -> str:
    return str(_gpu(handle)["model"])


def nvmlDeviceGetPowerManagementLimit(handle: int) -> int:
    return int(_limited(handle)["limit_mw"])


def nvmlDeviceGetPowerManagementDefaultLimit(handle: int) -> int:
    return int(_limited(handle)["default_mw"])


def nvmlDeviceGetPowerManagementLimitConstraints(handle: int) -> list[int]:
    gpu = _limited(handle)
    return [gpu["least_mw"], gpu["most_mw"]]


def nvmlDeviceSetPowerManagementLimit(handle: int, limit: int) -> None:
    with _state() as state:
        gpu = _ready(state)["gpus"][handle]
        if not gpu["has_limit"]:
            raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
        if not state["is_root"]:
            raise NVMLError(NVML_ERROR_NO_PERMISSION)
        if not gpu["least_mw"] <= limit <= gpu["most_mw"]:
            raise NVMLError(NVML_ERROR_INVALID_ARGUMENT)
        if gpu["limit_mw"] != limit:
            gpu["limit_mw"] = limit
            state["changes"].append([gpu["uuid"], limit])


def _gpu(handle: int) -> dict[str, Any]:
    with _state() as state:
        found: dict[str, Any] = _ready(state)["gpus"][handle]
        return found


def _limited(handle: int) -> dict[str, Any]:
    gpu = _gpu(handle)
    if not gpu["has_limit"]:
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    return gpu


def _ready(state: dict[str, Any]) -> dict[str, Any]:
    if not _initialised:
        raise NVMLError(NVML_ERROR_UNINITIALIZED)
    return state


@contextmanager
def _state() -> Iterator[dict[str, Any]]:
    """Yield the machine's GPUs, for this process alone while the block runs."""
    with Path(os.environ[STATE_VARIABLE]).open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        state = json.load(file)
        before = json.dumps(state)
        yield state
        if (after := json.dumps(state)) != before:
            file.seek(0)
            file.truncate()
            file.write(after)
