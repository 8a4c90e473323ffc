"""Commands that are imported when they are called, so that no other waits for what they load.

Their help is shown by paragraph: Typer would begin a line wherever a docstring does.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Mapping
from importlib import import_module
from inspect import cleandoc
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
            self.help = in_paragraphs(self.help)
            self.commands = _Commands({**self.commands, **places})

    return OnDemand


def in_paragraphs(text: str | None) -> str | None:
    """Return a help text with each paragraph on one line, for the terminal to break."""
    if text is None:
        return None
    return "\n\n".join(" ".join(part.split()) for part in cleandoc(text).split("\n\n"))


class _Commands(UserDict[str, Any]):
    """Commands by name; one of which only the place is known is imported when it is taken."""

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - Typer does not name the type
        if isinstance(place := self.data[name], str):
            self.data[name] = _command(place, name)
        _reflow(self.data[name])
        return self.data[name]


def _reflow(command: Any) -> None:  # noqa: ANN401 - Typer does not name the type
    command.help = in_paragraphs(command.help)
    if isinstance(command, TyperGroup) and not isinstance(command.commands, _Commands):
        for each in command.commands.values():
            _reflow(each)


def _command(place: str, name: str) -> object:
    module, _, attribute = place.partition(":")
    found = getattr(import_module(module), attribute)
    around = typer.Typer()
    if isinstance(found, typer.Typer):
        around.add_typer(found, name=name)
    else:
        around.command(name)(found)
    return typer.main.get_group(around).commands[name]
