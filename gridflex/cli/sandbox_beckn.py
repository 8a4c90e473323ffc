"""``gridflex sandbox beckn``: a network to trade on."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from gridflex.cli.options import AsJson, Config
from gridflex.cli.output import out, say
from gridflex.running.launch import in_force
from gridflex.sandbox.beckn.behaviour import Behaviour
from gridflex.sandbox.beckn.network import SandboxNetwork
from gridflex.sandbox.beckn.parts import Part
from gridflex.settings_files import load_settings


def sandbox_beckn(
    *,
    host: Annotated[str, typer.Option(help="Address to bind.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65531, help="Of the registry; 0 takes any.")
    ] = 8070,
    utility: Annotated[Behaviour, typer.Option(help="How the utility behaves.")] = Behaviour.ACCEPT,
    aggregator: Annotated[
        Behaviour, typer.Option(help="How the aggregator behaves.")
    ] = Behaviour.ACCEPT,
    without: Annotated[
        list[Part] | None, typer.Option(help="Leave out the utility or the aggregator.")
    ] = None,
    ttl: Annotated[float, typer.Option(help="Seconds for which their requests count.")] = 300.0,
    every: Annotated[float, typer.Option(help="Seconds between two discoveries.")] = 5.0,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Run a Beckn network: registry, discovery service, utility and aggregator, a process each.

    Jobs, prices and intensities of the counterparties are simulated. PUT /_sandbox/behaviour
    changes how one behaves while it runs; GET /_sandbox shows its contracts.
    """
    network = SandboxNetwork(
        host=host,
        port=port,
        behaviours={Part.UTILITY: utility, Part.AGGREGATOR: aggregator},
        parts=frozenset(Part) - frozenset(without or ()),
        clock=in_force(load_settings(config)).clock,
        ttl_s=ttl,
        every_s=every,
    )
    with network:
        served = {part.value: base for part, base in network.base_urls.items()}
        if as_json:
            typer.echo(json.dumps({**served, "environment": network.environment()}))
        else:
            for part, base in served.items():
                out.print(f"{part:<11} {base}")
            for name, value in network.environment().items():
                say(f"{name}={value}")
        network.wait()
