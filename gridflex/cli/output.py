"""How commands say something, and how they print what programs read."""

from __future__ import annotations

import json

from rich.console import Console

out = Console()


def say(text: object) -> None:
    """Print a line as it is, for the terminal to break."""
    out.print(text, highlight=False, soft_wrap=True)


def say_nothing(_text: object) -> None:
    """Print nothing: in place of `say` where only JSON is printed."""


def print_json(body: object) -> None:
    """Print a value as JSON; what JSON does not know, as text."""
    out.print_json(json.dumps(body, default=str))
