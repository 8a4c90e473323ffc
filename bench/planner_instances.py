"""Planning problems for the benchmark: a recorded week, and jobs like those of GPU clusters."""

from __future__ import annotations

import gzip
import io
import os
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gridflex.fleet import GPU_TYPES, Site
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId, Tier
from gridflex.planning.problem import JobDemand, Mode, PlanningProblem, SiteOutlook

SHARED = Path(os.environ.get("GRIDFLEX_SHARED", "../shared")) / "data"
GB_2024 = SHARED / "peers" / "sustain_cluster_gb_2024_hourly.csv.gz"
START = HalfHour(datetime(2024, 4, 1, tzinfo=UTC))
KW_PER_GPU = GPU_TYPES["H100"].dynamic_kw * 1.1
GBP_PER_EUR = 0.85


def gb_2024() -> pd.DataFrame:
    """Return the hourly series of GB 2024 by UTC time, missing hours interpolated."""
    text = gzip.decompress(GB_2024.read_bytes()).decode()
    table = pd.read_csv(io.StringIO(text), parse_dates=["ts_utc"]).set_index("ts_utc")
    return table.asfreq("h").interpolate()


def week(half_hours: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return price in GBP/MWh and intensity in gCO2/kWh from 1 April 2024 on."""
    table = gb_2024().loc[str(START.start.date()) :]
    price = np.repeat(table["price_eur_per_mwh"].to_numpy() * GBP_PER_EUR, 2)[:half_hours]
    return price, np.repeat(table["ci_direct_gco2_per_kwh"].to_numpy(), 2)[:half_hours]


def instance(
    jobs: int,
    half_hours: int,
    *,
    seed: int = 0,
    whole: float = 0.0,
    restart: float = 0.0,
    modes: bool = False,
    sites: int = 1,
    carbon_price: float = 80.0,
) -> PlanningProblem:
    """Return a problem whose capacity is the peak of running every job at once.

    Args:
        jobs: How many; 1 to 8 GPUs, log-normal work around 4 h, 2 to 24 h of slack.
        half_hours: Horizon.
        seed: Of the random draws.
        whole: Share of jobs that may not be paused.
        restart: Half-hours that a resume adds.
        modes: Whether jobs may run under two power caps or on half their GPUs.
        sites: How many; capacity is divided, later ones are dearer and out of step.
        carbon_price: GBP/tCO2.
    """
    rng = np.random.default_rng(seed)
    price, intensity = week(half_hours)
    gpus = rng.choice([1, 1, 1, 2, 4, 8], jobs)
    work = np.clip(np.exp(rng.normal(np.log(8), 1.0, jobs)).astype(int), 1, half_hours // 3)
    slack = np.minimum(rng.integers(4, 48, jobs), half_hours - work)
    release = rng.integers(0, half_hours - work - slack + 1)
    pausable = rng.random(jobs) >= whole
    load = np.zeros(half_hours)
    for i in range(jobs):
        load[release[i] : release[i] + work[i]] += gpus[i]
    room = float(np.ceil(load.max() / sites))
    names = [f"site-{i}" for i in range(sites)]
    return PlanningProblem(
        start=START,
        jobs=tuple(
            JobDemand(
                id=JobId(f"job-{i}"),
                tier=Tier.T3,
                release=int(release[i]),
                deadline=int(release[i] + work[i] + slack[i]),
                work=int(work[i]),
                gpus=int(gpus[i]),
                power_kw=dict.fromkeys(names, float(gpus[i] * KW_PER_GPU)),
                interruptible=bool(pausable[i]),
                restart_half_hours=restart,
                modes=_modes(int(gpus[i]), names) if modes else (),
            )
            for i in range(jobs)
        ),
        sites=tuple(
            SiteOutlook(
                site=Site(name, gpus=int(room), gpu_type="H100"),
                price_gbp_per_mwh=price * (1 + 0.1 * i),
                intensity_gco2_per_kwh=np.roll(intensity, 7 * i),
                free_gpus=np.full(half_hours, room),
            )
            for i, name in enumerate(names)
        ),
        carbon_price_gbp_per_tco2=carbon_price,
    )


def _modes(gpus: int, names: list[str]) -> tuple[Mode, ...]:
    """Caps after measured V100 training curves, half the GPUs after fixed-batch scaling."""
    kw = gpus * KW_PER_GPU
    capped = tuple(
        Mode(gpus, speed, dict.fromkeys(names, kw * power), cap)
        for cap, speed, power in ((0.8, 0.948, 0.832), (0.6, 0.847, 0.646))
    )
    if gpus == 1:
        return capped
    return (*capped, Mode(gpus // 2, 0.58, dict.fromkeys(names, kw / 2)))
