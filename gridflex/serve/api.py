"""The orchestration application: Ray's Job API, ``/v1`` and health, behind one token."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Final

from fastapi import APIRouter, Depends, FastAPI
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline

from gridflex.adapters.beckn.log import BecknLog
from gridflex.agents.beckn.ports import SizedPlanner, build_house
from gridflex.agents.energy.ports import authority_of, interest_of, predictability_limits
from gridflex.agents.ports import Ports
from gridflex.agents.shed_desk import ShedDesk
from gridflex.fleet import Site
from gridflex.market.settlement.calendar import published_days
from gridflex.serve.agents_api import create_agents_router
from gridflex.serve.auth import Authentication, token_to_ask_for
from gridflex.serve.bodies import BodyLimit
from gridflex.serve.described import describe_by_docstrings
from gridflex.serve.forecasts_api import create_forecasts_router
from gridflex.serve.grid_api import create_grid_router
from gridflex.serve.health import create_health_router
from gridflex.serve.jobs_api import create_jobs_router
from gridflex.serve.market_api import create_market_router
from gridflex.serve.plans_api import create_plans_router
from gridflex.serve.problems import install_problems
from gridflex.serve.ray_api import create_ray_router
from gridflex.serve.settlement_api import create_settlement_router
from gridflex.serve.shed_api import create_shed_router

DOCS_FILES: Final = "/static/docs"
"""Where the scripts of ``/docs`` come from, so that it works without a network."""


def create_api(ports: Ports) -> FastAPI:
    """Return the HTTP interface over stores, clusters and the clock.

    Raises:
        ContractError: Callers must send a token and there is none.
    """
    release = version("gridflex")
    sizes = ports.sizes()

    async def sites() -> tuple[Site, ...]:
        return (await sizes.read()).sites

    desk = ShedDesk(
        jobs=ports.jobs,
        curtailments=ports.curtailments,
        grid=ports.grid,
        sites=sites,
        now=ports.clock.now,
        restart=ports.restart,
        tariffs=ports.tariffs,
    )

    @contextlib.asynccontextmanager
    async def working(_app: FastAPI) -> AsyncIterator[None]:
        warm = asyncio.create_task(desk.keep_warm())
        yield
        warm.cancel()

    api = FastAPIOffline(
        title="GridFlex",
        version=release,
        redoc_url=None,
        static_url=DOCS_FILES,
        lifespan=working,
    )
    install_problems(api)
    api.include_router(create_ray_router(ports))
    bearer = HTTPBearer(auto_error=False)  # for the description alone; the middleware decides
    v1 = APIRouter(prefix="/v1", dependencies=[Depends(bearer)])
    v1.include_router(create_agents_router(ports))
    v1.include_router(create_jobs_router(ports))
    v1.include_router(create_shed_router(desk, ports))
    v1.include_router(create_plans_router(ports.plans))
    v1.include_router(
        create_market_router(
            BecknLog(ports.engine),
            house=build_house(ports, planner=SizedPlanner(ports)),
            subscriber_id=ports.settings.market.subscriber_id,
        )
    )
    v1.include_router(create_grid_router(ports.grid, ports.clock, ports.agents))
    v1.include_router(
        create_forecasts_router(ports.archive, ports.ranks, ports.models, ports.clock)
    )
    v1.include_router(
        create_settlement_router(
            ports.ledger,
            ports.receipts,
            ports.clock,
            limits=predictability_limits(ports.settings.energy),
            published=published_days(ports.settings.energy.settlement_calendar),
            interest=interest_of(ports.settings.energy),
            authority=authority_of(ports.settings.energy),
        )
    )
    api.include_router(v1)
    api.include_router(create_health_router(ports))

    @api.get("/", include_in_schema=False)
    def index() -> dict[str, str]:
        return {"name": "GridFlex", "version": release, "docs": "/docs", "ready": "/readyz"}

    describe_by_docstrings(api)
    api.add_middleware(BodyLimit)
    api.add_middleware(Authentication, token=token_to_ask_for(ports.settings.http))
    return api
