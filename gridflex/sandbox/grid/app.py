"""The grid data providers on one server, at the clock's time.

Base URLs: Carbon Intensity ``/``, Elexon ``/bmrs/api/v1``, Octopus ``/v1``, Nord
Pool ``/api``. Every answer says what its numbers rest on in ``X-GridFlex-Origin``.
``PUT /_sandbox/fault`` makes a provider fail; ``GET /_sandbox`` says when it is and what is
served.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from gridflex.adapters.http import ORIGIN_HEADER
from gridflex.faults import faults_text
from gridflex.sandbox.grid.carbon import EmptyAnswerError, carbon_router
from gridflex.sandbox.grid.desk import Clock, Desk
from gridflex.sandbox.grid.elexon import elexon_router
from gridflex.sandbox.grid.faults import FaultOrder, Faults, Provider
from gridflex.sandbox.grid.nord_pool import nord_pool_router
from gridflex.sandbox.grid.octopus import octopus_router
from gridflex.sandbox.grid.paths import CONTROL_PATH, ELEXON_PATH, NORD_POOL_PATH, OCTOPUS_PATH
from gridflex.sandbox.grid.vintages import VERSION, carbon_errors, demand_errors, wind_errors
from gridflex.sandbox.grid.world import World


def create_grid_server(world: World, clock: Clock, *, seed: int = 0) -> FastAPI:
    """Return the server.

    Args:
        world: What really happens; only what is known at the clock's time is told.
        clock: When it is.
        seed: Which errors the forecasts have.
    """
    app = FastAPI(title="GridFlex grid sandbox", openapi_url=None)
    faults = Faults()

    def desk(provider: Provider) -> Desk:
        return Desk(world=world, clock=clock, faults=faults, provider=provider)

    app.include_router(carbon_router(desk(Provider.CARBON_INTENSITY), errors=carbon_errors(seed)))
    app.include_router(
        elexon_router(desk(Provider.ELEXON), demand=demand_errors(seed), wind=wind_errors(seed)),
        prefix=ELEXON_PATH,
    )
    app.include_router(octopus_router(desk(Provider.OCTOPUS)), prefix=OCTOPUS_PATH)
    app.include_router(nord_pool_router(desk(Provider.NORD_POOL)), prefix=NORD_POOL_PATH)

    @app.get(CONTROL_PATH)
    def state() -> dict[str, Any]:
        return {
            "origin": world.origin.value,
            "now": clock.now().isoformat(),
            "from": str(world.start),
            "to": str(world.end),
            "seed": seed,
            "error_model_version": VERSION,
            "faults": faults.in_force(),
        }

    @app.put(f"{CONTROL_PATH}/fault")
    def order_fault(order: FaultOrder) -> dict[str, str]:
        faults.order(order, now=clock.now())
        return faults.in_force()

    @app.middleware("http")
    async def answer(
        request: Request, respond: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        spoiled = None
        if not request.url.path.startswith(CONTROL_PATH):
            spoiled = await faults.spoil(Provider.of_path(request.url.path))
        response = spoiled or await respond(request)
        response.headers.setdefault(ORIGIN_HEADER, world.origin.value)
        return response

    app.add_exception_handler(RequestValidationError, _bad_request)
    app.add_exception_handler(HTTPException, _error)
    app.add_exception_handler(EmptyAnswerError, _nothing)
    return app


def _bad_request(_request: Request, error: Exception) -> Response:
    found = error.errors() if isinstance(error, RequestValidationError) else []
    return _problem(400, faults_text(found, whole="body"))


def _nothing(_request: Request, _error: Exception) -> Response:
    return Response(b"")


def _error(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else str(error)
    return _problem(status, str(detail))


def _problem(status: int, message: str) -> Response:
    """The error object of the Carbon Intensity API; the others say it in other words."""
    code = f"{status} {HTTPStatus(status).phrase}"
    return JSONResponse({"error": {"code": code, "message": message}}, status_code=status)
