"""Whether GridFlex works: ``/healthz``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from gridflex.adapters.database import refuse_read_only
from gridflex.adapters.jobs.plan_store import StoredPlan
from gridflex.adapters.tables import AgentRow
from gridflex.agents.loop import FAILED
from gridflex.agents.ports import Ports
from gridflex.agents.roles import (
    BOOKS,
    BOOKS_EVERY_S,
    ENERGY,
    ENERGY_EVERY_S,
    GRID,
    ORCHESTRATOR,
    TRADING,
    TRADING_EVERY_S,
    WORKLOAD,
)
from gridflex.jobs import JobState
from gridflex.settings import Settings

GRACE_S: Final = 60.0
"""How much later than due an agent may tick before it counts as silent, wall time."""


def create_health_router(ports: Ports) -> APIRouter:
    """Return the routes; all of them answer while the database is away."""
    api = APIRouter(tags=["health"])

    @api.get("/healthz")
    def alive() -> dict[str, str]:
        """Whether this replica answers.

        It asks neither the database nor the agents, and needs no token.
        """
        return {"status": "ok"}

    @api.get("/readyz")
    async def ready() -> Response:
        """Whether GridFlex does its work.

        503 while the database cannot be written or an agent is silent: a minute later than due;
        `silent` says which. `degraded` names agents that work, but impaired. Needs no token.
        """
        await refuse_read_only(ports.engine)
        agents = await ports.agents.all()
        silent = silent_agents(agents, settings=ports.settings, wall=ports.clock.wall_now())
        body = {
            "status": "waiting" if silent else "ready",
            "silent": silent,
            "degraded": sorted(degraded_agents(agents)),
        }
        status = HTTPStatus.SERVICE_UNAVAILABLE if silent else HTTPStatus.OK
        return JSONResponse(body, status_code=status)

    @api.get("/metrics")
    async def metrics() -> Response:
        """Metrics for Prometheus.

        Open jobs by state, seconds since each agent's last tick, and cost (GBP), emissions (kg),
        late jobs and proven distance from the optimum of the newest plan.
        """
        text = _metrics(
            await ports.jobs.count_open(),
            await ports.agents.all(),
            await ports.plans.newest(),
            wall=ports.clock.wall_now(),
        )
        return Response(text, media_type=CONTENT_TYPE_LATEST)

    return api


def silent_agents(
    agents: Sequence[AgentRow], *, settings: Settings, wall: datetime
) -> Mapping[str, str]:
    """Return why each agent that does not tick is thought to be silent.

    Args:
        agents: Last signs of life.
        settings: How often they are due.
        wall: Now, wall time.
    """
    due_s = {
        WORKLOAD: 0.0,
        GRID: settings.grid.poll_s / settings.clock.speed,
        ORCHESTRATOR: settings.planner.replan_s / settings.clock.speed,
        BOOKS: BOOKS_EVERY_S / settings.clock.speed,
    }
    if settings.market.subscriber_id is not None:
        due_s[TRADING] = TRADING_EVERY_S
    if settings.energy.unit is not None:
        due_s[ENERGY] = ENERGY_EVERY_S / settings.clock.speed
    seen = {agent.name: (wall - agent.ticked_wall).total_seconds() for agent in agents}
    silent = {}
    for name, within_s in due_s.items():
        if name not in seen:
            silent[name] = "has not ticked yet"
        elif seen[name] > within_s + GRACE_S:
            silent[name] = f"last ticked {seen[name]:.0f} s ago"
    return silent


def degraded_agents(agents: Sequence[AgentRow]) -> Mapping[str, str]:
    """Return what each agent whose work is impaired says about it."""
    return {
        agent.name: "; ".join(reasons) for agent in agents if (reasons := [*_reasons(agent.detail)])
    }


def _reasons(detail: Mapping[str, Any]) -> Iterator[str]:
    if FAILED in detail:
        yield str(detail[FAILED])
    for kind in ("degraded", "unreachable", "failures"):
        yield from (f"{name}: {why}" for name, why in (detail.get(kind) or {}).items())


def _metrics(
    open_jobs: Mapping[JobState, int],
    agents: Sequence[AgentRow],
    plan: StoredPlan | None,
    *,
    wall: datetime,
) -> bytes:
    registry = CollectorRegistry()
    jobs = Gauge("gridflex_open_jobs", "Flexible jobs by state.", ["state"], registry=registry)
    for state in JobState:
        if not state.is_final:
            jobs.labels(state.value).set(open_jobs.get(state, 0))
    silence = Gauge(
        "gridflex_agent_silence_seconds", "Since the last tick.", ["agent"], registry=registry
    )
    for agent in agents:
        silence.labels(agent.name).set((wall - agent.ticked_wall).total_seconds())
    if plan is not None:
        _plan_metrics(plan.result, registry)
    return generate_latest(registry)


def _plan_metrics(result: Mapping[str, Any], registry: CollectorRegistry) -> None:
    for name, key, text in (
        ("gridflex_plan_gap_ratio", "gap_fraction", "Proven distance from the optimum."),
        ("gridflex_plan_cost_gbp", "cost_gbp", "Energy cost of the newest plan."),
        ("gridflex_plan_carbon_kilograms", "carbon_kg", "Emissions of the newest plan."),
    ):
        Gauge(name, text, registry=registry).set(result[key])
    late = Gauge("gridflex_plan_late_jobs", "Jobs that cannot be on time.", registry=registry)
    late.set(len(result["late"]))
