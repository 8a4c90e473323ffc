"""How commands say something, and how they print what programs read.

Text is shown as it is: nothing in it is markup, an emoji's name or an order to the terminal.
What is to have a style is said by `styled`.
"""

from __future__ import annotations

import json
import os
import sys
from io import TextIOWrapper
from typing import Any, Final

from rich.console import Console
from rich.text import Text

NOBODY_READS: Final = 141
"""What a shell says of a command that wrote to a closed pipe."""

_ORDERS: Final = {
    code: f"\\x{code:02x}"
    for code in (*range(0x20), *range(0x7F, 0xA0))
    if chr(code) not in "\t\n\r"
}
"""Control characters, which a terminal may obey, and how they are shown."""


class Terminal(Console):
    """A console for text that anybody may have written; Rich leaves a carriage return out.

    Args:
        stderr: Whether it is standard error.
        soft_wrap: Whether the terminal breaks lines.
    """

    def __init__(self, *, stderr: bool = False, soft_wrap: bool = False) -> None:
        super().__init__(
            stderr=stderr, soft_wrap=soft_wrap, markup=False, emoji=False, highlight=False
        )

    def render_str(self, text: str, **options: Any) -> Text:  # noqa: ANN401 - as Rich has them
        """Return text to show, without what a terminal would obey."""
        return super().render_str(visible(text), **options)

    def on_broken_pipe(self) -> None:
        """End as programs do of which nobody reads the output any more."""
        give_up_output()
        raise SystemExit(NOBODY_READS)


def show_all_text() -> None:
    """Let standard output spell out what its encoding lacks, as standard error does."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def give_up_output() -> None:
    """Drop what standard output could not write; Python would try it again at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def visible(text: str) -> str:
    """Return text with its control characters spelt out, each by its number."""
    return text.translate(_ORDERS)


def styled(*parts: str | tuple[str, str]) -> Text:
    """Return text of which parts have a style: ``styled(("error:", "red"), " no such file")``."""
    return Text.assemble(
        *(visible(one) if isinstance(one, str) else (visible(one[0]), one[1]) for one in parts)
    )


out = Terminal()
err = Terminal(stderr=True)


def say(text: object) -> None:
    """Print a line as it is, for the terminal to break."""
    out.print(text, soft_wrap=True)


def warn(text: str) -> None:
    """Print a line beside the output, which a program may read."""
    err.print(text, soft_wrap=True)


def say_nothing(_text: object) -> None:
    """Print nothing: in place of `say` where only JSON is printed."""


def print_json(body: object) -> None:
    """Print a value as JSON; what JSON does not know, as text."""
    print_json_text(json.dumps(body, default=str))


def print_json_text(text: str) -> None:
    """Print JSON that is text already."""
    shown = json.dumps(json.loads(text), ensure_ascii=False)
    out.print_json(shown, ensure_ascii=not _can_show(shown))


def _can_show(text: str) -> bool:
    """Return whether standard output can encode text, and no terminal would obey it."""
    try:
        text.encode(out.encoding)
    except UnicodeEncodeError:
        return False
    return visible(text) == text
