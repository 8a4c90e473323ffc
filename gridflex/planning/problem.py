"""The planning problem: when, where and for how long each job runs.

Half-hours are counted from the problem's start; arrays over time have shape ``(T,)``. Money
is GBP, power is dynamic power at the meter in kW.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflex.errors import ContractError
from gridflex.fleet import Site
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId, Shape, Tier

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Mode:
    """One way to run a job other than on its own GPUs at full power.

    Args:
        gpus: GPUs it holds.
        throughput: Speed as a share of the job's own, above 0; 0.5 doubles the half-hours.
        power_kw: Power while it runs, by site name.
        power_cap_fraction: Power limit of each GPU as a share of its uncapped draw.
    """

    gpus: int
    throughput: float
    power_kw: Mapping[str, float]
    power_cap_fraction: float = 1.0

    @property
    def shape(self) -> Shape:
        """GPUs and power limit."""
        return Shape(self.gpus, self.power_cap_fraction)

    def __post_init__(self) -> None:
        if self.gpus < 0:
            raise ContractError(f"mode: gpus {self.gpus} is below 0")
        if not (math.isfinite(self.throughput) and self.throughput > 0):
            raise ContractError(f"mode: throughput {self.throughput} is not above 0")
        if not 0 < self.power_cap_fraction <= 1:
            raise ContractError(
                f"mode: power_cap_fraction {self.power_cap_fraction} is not in (0, 1]"
            )


@dataclass(frozen=True, slots=True)
class JobDemand:
    """What one job still needs.

    Args:
        id: The job.
        tier: Its flexibility class.
        release: First half-hour in which it may run.
        deadline: First half-hour in which it must no longer run.
        work: Half-hours still to run, at least 1, the first start included.
        gpus: GPUs it holds while it runs.
        power_kw: Power while it runs, by the name of each site where it may.
        interruptible: Whether it may be paused.
        running_at: Site where it runs just before half-hour 0; going on there costs no restart,
            and a job that is not interruptible does go on.
        restart_half_hours: Work that every further start adds.
        carbon_cap_gco2_per_kwh: Greatest mean intensity over its run, if any.
        waiting_gbp_per_hour: What an hour of delay of all its work counts for.
        modes: Other ways to run it; a plan keeps one for all of the job.
        running_shape: GPUs and power limit under which it runs just before half-hour 0; None is
            its own. Going on in another one is a start.
        away: Sites where it might run that do not answer.
    """

    id: JobId
    tier: Tier
    release: int
    deadline: int
    work: int
    gpus: int
    power_kw: Mapping[str, float]
    interruptible: bool
    running_at: str | None = None
    restart_half_hours: float = 0.0
    carbon_cap_gco2_per_kwh: float | None = None
    waiting_gbp_per_hour: float = 0.0
    modes: tuple[Mode, ...] = ()
    running_shape: Shape | None = None
    away: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, value, least in (
            ("release", self.release, 0),
            ("work", self.work, 1),
            ("gpus", self.gpus, 0),
            ("restart_half_hours", self.restart_half_hours, 0),
        ):
            if value < least:
                raise ContractError(f"job {self.id}: {name} {value} is below {least}")
        if not self.power_kw:
            raise ContractError(f"job {self.id}: power_kw names no site where it may run")
        if self.running_at is not None and self.running_at not in self.power_kw:
            allowed = ", ".join(sorted(self.power_kw))
            raise ContractError(
                f"job {self.id}: running_at {self.running_at!r} is not one of power_kw: {allowed}"
            )
        if self.running_shape is not None and not any(
            mode.shape == self.running_shape and self.running_at in mode.power_kw
            for mode in self.modes
        ):
            raise ContractError(
                f"job {self.id}: running_shape {self.running_shape} is no mode at {self.running_at}"
            )
        self._check_numbers()

    def _check_numbers(self) -> None:
        numbers = {f"power_kw[{name}]": value for name, value in self.power_kw.items()}
        for mode in self.modes:
            if set(mode.power_kw) - set(self.power_kw):
                raise ContractError(f"job {self.id}: a mode's power_kw names other sites")
            numbers |= {f"modes power_kw[{name}]": kw for name, kw in mode.power_kw.items()}
        numbers["waiting_gbp_per_hour"] = self.waiting_gbp_per_hour
        numbers["restart_half_hours"] = self.restart_half_hours
        if self.carbon_cap_gco2_per_kwh is not None:
            numbers["carbon_cap_gco2_per_kwh"] = self.carbon_cap_gco2_per_kwh
        for name, number in numbers.items():
            if not (math.isfinite(number) and number >= 0):
                raise ContractError(
                    f"job {self.id}: {name} {number} is not a finite number from 0 on"
                )


@dataclass(frozen=True, slots=True, eq=False)
class SiteOutlook:
    """What to expect at one site.

    Args:
        site: The site.
        price_gbp_per_mwh: Shape ``(T,)``.
        intensity_gco2_per_kwh: Shape ``(T,)``.
        free_gpus: Shape ``(T,)``, GPUs that the plan may fill.
        limit_kw: Shape ``(T,)``, dynamic power the plan may draw, as committed to a market;
            infinite where nothing is. None for no commitment.
        cap_gco2_per_kwh: Greatest energy-weighted mean intensity of what the plan runs here, if
            any.
        price_sd_gbp_per_mwh: Shape ``(T,)``, how far the price may be off, as a standard
            deviation; None if nobody says.
        intensity_sd_gco2_per_kwh: Shape ``(T,)``, the same of the intensity.
    """

    site: Site
    price_gbp_per_mwh: Array
    intensity_gco2_per_kwh: Array
    free_gpus: Array
    limit_kw: Array | None = None
    cap_gco2_per_kwh: float | None = None
    price_sd_gbp_per_mwh: Array | None = None
    intensity_sd_gco2_per_kwh: Array | None = None

    @property
    def is_unsure(self) -> bool:
        """Whether anybody says how far what is expected may be off."""
        spreads = (self.price_sd_gbp_per_mwh, self.intensity_sd_gco2_per_kwh)
        return any(spread is not None and bool(spread.any()) for spread in spreads)


@dataclass(frozen=True, slots=True, eq=False)
class PlanningProblem:
    """Everything a plan is made from.

    Args:
        start: Half-hour of index 0.
        jobs: What is to be run.
        sites: Where, at least one.
        carbon_price_gbp_per_tco2: What a tonne counts for beside the price of energy.

    Raises:
        ContractError: An array is of another length than the rest or not finite, or a job
            names an unknown site.
    """

    start: HalfHour
    jobs: tuple[JobDemand, ...]
    sites: tuple[SiteOutlook, ...]
    carbon_price_gbp_per_tco2: float

    def __post_init__(self) -> None:
        if not self.sites:
            raise ContractError("sites: a plan needs at least one")
        if not math.isfinite(self.carbon_price_gbp_per_tco2):
            raise ContractError(
                f"carbon_price_gbp_per_tco2 {self.carbon_price_gbp_per_tco2} is not finite"
            )
        for outlook in self.sites:
            self._check(outlook)
        self._check_names()

    def _check_names(self) -> None:
        names = [outlook.site.name for outlook in self.sites]
        if len(set(names)) != len(names):
            raise ContractError(f"sites: names {names} are not unique")
        if len({job.id for job in self.jobs}) != len(self.jobs):
            raise ContractError("jobs: ids are not unique")
        known = set(names)
        for job in self.jobs:
            unknown = set(job.power_kw) - known
            if unknown:
                raise ContractError(f"job {job.id}: power_kw names unknown sites {sorted(unknown)}")

    @property
    def half_hours(self) -> int:
        """How far the plan looks ahead."""
        return int(self.sites[0].price_gbp_per_mwh.size)

    def _check(self, outlook: SiteOutlook) -> None:
        for name in ("price_gbp_per_mwh", "intensity_gco2_per_kwh", "free_gpus"):
            array: Array = getattr(outlook, name)
            if array.shape != (self.half_hours,):
                raise ContractError(
                    f"site {outlook.site.name}: {name} has shape {array.shape}, "
                    f"not ({self.half_hours},)"
                )
            if not np.isfinite(array).all():
                raise ContractError(f"site {outlook.site.name}: {name} is not finite everywhere")
        for name in ("price_sd_gbp_per_mwh", "intensity_sd_gco2_per_kwh"):
            spread: Array | None = getattr(outlook, name)
            if spread is not None and not (
                spread.shape == (self.half_hours,)
                and np.isfinite(spread).all()
                and (spread >= 0).all()
            ):
                raise ContractError(
                    f"site {outlook.site.name}: {name} must have shape ({self.half_hours},), "
                    "finite and from 0 on"
                )
        limit = outlook.limit_kw
        if limit is not None and (limit.shape != (self.half_hours,) or np.isnan(limit).any()):
            raise ContractError(
                f"site {outlook.site.name}: limit_kw must have shape ({self.half_hours},) "
                "and no NaN"
            )
