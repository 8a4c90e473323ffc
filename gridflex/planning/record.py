"""Planning problems and plans as JSON values, so that a decision can be stored and replayed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from gridflex.errors import ContractError
from gridflex.fleet import Site
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId, Shape, Tier
from gridflex.planning.plan import Plan, PlannedRun
from gridflex.planning.problem import Array, JobDemand, Mode, PlanningProblem, SiteOutlook

FORMAT: Final = 1
_SPREADS: Final = ("price_sd_gbp_per_mwh", "intensity_sd_gco2_per_kwh")
_SERIES: Final = ("price_gbp_per_mwh", "intensity_gco2_per_kwh", "free_gpus")

_FIGURES: Final = (
    *("energy_kwh", "cost_gbp", "carbon_kg", "waiting_gpu_hours"),
    *("objective_gbp", "lower_bound_gbp", "gap_fraction"),
)


def problem_record(problem: PlanningProblem) -> dict[str, Any]:
    """Return all that a plan was made from, as JSON."""
    return {
        "format": FORMAT,
        "start": str(problem.start),
        "carbon_price_gbp_per_tco2": problem.carbon_price_gbp_per_tco2,
        "jobs": [asdict(job) for job in problem.jobs],
        "sites": [
            {
                "site": asdict(outlook.site),
                **{name: getattr(outlook, name).tolist() for name in _SERIES},
                "limit_kw": _limits_record(outlook.limit_kw),
                "cap_gco2_per_kwh": outlook.cap_gco2_per_kwh,
                **{
                    name: spread.tolist()
                    for name in _SPREADS
                    if (spread := getattr(outlook, name)) is not None
                },
            }
            for outlook in problem.sites
        ],
    }


def problem_from_record(record: Mapping[str, Any]) -> PlanningProblem:
    """Return the problem that `problem_record` wrote.

    Raises:
        ContractError: The record has another format.
    """
    if record.get("format") != FORMAT:
        raise ContractError(f"format: {record.get('format')!r} is not {FORMAT}")
    return PlanningProblem(
        start=HalfHour.parse(record["start"]),
        jobs=tuple(
            JobDemand(
                **{
                    **job,
                    "id": JobId(job["id"]),
                    "tier": Tier(job["tier"]),
                    "modes": tuple(Mode(**mode) for mode in job.get("modes", ())),
                    "running_shape": _shape(job.get("running_shape")),
                    "away": tuple(job.get("away", ())),
                }
            )
            for job in record["jobs"]
        ),
        sites=tuple(outlook_from_record(outlook) for outlook in record["sites"]),
        carbon_price_gbp_per_tco2=record["carbon_price_gbp_per_tco2"],
    )


def outlook_from_record(record: Mapping[str, Any]) -> SiteOutlook:
    """Return one of the sites that `problem_record` wrote."""
    return SiteOutlook(
        site=Site(**{**record["site"], "power_caps": tuple(record["site"].get("power_caps", ()))}),
        **{name: np.array(record[name], dtype=float) for name in _SERIES},
        limit_kw=_limits(record.get("limit_kw")),
        cap_gco2_per_kwh=record.get("cap_gco2_per_kwh"),
        **{name: np.array(record[name], dtype=float) for name in _SPREADS if name in record},
    )


def result_record(plan: Plan) -> dict[str, Any]:
    """Return the figures of a plan, as JSON; its runs are kept apart."""
    return {
        **{name: getattr(plan, name) for name in _FIGURES},
        "late": [str(job_id) for job_id in plan.late],
        "over_cap": [str(job_id) for job_id in plan.over_cap],
        "sites_over_cap": list(plan.sites_over_cap),
        "method": plan.method,
        "shadow_prices_gbp_per_gpu": {
            name: prices.tolist() for name, prices in plan.shadow_prices_gbp_per_gpu.items()
        },
    }


def plan_from_record(
    result: Mapping[str, Any], *, start: HalfHour, runs: Mapping[JobId, tuple[PlannedRun, ...]]
) -> Plan:
    """Return the plan whose figures `result_record` wrote and whose runs were kept apart."""
    figures = {name: result[name] for name in _FIGURES}
    return Plan(
        start=start,
        runs=runs,
        late=tuple(JobId(job_id) for job_id in result["late"]),
        over_cap=tuple(JobId(job_id) for job_id in result["over_cap"]),
        sites_over_cap=tuple(result.get("sites_over_cap", ())),
        method=result["method"],
        shadow_prices_gbp_per_gpu={
            name: np.array(prices, dtype=float)
            for name, prices in result["shadow_prices_gbp_per_gpu"].items()
        },
        **figures,
    )


def _shape(record: Mapping[str, Any] | None) -> Shape | None:
    return None if record is None else Shape(**record)


def _limits_record(limit_kw: Array | None) -> list[float | None] | None:
    """JSON knows no infinity; no limit is null."""
    if limit_kw is None:
        return None
    return [limit if np.isfinite(limit) else None for limit in limit_kw.tolist()]


def _limits(record: list[float | None] | None) -> Array | None:
    if record is None:
        return None
    return np.array([np.inf if limit is None else limit for limit in record], dtype=float)
