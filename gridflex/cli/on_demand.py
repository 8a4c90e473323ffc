"""Commands that are imported when they are called, so that no other waits for what they load.

A group lists them by one line each, which is known without them. Help is shown by paragraph, and
without the quotes of docstrings: Typer would begin a line wherever a docstring does.
"""

from __future__ import annotations

from collections import UserDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from inspect import cleandoc
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup


class Elsewhere(NamedTuple):
    """A command of another module.

    Args:
        place: A function or a group of its own, such as ``gridflex.cli.plan:plan_app``.
        says: What it does, in a line.
    """

    place: str
    says: str


def on_demand(places: Mapping[str, Elsewhere]) -> type[TyperGroup]:
    """Return a group with commands that are elsewhere.

    Args:
        places: Where each is, by its name.
    """

    class OnDemand(TyperGroup):
        def __init__(self, **attrs: Any) -> None:  # noqa: ANN401 - passed on
            super().__init__(**attrs)
            self.help = shown(self.help)
            self._places = _Commands({**self.commands, **places})
            self.commands = self._places

        def format_help(self, *given: Any) -> None:  # noqa: ANN401 - Typer does not name the types
            with self._places.listed():
                super().format_help(*given)

    return OnDemand


def shown(text: str | None) -> str | None:
    """Return a help text with each paragraph on one line, for the terminal to break.

    What docstrings quote twice stands without quotes.
    """
    if text is None:
        return None
    plain = cleandoc(text).replace("``", "")
    return "\n\n".join(" ".join(part.split()) for part in plain.split("\n\n"))


class _Commands(UserDict[str, Any]):
    """Commands by name; one of which only the place is known is imported when it is taken."""

    _is_listed = False

    @contextmanager
    def listed(self) -> Iterator[None]:
        """Import none meanwhile: what each says is enough."""
        self._is_listed = True
        try:
            yield
        finally:
            self._is_listed = False

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - Typer does not name the type
        if isinstance(found := self.data[name], Elsewhere):
            if self._is_listed:
                return TyperCommand(name, help=found.says)
            self.data[name] = _command(found, name)
        _reflow(self.data[name])
        return self.data[name]


def _reflow(command: Any) -> None:  # noqa: ANN401 - Typer does not name the type
    command.help = shown(command.help)
    for one in command.params:
        if getattr(one, "help", None):
            one.help = one.help.replace("``", "")
    if isinstance(command, TyperGroup) and not isinstance(command.commands, _Commands):
        for each in command.commands.values():
            _reflow(each)


def _command(where: Elsewhere, name: str) -> object:
    module, _, attribute = where.place.partition(":")
    found = getattr(import_module(module), attribute)
    around = typer.Typer()
    if isinstance(found, typer.Typer):
        around.add_typer(found, name=name, help=where.says)
    else:
        around.command(name)(found)
    return typer.main.get_group(around).commands[name]
