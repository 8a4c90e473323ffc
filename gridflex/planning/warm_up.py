"""The planner's loops made into machine code before the first plan is due.

After an installation this takes half a minute of one core; later the kept code is only read.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import numpy as np

from gridflex.fleet import Site
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId, Tier
from gridflex.planning.planner import make_plan, run_now
from gridflex.planning.problem import JobDemand, PlanningProblem, SiteOutlook

LONGEST_S: Final = 600.0


def warm_up() -> None:
    """Plan a few jobs that take every path through the planner."""
    start = HalfHour(datetime(2026, 1, 1, tzinfo=UTC))
    flat = np.full(8, 100.0)
    site = SiteOutlook(
        Site("any", gpus=2, gpu_type="H100"), np.arange(8.0), flat, np.full(8, 2.0), flat, 50.0
    )
    paused = JobDemand(
        id=JobId("paused"),
        tier=Tier.T3,
        release=0,
        deadline=8,
        work=3,
        gpus=1,
        power_kw={"any": 1.0},
        interruptible=True,
        restart_half_hours=0.5,
        carbon_cap_gco2_per_kwh=50.0,
    )
    late = replace(paused, id=JobId("late"), deadline=1)
    large = replace(paused, id=JobId("large"), gpus=2, work=4, interruptible=False)
    problem = PlanningProblem(start, (paused, late, large), (site,), 0.0)
    make_plan(problem, budget_s=LONGEST_S)
    run_now(problem)
