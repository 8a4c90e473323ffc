"""Commands that are imported when they are called, so that no other waits for what they load."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperGroup


def on_demand(places: Mapping[str, str]) -> type[TyperGroup]:
    """Return a group with commands that are elsewhere.

    Args:
        places: Where each is, by its name, such as ``gridflex.cli.plan:plan_app``: a function or
            a group of its own.
    """

    class OnDemand(TyperGroup):
        def __init__(self, **attrs: Any) -> None:  # noqa: ANN401 - passed on
            super().__init__(**attrs)
            self.commands = _Commands({**self.commands, **places})

    return OnDemand


class _Commands(UserDict[str, Any]):
    """Commands by name; one of which only the place is known is imported when it is taken."""

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - Typer does not name the type
        if isinstance(place := self.data[name], str):
            self.data[name] = _command(place, name)
        return self.data[name]


def _command(place: str, name: str) -> object:
    module, _, attribute = place.partition(":")
    found = getattr(import_module(module), attribute)
    around = typer.Typer()
    if isinstance(found, typer.Typer):
        around.add_typer(found, name=name)
    else:
        around.command(name)(found)
    return typer.main.get_group(around).commands[name]
