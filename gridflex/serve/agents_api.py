"""``/v1/agents``: the last sign of life of each agent, and what impairs it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from gridflex.agents.ports import Ports
from gridflex.serve.health import degraded_agents


class AgentView(BaseModel):
    """One agent.

    Attributes:
        name: Its role.
        ticked_at: GridFlex time of its last tick.
        silent_s: Wall time since then.
        degraded: What impairs its work; null if nothing does.
        detail: What its last tick reported.
    """

    name: str
    ticked_at: datetime
    silent_s: float
    degraded: str | None
    detail: dict[str, Any]


class AgentList(BaseModel):
    """All agents, by name.

    Attributes:
        agents: They.
    """

    agents: list[AgentView]


def create_agents_router(ports: Ports) -> APIRouter:
    """Return the route ``/v1/agents``."""
    api = APIRouter(prefix="/agents", tags=["agents"])

    @api.get("")
    async def agents() -> AgentList:
        """Last sign of life of every agent.

        When each last ticked, for how many seconds it has been silent, what impairs its work and
        what its last tick reported. The README says what each is for.
        """
        rows = await ports.agents.all()
        impaired = degraded_agents(rows)
        wall = ports.clock.wall_now()
        return AgentList(
            agents=[
                AgentView(
                    name=row.name,
                    ticked_at=row.ticked_at,
                    silent_s=(wall - row.ticked_wall).total_seconds(),
                    degraded=impaired.get(row.name),
                    detail=row.detail,
                )
                for row in rows
            ]
        )

    return api
