"""What commands print: text as it is, and nothing that a terminal would obey."""

import json
import os
import sys
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path

import pytest
from rich.console import RenderableType
from rich.table import Table

from gridflex import cli
from gridflex.cli import root
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


@pytest.mark.parametrize("buffering", [1, -1], ids=["by line", "whole"])
def test_an_output_that_is_full_is_one_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], buffering: int
) -> None:
    monkeypatch.setattr(root, "app", lambda: Terminal().print("all"))
    with Path("/dev/full").open("w", buffering, encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as ended:
            cli.main()

    assert ended.value.code == 3
    assert capsys.readouterr().err == "error: output cannot be written: No space left on device\n"


def test_an_output_that_nobody_reads_any_more_is_no_broken_promise(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(root, "app", lambda: Terminal().print("all"))
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", encoding="utf-8") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        with pytest.raises(SystemExit) as ended:
            cli.main()

    assert ended.value.code == 141
    assert capsys.readouterr().err == ""


def test_another_fault_is_not_taken_for_a_full_output(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        Path("nowhere").read_text(encoding="utf-8")

    monkeypatch.setattr(root, "app", fails)

    with pytest.raises(FileNotFoundError):
        cli.main()


def test_an_encoding_that_lacks_a_letter_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    written = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(written, encoding="ascii"))

    def says() -> None:
        say("café")
        print_json({"team": "café"})

    monkeypatch.setattr(root, "app", says)
    cli.main()

    line, _, body = written.getvalue().partition(b"\n")
    assert line == rb"caf\xe9"
    assert json.loads(body) == {"team": "café"}
