"""Sites, their GPUs, and how much power running work draws.

A busy node draws its idle power plus the dynamic power of the work. Only the dynamic part
moves with a job; the idle part belongs to the node until it is switched off. Every figure
here is *modelled* until a meter replaces it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from gridflex import units
from gridflex.errors import ContractError
from gridflex.jobs import Flexibility

CPU_DYNAMIC_KW: Final = 0.0035
"""Dynamic power of one busy CPU thread; Cloud Carbon Footprint, max minus min watts, mean."""


@dataclass(frozen=True, slots=True)
class GpuType:
    """Power of one GPU together with its share of the node around it.

    Args:
        name: Short name, such as ``H100``.
        idle_kw: Drawn by an idle GPU and its share of the idle node.
        dynamic_kw: Added by training on it, fans and host included.
        source: Where the two figures come from.
    """

    name: str
    idle_kw: float
    dynamic_kw: float
    source: str


GPU_TYPES: Final[Mapping[str, GpuType]] = MappingProxyType(
    {
        gpu.name: gpu
        for gpu in (
            GpuType("V100", 0.120, 0.205, "300 W board, 51 W idle; node share assumed"),
            GpuType("A100", 0.150, 0.280, "400 W board, 61 W idle; node share assumed"),
            GpuType("H100", 0.310, 0.560, "8-GPU node 2.3-2.8 to 6.85-7.20 kW, MLPerf v4.1 power"),
            GpuType("H200", 0.300, 0.560, "8-GPU node idle 2.36-2.41 kW; training as H100"),
            GpuType("B200", 0.330, 0.895, "8-GPU node 2.34-2.97 to 9.57-10.04 kW, MLPerf v5.0"),
            GpuType("L4", 0.030, 0.060, "72 W board; idle and node share assumed"),
        )
    }
)


@dataclass(frozen=True, slots=True)
class Site:
    """One place where jobs run: a Ray cluster behind one electricity meter.

    Args:
        name: Unique short name.
        gpus: GPUs that GridFlex may fill.
        gpu_type: Key of `GPU_TYPES`.
        postcode: Outward part, for regional carbon intensity; None for national.
        marginal_pue: Facility power added per unit of IT power added, at least 1.
        intensity_cap_gco2_per_kwh: Energy-weighted mean that a plan should stay under.
    """

    name: str
    gpus: int
    gpu_type: str
    postcode: str | None = None
    marginal_pue: float = 1.1
    intensity_cap_gco2_per_kwh: float = 200.0

    def __post_init__(self) -> None:
        if self.gpu_type not in GPU_TYPES:
            known = ", ".join(sorted(GPU_TYPES))
            raise ContractError(
                f"site {self.name}: gpu_type {self.gpu_type!r} is not one of {known}"
            )
        if self.gpus < 0:
            raise ContractError(f"site {self.name}: gpus {self.gpus} must not be negative")
        if self.marginal_pue < 1:
            raise ContractError(f"site {self.name}: marginal_pue {self.marginal_pue} is below 1")


def dynamic_power_kw(flexibility: Flexibility, site: Site, *, cpus: float = 1.0) -> float:
    """Return the power at the meter that the job adds while it runs at ``site``.

    What the owner declares goes before the model: ``power_kw``, else ``energy_kwh`` spread
    over the run time, else GPUs times the dynamic power of their type plus the CPUs.

    Args:
        flexibility: The job's metadata.
        site: Where it runs.
        cpus: Busy CPU threads of the job.
    """
    return _it_power_kw(flexibility, site, cpus=cpus) * site.marginal_pue


def power_source(flexibility: Flexibility) -> str:
    """Return ``declared`` where the owner gave the job's power or energy, else ``modelled``."""
    declared = flexibility.power_kw is not None or flexibility.energy_kwh is not None
    return "declared" if declared else "modelled"


def _it_power_kw(flexibility: Flexibility, site: Site, *, cpus: float) -> float:
    if flexibility.power_kw is not None:
        return flexibility.power_kw
    if flexibility.energy_kwh is not None:
        return flexibility.energy_kwh / units.hours(flexibility.duration)
    return flexibility.gpus * GPU_TYPES[site.gpu_type].dynamic_kw + cpus * CPU_DYNAMIC_KW
