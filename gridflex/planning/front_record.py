"""A front as JSON, to be kept beside the plan that it belongs to."""

from __future__ import annotations

from typing import Any, Final

from gridflex.planning.front import Front
from gridflex.planning.plan import Plan
from gridflex.planning.what_if import moved_jobs

MOST_NAMED: Final = 100
"""Moved jobs that a point names; beyond, it only counts them."""


def front_record(front: Front, plan: Plan) -> dict[str, Any]:
    """Return a front as JSON, each point with the jobs that it moves.

    Args:
        front: What other plans trade off.
        plan: The plan that was made from the same problem.
    """
    points = []
    for point in front.points:
        moved = moved_jobs(plan, point)
        points.append(
            {
                "cost_gbp": point.cost_gbp,
                "carbon_kg": point.carbon_kg,
                "waiting_gpu_hours": point.waiting_gpu_hours,
                "late": point.late,
                "over_cap": point.over_cap,
                "sites_over_cap": point.sites_over_cap,
                "origin": point.origin,
                "moved_jobs": len(moved),
                "moved": [str(job_id) for job_id in moved[:MOST_NAMED]],
            }
        )
    return {"points": points, "knee": front.knee, "evaluated": front.evaluated}
