"""A cluster's own job history as a trace: what would have been saved, had anybody planned it.

Only jobs that have ended are taken, each as so many half-hours on its GPUs from when it was
submitted. What its owner would have allowed is read from its metadata, else assumed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from gridflex.errors import MetadataError
from gridflex.fleet import GPU_TYPES
from gridflex.halfhour import HALF_HOUR, HalfHour, half_hours_needed
from gridflex.jobs import Flexibility, JobId, Submission, Tier, parse_flexibility
from gridflex.planning.backtest import HALF_HOURS_A_DAY, Arrival, GridSeries, Outcome


@dataclass(frozen=True, slots=True)
class PastJob:
    """One job of a cluster's history.

    Args:
        id: Its submission id.
        started_at: When the cluster accepted it.
        ended_at: When it ended.
        metadata: As submitted.
    """

    id: JobId
    started_at: datetime
    ended_at: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Assumed:
    """What is taken for granted where a job's metadata says nothing.

    Args:
        gpus: GPUs it held.
        slack: Time beyond its run time until it would have had to be done.
        gpu_type: Key of `GPU_TYPES`.
        interruptible: Whether it could have been paused.
        site_gpus: GPUs of the cluster.
    """

    gpus: int
    slack: timedelta
    gpu_type: str
    interruptible: bool
    site_gpus: int


def arrivals_of(
    history: Iterable[PastJob], assumed: Assumed, *, start: HalfHour, grid: GridSeries
) -> tuple[tuple[Arrival, ...], tuple[JobId, ...]]:
    """Return the history as a trace, and which jobs could not be taken.

    Jobs are left out that arrived less than a day after the series begins, or whose deadline lies
    beyond its end.

    Args:
        history: Jobs that have ended.
        assumed: What metadata does not say.
        start: Half-hour 0 of the series.
        grid: What the time was like.
    """
    taken, left_out = [], []
    for job in history:
        arrival = _arrival(job, assumed, start)
        inside = arrival.at >= HALF_HOURS_A_DAY and arrival.deadline <= grid.half_hours
        if inside and arrival.gpus <= assumed.site_gpus:
            taken.append(arrival)
        else:
            left_out.append(job.id)
    return tuple(taken), tuple(left_out)


def proof(
    arrivals: Iterable[Arrival],
    grid: GridSeries,
    found: Mapping[str, Outcome],
    *,
    start: HalfHour,
) -> dict[str, Any]:
    """Return what anybody needs to check the figures: inputs with their digest, and every run.

    Args:
        arrivals: The trace.
        grid: The series.
        found: By policy, what came of it.
        start: Half-hour 0.
    """
    inputs = {
        "start": str(start),
        "price_gbp_per_mwh": grid.price_gbp_per_mwh.tolist(),
        "intensity_gco2_per_kwh": grid.intensity_gco2_per_kwh.tolist(),
        "jobs": [asdict(job) for job in arrivals],
    }
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return {
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "inputs": inputs,
        "half_hours_run": {
            name: {str(job_id): ran for job_id, ran in outcome.runs.items()}
            for name, outcome in found.items()
        },
    }


def _arrival(job: PastJob, assumed: Assumed, start: HalfHour) -> Arrival:
    run_time = job.ended_at - job.started_at
    work = max(1, half_hours_needed(run_time))
    at = start.until(HalfHour.at_or_after(job.started_at))
    allowed = _allowed(job, assumed, run_time)
    kw = GPU_TYPES[assumed.gpu_type].dynamic_kw
    if allowed is None:
        slack = int(assumed.slack / HALF_HOUR)
        return Arrival(
            *(job.id, at, work, assumed.gpus, assumed.gpus * kw, at + work + slack),
            interruptible=assumed.interruptible,
        )
    deadline = start.until(HalfHour.containing(allowed.deadline))
    return Arrival(
        job.id,
        at,
        work,
        allowed.gpus,
        allowed.power_kw or allowed.gpus * kw,
        at + work if allowed.tier is Tier.T0 else max(deadline, at + work),
        interruptible=allowed.interruptible,
    )


def _allowed(job: PastJob, assumed: Assumed, run_time: timedelta) -> Flexibility | None:
    submission = Submission(
        submitted_at=job.started_at,
        entrypoint_gpus=float(assumed.gpus),
        likely_duration=run_time,
        site_gpus={"cluster": assumed.site_gpus},
    )
    try:
        return parse_flexibility(job.metadata, submission)
    except MetadataError:
        return None
