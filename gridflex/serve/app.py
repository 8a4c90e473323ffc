"""The two Ray Serve applications: orchestration at ``/`` and Beckn at ``/beckn``.

``serve run serve_config.yaml`` calls the builders below. Starting the orchestration
application starts the agents; they outlive it. Annotations are not postponed here: Serve reads
those of the builders to check their arguments. Imports are where they are used: who builds the
applications, and the replica of each, loads what it needs and not what another does.
"""

import asyncio
import gc
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from pydantic import BaseModel
from ray import serve
from ray.serve import Application

from gridflex.agents.roles import ON_HEAD
from gridflex.settings_files import dump_settings, load_settings, parse_settings

DATABASE_CONNECTIONS: Final = 10
BECKN_CONNECTIONS: Final = 16
"""So many messages reach the disk together; one at a time waits for it longest."""
MESSAGES: Final = 64
"""Beckn messages that one replica checks together."""
GATEWAY: Final = "gateway"
NETWORK: Final = "network"
REPLICA: Final[dict[str, Any]] = {"num_cpus": 0.1, "resources": dict(ON_HEAD)}
STREAMS: Final = 1_000
"""Requests that one replica serves together; a log that is followed occupies one."""


class ApplicationArgs(BaseModel, extra="forbid"):
    """Arguments of a builder, from ``args`` in ``serve_config.yaml``.

    Attributes:
        config: Settings file; None takes ``GRIDFLEX_CONFIG``, else ``gridflex.yaml`` if present.
        settings: Single settings, nested as in the file; they win over it.
    """

    config: Path | None = None
    settings: dict[str, Any] = {}


class Orchestration:
    """The orchestration application in one replica; keeps the agents running."""

    def __init__(self, settings_yaml: str) -> None:
        from gridflex.agents.actors import deploy_agents
        from gridflex.agents.ports import build_ports

        self._settings = parse_settings(settings_yaml)
        self._ports = build_ports(self._settings, pool_size=DATABASE_CONNECTIONS)
        deploy_agents(self._settings)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the application; Serve calls it after the constructor."""
        from gridflex.serve.api import create_api

        gc.freeze()  # what was imported stays; looking through it again stops every request
        return create_api(self._ports)

    async def check_health(self) -> None:
        """Start again what was killed for good; Serve calls it every few seconds."""
        from gridflex.adapters.database import keep_embedded
        from gridflex.agents.actors import ensure_agents

        await asyncio.to_thread(keep_embedded, self._settings)
        await asyncio.to_thread(ensure_agents, self._settings)


class Beckn:
    """The Beckn application in one replica; without ``market.subscriber_id`` it takes nothing."""

    def __init__(self, settings_yaml: str) -> None:
        self._settings = parse_settings(settings_yaml)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the application; Serve calls it after the constructor."""
        from gridflex.serve.beckn_api import create_beckn_api, create_closed_api

        if self._settings.market.subscriber_id is None:
            return create_closed_api()
        from gridflex.agents.beckn.ports import build_receiver
        from gridflex.agents.ports import build_ports

        ports = build_ports(self._settings, pool_size=BECKN_CONNECTIONS)
        gc.freeze()  # as above
        return create_beckn_api(build_receiver(ports), clock=ports.clock.wall_now)


def build_orchestration(args: ApplicationArgs) -> Application:
    """Return the application with the gateway, ``/v1`` and the agents."""
    settings = load_settings(args.config, flags=args.settings)
    deployment = serve.deployment(
        name=GATEWAY, max_ongoing_requests=STREAMS, ray_actor_options=REPLICA
    )(serve.ingress()(Orchestration))
    return deployment.bind(dump_settings(settings))


def build_beckn(args: ApplicationArgs) -> Application:
    """Return the Beckn application."""
    settings = load_settings(args.config, flags=args.settings)
    deployment = serve.deployment(
        name=NETWORK,
        max_ongoing_requests=MESSAGES,
        ray_actor_options=REPLICA,
        logging_config={"enable_access_log": False},  # the trade log has every message
    )(serve.ingress()(Beckn))
    return deployment.bind(dump_settings(settings))
