"""What commands print: text as it is, and nothing that a terminal would obey."""

import json
from io import StringIO

import pytest
from rich.console import RenderableType
from rich.table import Table

from gridflex.cli.fitting import Column, print_fitting
from gridflex.cli.output import Terminal, out, print_json, say, styled


def table(text: str) -> Table:
    shown = Table(text, title=text)
    shown.add_row(text)
    return shown


@pytest.mark.parametrize("text", ["[/red]x", "e[backup]", ":smile:", "[bold]x[/bold]"])
def test_no_text_is_markup(capsys: pytest.CaptureFixture[str], text: str) -> None:
    say(text)
    out.print(table(text))
    print_fitting(out, [Column(text)], [[text]])

    assert capsys.readouterr().out.count(text) == 1 + 3 + 2


@pytest.mark.parametrize("code", [0x1B, 0x07, 0x08, 0x7F, 0x9B])
def test_no_text_gives_orders_to_a_terminal(capsys: pytest.CaptureFixture[str], code: int) -> None:
    text = f"a{chr(code)}b"
    lines: list[str | RenderableType] = [text, table(text), styled(("red", "red"), text)]
    for line in lines:
        out.print(line)
    print_fitting(out, [Column(text)], [[text]])
    print_json({"text": text})

    shown = capsys.readouterr().out
    assert chr(code) not in shown
    assert shown.count(f"a\\x{code:02x}b") == 1 + 3 + 1 + 2
    assert json.loads(shown[shown.index("{") :]) == {"text": text}


def test_a_style_is_of_the_part_that_is_to_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    terminal.file = StringIO()

    terminal.print(styled(("error:", "red"), " no [red]file"))

    assert terminal.file.getvalue() == "\x1b[31merror:\x1b[0m no [red]file\n"
