"""Power limits of this machine's NVIDIA GPUs, through NVML.

Only root may set one. It holds until it is set again, the driver is unloaded or the machine
starts anew, whoever's process has ended meanwhile; so whoever sets one has to see to its end.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Final

from gridflex.capping import GpuPower
from gridflex.errors import SourceError

MILLIWATTS: Final = 1000.0
"""NVML speaks of milliwatts."""

_VISIBLE: Final = b"CUDA_VISIBLE_DEVICES="


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
            )

    @contextmanager
    def _errors(self, what: str) -> Iterator[None]:
        try:
            yield
        except self._nvml.NVMLError as error:
            raise SourceError(f"{what}: {error}{_advice(self._nvml, error)}") from error


def counted_by_ray(gpus: tuple[GpuPower, ...], visible: str | None) -> tuple[GpuPower, ...]:
    """Return the GPUs in the order in which Ray counts them on a node.

    Args:
        gpus: All of the machine, in NVML's order.
        visible: ``CUDA_VISIBLE_DEVICES`` of the node's raylet: numbers or UUIDs; None for all.

    Raises:
        SourceError: It names a GPU that the machine does not have.
    """
    if visible is None:
        return gpus
    names = [name.strip() for name in visible.split(",") if name.strip()]
    by_name = {str(index): gpu for index, gpu in enumerate(gpus)} | {gpu.uuid: gpu for gpu in gpus}
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise SourceError(f"CUDA_VISIBLE_DEVICES names {', '.join(unknown)}, no GPU of NVML")
    return tuple(by_name[name] for name in names)


def visible_to_parent() -> str | None:
    """Return ``CUDA_VISIBLE_DEVICES`` of the process that started this one, None if not set.

    Ray starts workers from a node's raylet, and hides GPUs from those that reserve none.
    """
    variables = Path(f"/proc/{os.getppid()}/environ").read_bytes().split(b"\0")
    found = (one.removeprefix(_VISIBLE) for one in variables if one.startswith(_VISIBLE))
    return next((value.decode() for value in found), None)


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
