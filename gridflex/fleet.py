"""Sites, their GPUs, and how much power running work draws.

A busy node draws its idle power plus the dynamic power of the work. Only the dynamic part
moves with a job; the idle part belongs to the node until it is switched off. Every figure
here is *modelled* until a meter replaces it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from gridflex import units
from gridflex.errors import ContractError
from gridflex.jobs import Flexibility, Shape

MOST_GPUS: Final = 1_000_000
"""That a site may be said to have or a job to hold, far beyond any."""

CPU_DYNAMIC_KW: Final = 0.0035
"""Dynamic power of one busy CPU thread; Cloud Carbon Footprint, max minus min watts, mean."""

SCALING_EXPONENT: Final = 0.87
"""Speed grows with GPUs to this power: an H100 keeps 0.763 of its speed from 8 to 64 GPUs
(MLPerf training, Llama2-70B LoRA)."""

Curve = tuple[tuple[float, float, float], ...]
"""Points (power limit, speed, dynamic power), all as shares of the uncapped ones."""

_VOLTA: Final[Curve] = (
    (0.5, 0.698, 0.545),
    (0.6, 0.847, 0.646),
    (0.7, 0.904, 0.745),
    (0.8, 0.948, 0.832),
    (0.9, 0.978, 0.931),
    (1.0, 1.0, 1.0),
)
"""Median of 21 V100 training runs that draw at least 80 % of the maximum."""

_HOPPER: Final[Curve] = (
    (0.5, 0.65, 0.529),
    (0.57, 0.73, 0.623),
    (0.71, 0.80, 0.835),
    (1.0, 1.0, 1.0),
)
"""Eight H200 (MLPerf inference v4.1 power, wall power less idle over `GpuType.dynamic_kw`)."""

_BLACKWELL: Final[Curve] = (
    (0.43, 0.50, 0.43),
    (0.53, 0.61, 0.53),
    (0.68, 0.77, 0.68),
    (0.87, 0.95, 0.87),
    (1.0, 1.0, 1.0),
)
"""B300, dense bf16 matrix work; the limit is relative to its uncapped draw."""


@dataclass(frozen=True, slots=True)
class GpuType:
    """Power of one GPU together with its share of the node around it.

    Args:
        name: Short name, such as ``H100``.
        idle_kw: Drawn by an idle GPU and its share of the idle node.
        dynamic_kw: Added by training on it, fans and host included.
        source: Where the two figures come from.
        caps: How a power limit changes speed and power.
    """

    name: str
    idle_kw: float
    dynamic_kw: float
    source: str
    caps: Curve = _VOLTA


GPU_TYPES: Final[Mapping[str, GpuType]] = MappingProxyType(
    {
        gpu.name: gpu
        for gpu in (
            GpuType("V100", 0.120, 0.205, "300 W board, 51 W idle; node share assumed"),
            GpuType("A100", 0.150, 0.280, "400 W board, 61 W idle; node share assumed"),
            GpuType(
                "H100",
                0.310,
                0.560,
                "8-GPU node 2.3-2.8 to 6.85-7.20 kW, MLPerf v4.1 power",
                _HOPPER,
            ),
            GpuType(
                "H200", 0.300, 0.560, "8-GPU node idle 2.36-2.41 kW; training as H100", _HOPPER
            ),
            GpuType(
                "B200",
                0.330,
                0.895,
                "8-GPU node 2.34-2.97 to 9.57-10.04 kW, MLPerf v5.0",
                _BLACKWELL,
            ),
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
        power_caps: Power limits of its GPUs that jobs may be started under, as shares of the
            default one; none if nobody sets them.
    """

    name: str
    gpus: int
    gpu_type: str
    postcode: str | None = None
    marginal_pue: float = 1.1
    intensity_cap_gco2_per_kwh: float = 200.0
    power_caps: tuple[float, ...] = ()

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
        for cap in self.power_caps:
            least = GPU_TYPES[self.gpu_type].caps[0][0]
            if not least <= cap < 1:
                raise ContractError(
                    f"site {self.name}: power_caps {cap} is not in [{least}, 1), "
                    f"where a {self.gpu_type} is known"
                )


def speed_fraction(flexibility: Flexibility, site: Site, shape: Shape) -> float:
    """Return a job's speed in a shape as a share of that on its own GPUs at full power."""
    speed, _ = _under_cap(site, shape.power_cap_fraction)
    return speed * float(_share(flexibility, shape) ** SCALING_EXPONENT)


def shaped_power_kw(
    flexibility: Flexibility, site: Site, shape: Shape, *, cpus: float = 1.0
) -> float:
    """Return the power at the meter that a job adds in a shape; see `dynamic_power_kw`."""
    _, power = _under_cap(site, shape.power_cap_fraction)
    own = dynamic_power_kw(flexibility, site, cpus=cpus)
    return own * power * _share(flexibility, shape)


def gpu_counts(flexibility: Flexibility) -> tuple[int, ...]:
    """Return on how many GPUs a job may run: its own number first, then others.

    Its own is halved and doubled as often as the owner allows; the ends are among them.
    """
    own, least, most = flexibility.gpus, max(flexibility.min_gpus, 1), flexibility.max_gpus
    if own < 1:
        return (own,)
    down = (own >> step for step in range(1, own.bit_length()))
    up = (own << step for step in range(1, max(most // own, 1).bit_length()))
    others = {count for count in (*down, *up, least, most) if least <= count <= most}
    return (own, *sorted(others - {own}))


def allowed_sites(
    flexibility: Flexibility, sites: Mapping[str, Site], *, away: Collection[str] = ()
) -> tuple[str, ...]:
    """Return where a job may run: the sites that it names, or the default one.

    Args:
        flexibility: The job's metadata.
        sites: All sites by name, the default one first.
        away: Sites that do not answer; left out where another one has the GPUs for the job.
    """
    named = tuple(name for name in flexibility.sites if name in sites)
    allowed = named or tuple(sites)[:1]
    answering = tuple(name for name in allowed if name not in away)
    fewest = min(gpu_counts(flexibility))
    return answering if any(sites[name].gpus >= fewest for name in answering) else allowed


def first_site(
    flexibility: Flexibility, sites: Mapping[str, Site], *, away: Collection[str] = ()
) -> str:
    """Return where a job that must start runs on its own GPUs; see `allowed_sites`."""
    allowed = allowed_sites(flexibility, sites, away=away)
    return next((name for name in allowed if sites[name].gpus >= flexibility.gpus), allowed[0])


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


def _share(flexibility: Flexibility, shape: Shape) -> float:
    return shape.gpus / flexibility.gpus if flexibility.gpus else 1.0


def _under_cap(site: Site, cap: float) -> tuple[float, float]:
    """Return speed and dynamic power under a power limit, as shares."""
    limits, speeds, powers = zip(*GPU_TYPES[site.gpu_type].caps, strict=True)
    return float(np.interp(cap, limits, speeds)), float(np.interp(cap, limits, powers))
