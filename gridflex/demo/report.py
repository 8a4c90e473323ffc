"""What the demo's day came to: collected from the database and the cluster, then shown.

Every figure says where it comes from: *measured* on this machine, *recorded* or *simulated*
grid data, or *modelled*.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, Final

import numpy as np

from gridflex.adapters.grid import carbon_intensity, elexon
from gridflex.adapters.grid.store import GridStore
from gridflex.agents.ports import Ports
from gridflex.demo.check import ClusterRun, Promise, check_promises, t0_start_s
from gridflex.demo.jobs import DemoJob
from gridflex.demo.market_report import MarketReport
from gridflex.demo.system import DemoSystem
from gridflex.dispatch import ATTEMPT_OF
from gridflex.errors import SourceError
from gridflex.fleet import Site, dynamic_power_kw
from gridflex.halfhour import HALF_HOUR, HalfHour
from gridflex.jobs import JobId
from gridflex.lifecycle import Job
from gridflex.planning.hindsight import FinishedJob, hindsight_bound_gbp
from gridflex.planning.problem import SiteOutlook
from gridflex.report import (
    JobResult,
    Measured,
    Prices,
    Row,
    results,
    rows,
    saved_fraction,
)
from gridflex.signals import NATIONAL, Series, Signal

OUTTURN_WAIT_S: Final = 30.0
"""Wall time to wait for the last outturns and meter readings; they come half an hour late."""


@dataclass(frozen=True, slots=True)
class DemoReport:
    """What the day came to.

    Args:
        start: First half-hour of the day.
        half_hours: Length of the day.
        half_hour_s: Wall seconds of one half-hour.
        grid_origin: ``recorded`` or ``simulated``.
        gpus: Logical GPUs of the cluster.
        carbon_price_gbp_per_tco2: What a tonne counted for.
        rows: By tier, all jobs last.
        ran_gbp: Cost plus carbon of what ran.
        run_now_gbp: The same of the counterfactual.
        bound_gbp: What no schedule could have beaten.
        busy_fraction: Share of the cluster's GPU time in use.
        t0_start_s: Wall seconds until each rigid job ran.
        redone_batches: Training steps that jobs had to do again after a pause.
        batches: All training steps.
        promises: Kept or not.
        demo_s: Wall seconds the whole demo took.
        market: What was sold, settled, proved and billed; None where nothing was traded.
    """

    start: HalfHour
    half_hours: int
    half_hour_s: float
    grid_origin: str
    gpus: int
    carbon_price_gbp_per_tco2: float
    rows: tuple[Row, ...]
    ran_gbp: float
    run_now_gbp: float
    bound_gbp: float
    busy_fraction: float
    t0_start_s: Mapping[JobId, float]
    redone_batches: int
    batches: int
    promises: tuple[Promise, ...]
    demo_s: float = 0.0
    market: MarketReport | None = None

    @property
    def total(self) -> Row:
        """The row of all jobs."""
        return self.rows[-1]

    @property
    def is_good(self) -> bool:
        """Whether every promise was kept."""
        return all(promise.is_kept for promise in self.promises)

    def figures(self) -> dict[str, float]:
        """Return the figures that ``bench/results/demo.json`` keeps, by their stable names."""
        all_jobs = self.total
        return {
            "deadlines_met_pct": 100.0 * all_jobs.met / max(all_jobs.jobs, 1),
            "t0_start_p99_s": float(np.percentile(list(self.t0_start_s.values()) or [0.0], 99)),
            "cost_saved_pct": 100.0
            * saved_fraction(all_jobs.ran.cost_gbp, all_jobs.run_now.cost_gbp),
            "carbon_saved_pct": 100.0
            * saved_fraction(all_jobs.ran.carbon_kg, all_jobs.run_now.carbon_kg),
            "gap_to_bound_pct": 100.0 * saved_fraction(self.bound_gbp, self.ran_gbp),
            "demo_s": self.demo_s,
        }

    def as_json(self) -> str:
        """Return everything as JSON."""
        body: dict[str, Any] = {
            "day": {"start": str(self.start), "half_hours": self.half_hours},
            "half_hour_s": self.half_hour_s,
            "grid": self.grid_origin,
            "gpus": self.gpus,
            "busy_fraction": self.busy_fraction,
            "carbon_price_gbp_per_tco2": self.carbon_price_gbp_per_tco2,
            "cost_and_carbon_gbp": {
                "ran": self.ran_gbp,
                "run_now": self.run_now_gbp,
                "bound": self.bound_gbp,
            },
            "rows": [_row(row) for row in self.rows],
            "t0_start_s": dict(self.t0_start_s),
            "redone_batches": self.redone_batches,
            "batches": self.batches,
            "promises": [asdict(promise) for promise in self.promises],
            "figures": self.figures(),
            "market": self.market.as_json() if self.market else None,
            "comes_from": COMES_FROM | {"price and carbon intensity": self.grid_origin},
        }
        return json.dumps(body)


COMES_FROM: Final = {
    "times, waiting, deadlines, pauses": "measured: database and Ray's own list of jobs",
    "work lost": "measured: run time above one unbroken run; steps as the jobs count them",
    "energy": "modelled: dynamic power of the reserved GPUs times measured run time",
    "run now": "modelled: first come, first served on the same GPUs, nothing paused",
    "bound": "computed: no schedule could cost less, had it known every price before",
}


async def collect(
    ports: Ports,
    system: DemoSystem,
    plan: Sequence[DemoJob],
    *,
    submitted: Sequence[JobId],
    start: HalfHour,
    half_hours: int,
) -> DemoReport:
    """Return what the day came to.

    Args:
        ports: Database, clock and cluster.
        system: What ran.
        plan: The jobs of the day.
        submitted: Those that were sent and acknowledged.
        start: First half-hour of the day.
        half_hours: Length of the day.

    Raises:
        SourceError: Outturns or meter readings are missing.
    """
    jobs = sorted(await ports.jobs.newest(), key=lambda job: job.seq)
    runs = [
        ClusterRun(
            ray_id=run.ray_id,
            job_id=(run.details.get("metadata") or {}).get(ATTEMPT_OF),
            status=run.status,
            started_wall=run.started_wall,
            ended_wall=run.ended_wall,
        )
        for run in await ports.clusters["local"].list()
    ]
    site = system.settings.sites[0].site(gpus=system.cluster.gpus)
    ended = [job for job in jobs if job.ended_at and job.run_time(job.ended_at)]
    measured = await _measured(ports, ended, plan, site=site)
    last = max([(start + half_hours).start, *(_until(job) for job in ended)])
    length = start.until(HalfHour.at_or_after(last))
    price, intensity = await _outturns(ports, start=start, half_hours=length)
    prices = Prices(_by_half_hour(price), _by_half_hour(intensity))
    done = results(ended, measured, prices=prices, site_gpus={site.name: site.gpus})
    carbon_price = system.settings.planner.carbon_price_gbp_per_tco2
    by_tier = tuple(rows(done))
    outlook = SiteOutlook(
        site=site,
        price_gbp_per_mwh=price.values,
        intensity_gco2_per_kwh=intensity.values,
        free_gpus=np.full(length, float(site.gpus)),
    )
    bound_gbp = hindsight_bound_gbp(
        [_finished(result, measured[result.job.id]) for result in done],
        [outlook],
        start=start,
        carbon_price_gbp_per_tco2=carbon_price,
    )
    redone, batches = _training_steps(system, plan)
    return DemoReport(
        start=start,
        half_hours=half_hours,
        half_hour_s=HALF_HOUR.total_seconds() / ports.clock.speed,
        grid_origin=system.grid_origin,
        gpus=site.gpus,
        carbon_price_gbp_per_tco2=carbon_price,
        rows=by_tier,
        ran_gbp=by_tier[-1].ran.objective_gbp(carbon_price),
        run_now_gbp=by_tier[-1].run_now.objective_gbp(carbon_price),
        bound_gbp=bound_gbp,
        busy_fraction=_busy_fraction(done, gpus=site.gpus, length=half_hours * HALF_HOUR),
        t0_start_s=t0_start_s(jobs, speed=ports.clock.speed),
        redone_batches=redone,
        batches=batches,
        promises=tuple(
            check_promises(
                submitted, jobs, runs, done, speed=ports.clock.speed, start_s=system.start_s
            )
        ),
    )


async def _measured(
    ports: Ports, ended: Sequence[Job], plan: Sequence[DemoJob], *, site: Site
) -> dict[JobId, Measured]:
    energy = await _metered(ports, ended)
    work = {job.id: job.work * HALF_HOUR for job in plan}
    overhead = start_overhead(ended, work)
    return {
        job.id: Measured(
            energy=energy[job.id],
            power_kw=dynamic_power_kw(job.flexibility, site, cpus=job.request.entrypoint_cpus),
            unbroken=_unbroken(job, work[job.id] + overhead),
            site=site.name,
        )
        for job in ended
    }


def start_overhead(ended: Sequence[Job], work: Mapping[JobId, timedelta]) -> timedelta:
    """Return by how much an unbroken run was longer than its work, in the median."""
    extra_s = [
        (job.run_time(job.ended_at) - work[job.id]).total_seconds()
        for job in ended
        if len(job.attempts) == 1 and job.ended_at
    ]
    return timedelta(seconds=median(extra_s) if extra_s else 0.0)


def _unbroken(job: Job, usual: timedelta) -> timedelta:
    ran = sum((a.run_time(job.ended_at) for a in job.attempts if job.ended_at), timedelta(0))
    return ran if len(job.attempts) == 1 else min(usual, ran)


async def _metered(ports: Ports, ended: Sequence[Job]) -> dict[JobId, dict[HalfHour, float]]:
    """Return the metered energy once all run time is in it."""
    for _ in range(int(OUTTURN_WAIT_S)):
        readings = await ports.jobs.energy([str(job.id) for job in ended])
        energy: dict[JobId, dict[HalfHour, float]] = {job.id: {} for job in ended}
        running_s = dict.fromkeys(energy, 0.0)
        for row in readings:
            of_job, half_hour = energy[JobId(row.job_id)], HalfHour.containing(row.start)
            of_job[half_hour] = of_job.get(half_hour, 0.0) + row.energy_kwh
            running_s[JobId(row.job_id)] += row.running_s
        missing = [job.id for job in ended if running_s[job.id] < _run_s(job) - 1]
        if not missing:
            return energy
        await asyncio.sleep(1)
    raise SourceError(f"no meter reading for all of the run time of {', '.join(missing)}")


def _run_s(job: Job) -> float:
    return job.run_time(job.ended_at).total_seconds() if job.ended_at else 0.0


async def _outturns(ports: Ports, *, start: HalfHour, half_hours: int) -> tuple[Series, Series]:
    store = GridStore(ports.engine)
    asked = (
        (Signal.PRICE, elexon.MARKET_INDEX),
        (Signal.INTENSITY, carbon_intensity.OUTTURN),
    )
    for _ in range(int(OUTTURN_WAIT_S)):
        found = [
            await store.outturn(
                signal,
                region=NATIONAL,
                source=source,
                start=start,
                half_hours=half_hours,
                known_at=ports.clock.now(),
            )
            for signal, source in asked
        ]
        price, intensity = found
        if price and intensity and np.isfinite([price.values, intensity.values]).all():
            return price, intensity
        await asyncio.sleep(1)
    raise SourceError(f"no outturn of price or intensity from {start} to {start + half_hours}")


def _by_half_hour(series: Series) -> dict[HalfHour, float]:
    return dict(zip(series.start.span(len(series)), series.values.tolist(), strict=True))


def _until(job: Job) -> datetime:
    return max(job.flexibility.deadline, job.ended_at or job.flexibility.deadline)


def _finished(result: JobResult, measured: Measured) -> FinishedJob:
    job = result.job
    return FinishedJob(
        id=job.id,
        tier=job.flexibility.tier,
        submitted_at=job.submitted_at,
        until=_until(job),
        run_time=measured.unbroken,
        gpus=job.flexibility.gpus,
        power_kw=measured.power_kw,
        site=measured.site,
        interruptible=job.flexibility.interruptible,
    )


def _busy_fraction(done: Sequence[JobResult], *, gpus: int, length: timedelta) -> float:
    used = sum(
        (
            one.job.flexibility.gpus * one.job.run_time(one.job.ended_at)
            for one in done
            if one.job.ended_at
        ),
        timedelta(0),
    )
    return used / (gpus * length)


def _training_steps(system: DemoSystem, plan: Sequence[DemoJob]) -> tuple[int, int]:
    """Return the steps done again and all steps, as the jobs themselves have counted."""
    root = Path(system.settings.checkpoint_root)
    states = [
        json.loads(path.read_text())
        for job in plan
        if (path := root / job.id / "state.json").exists()
    ]
    return sum(state["redone"] for state in states), sum(state["batches"] for state in states)


def _row(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "jobs": row.jobs,
        "deadlines_met": row.met,
        "ran": asdict(row.ran),
        "run_now": asdict(row.run_now),
        "mean_wait_s": row.mean_wait.total_seconds(),
        "mean_wait_now_s": row.mean_wait_now.total_seconds(),
        "pauses": row.pauses,
        "redone_s": row.redone.total_seconds(),
    }
