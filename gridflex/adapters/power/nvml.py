"""Power limits of this machine's NVIDIA GPUs, through NVML.

Only root may set one. It holds until it is set again, the driver is unloaded or the machine
starts anew, whoever's process has ended meanwhile; so whoever sets one has to see to its end.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Final

from gridflex.capping import GpuPower
from gridflex.errors import SourceError

MILLIWATTS: Final = 1000.0
"""NVML speaks of milliwatts."""

VISIBLE_VARIABLE: Final = "CUDA_VISIBLE_DEVICES"
ORDER_VARIABLE: Final = "CUDA_DEVICE_ORDER"
BY_BUS: Final = "PCI_BUS_ID"
"""The order in which NVML counts; CUDA by itself takes the fastest GPU for the first."""


class Nvml:
    """Reads and sets limits.

    Raises:
        SourceError: The bindings are not installed, or there is no driver.
    """

    def __init__(self) -> None:
        self._nvml = _bindings()
        with self._errors("NVML"):
            self._nvml.nvmlInit()

    def gpus(self) -> tuple[GpuPower, ...]:
        """Return every GPU of the machine, in NVML's order.

        Raises:
            SourceError: The driver does not answer, or a GPU has no power limit.
        """
        with self._errors("NVML"):
            count = self._nvml.nvmlDeviceGetCount()
        return tuple(self._gpu(index) for index in range(count))

    def set_limit(self, uuid: str, watts: float) -> None:
        """Set the limit of one GPU.

        Raises:
            SourceError: The driver refuses; for want of permission, or as it cannot be that.
        """
        with self._errors(f"GPU {uuid}: power limit of {watts:g} W"):
            handle = self._nvml.nvmlDeviceGetHandleByUUID(uuid)
            self._nvml.nvmlDeviceSetPowerManagementLimit(handle, round(watts * MILLIWATTS))

    def close(self) -> None:
        """Let go of the driver; limits stay as they are."""
        with self._errors("NVML"):
            self._nvml.nvmlShutdown()

    def _gpu(self, index: int) -> GpuPower:
        nvml = self._nvml
        with self._errors(f"GPU {index}"):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            least, most = nvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)
            return GpuPower(
                uuid=str(nvml.nvmlDeviceGetUUID(handle)),
                default_w=nvml.nvmlDeviceGetPowerManagementDefaultLimit(handle) / MILLIWATTS,
                least_w=least / MILLIWATTS,
                most_w=most / MILLIWATTS,
                limit_w=nvml.nvmlDeviceGetPowerManagementLimit(handle) / MILLIWATTS,
                model=str(nvml.nvmlDeviceGetName(handle)),
            )

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._nvml.NVMLError as error:
            raise SourceError(f"{what}: {error}{_advice(self._nvml, error)}") from error


def counted_by_ray(gpus: tuple[GpuPower, ...], raylet: Mapping[str, str]) -> tuple[GpuPower, ...]:
    """Return the GPUs in the order in which Ray counts them on a node.

    Args:
        gpus: All of the machine, in NVML's order.
        raylet: Environment of the node's raylet; its ``CUDA_VISIBLE_DEVICES`` names GPUs by number
            or UUID, and all where it is not set.

    Raises:
        SourceError: It names a GPU that the machine does not have, or names by number GPUs that
            differ, which CUDA may count otherwise.
    """
    visible = raylet.get(VISIBLE_VARIABLE)
    by_number = {str(index): gpu for index, gpu in enumerate(gpus)}
    by_uuid = {gpu.uuid: gpu for gpu in gpus}
    names = [*by_number] if visible is None else [one.strip() for one in visible.split(",")]
    names = [name for name in names if name]
    if unknown := [name for name in names if name not in by_number | by_uuid]:
        raise SourceError(f"{VISIBLE_VARIABLE} names {', '.join(unknown)}, no GPU of NVML")
    models = sorted({gpu.model for gpu in gpus})
    if len(models) > 1 and by_number.keys() & names and raylet.get(ORDER_VARIABLE) != BY_BUS:
        raise SourceError(
            f"its GPUs differ ({', '.join(models)}) and CUDA may count them in another order than "
            f"NVML, so that another than the run's would be limited: start Ray there with "
            f"{ORDER_VARIABLE}={BY_BUS}"
        )
    return tuple((by_number | by_uuid)[name] for name in names)


def parent_environment() -> dict[str, str]:
    """Return the environment of the process that started this one.

    Ray starts workers from a node's raylet, and hides GPUs from those that reserve none.
    """
    variables = Path(f"/proc/{os.getppid()}/environ").read_bytes().decode(errors="replace")
    pairs = (one.partition("=") for one in variables.split("\0"))
    return {name: value for name, equals, value in pairs if equals}


def _bindings() -> ModuleType:
    try:
        return importlib.import_module("pynvml")  # an optional extra
    except ImportError as error:
        raise SourceError(
            "NVML cannot be asked: install gridflex[gpu] where the GPUs are"
        ) from error


def _advice(nvml: ModuleType, error: Exception) -> str:
    if isinstance(error, nvml.NVMLError_NoPermission):
        return "; start Ray as root where the GPUs are, or leave power_caps of the site empty"
    return ""
