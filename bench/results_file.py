"""Results of a benchmark: a table for the reader and ``results/NAME.json`` for the record."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of a benchmark.

    Args:
        name: Stable; other documents refer to it.
        value: What was found.
        unit: Of the value, the target and the peers.
        target: What it should reach, such as ``>= 150``; None where there is no target.
        peers: What others reached in the same run, by their name.
        data: What it was found on.
    """

    name: str
    value: float
    unit: str
    target: str | None = None
    peers: Mapping[str, float] = field(default_factory=dict)
    data: str = ""


def publish(name: str, figures: Sequence[Figure]) -> Path:
    """Print the figures and write ``results/NAME.json``; returns its path."""
    _show(name, figures)
    return _write(name, _rows(figures))


def update(name: str, figures: Sequence[Figure]) -> Path:
    """Like `publish`, but keep the rows of ``results/NAME.json`` that have other names."""
    _show(name, figures)
    path = RESULTS / f"{name}.json"
    stored = json.loads(path.read_text()) if path.exists() else []
    new = {row["name"]: row for row in _rows(figures)}
    kept = [new.pop(row["name"], row) for row in stored]
    return _write(name, [*kept, *new.values()])


def _show(name: str, figures: Sequence[Figure]) -> None:
    table = Table("figure", "value", "target", "peers", title=name)
    for figure in figures:
        peers = ", ".join(f"{peer} {value:.4g}" for peer, value in figure.peers.items())
        value = f"{figure.value:.4g} {figure.unit}"
        table.add_row(figure.name, value, figure.target or "-", peers or "-")
    Console().print(table)


def _rows(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    return [{**asdict(figure), "cores": os.cpu_count()} for figure in figures]


def _write(name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(rows, indent=2) + "\n")
    return path
