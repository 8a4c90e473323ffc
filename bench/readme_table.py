"""The README's table of figures, from the results of the last runs.

python bench/readme_table.py [--check]
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

from results_file import RESULTS

README: Final = Path(__file__).parents[1] / "README.md"
TEMPLATE: Final = Path(__file__).with_suffix(".md")
BOUND: Final = re.compile(r"(<=|>=|<|>) (-?[\d.]+)")
RANGE: Final = re.compile(r"([\d.]+)(?:-| to )([\d.]+)")


def is_met(value: float, target: str) -> bool:
    """Return whether a figure reaches its target, such as ``>= 150`` or ``88 to 92``.

    Raises:
        ValueError: The target is written in another way.
    """
    if bound := BOUND.fullmatch(target):
        limit = float(bound[2])
        is_within = value < limit if bound[1][0] == "<" else value > limit
        return is_within or (bound[1][1:] == "=" and value == limit)
    if between := RANGE.fullmatch(target):
        return float(between[1]) <= value <= float(between[2])
    return value == float(target)


def table() -> str:
    """Return the table; where a target is missed it says so."""
    figures: dict[str, dict[str, float]] = {}
    missed: dict[str, str] = defaultdict(str)
    for path in RESULTS.glob("*.json"):
        rows: list[dict[str, Any]] = json.loads(path.read_text())
        figures[path.stem] = {row["name"]: row["value"] for row in rows}
        for row in rows:
            if row["target"] is not None and not is_met(row["value"], row["target"]):
                missed[row["name"]] = " **missed**"
    return TEMPLATE.read_text().format(**figures, missed=missed)


def main() -> None:
    """Put the table into the README, or say whether it is there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="Change nothing; exit 1 if it differs")
    args = parser.parse_args()
    found = README.read_text()
    start = found.index("\n| What | Figure |") + 1
    wanted = found[:start] + table() + found[found.index("\n\n", start) + 1 :]
    if args.check:
        sys.exit(0 if wanted == found else f"{README}: run python {sys.argv[0]}")
    README.write_text(wanted)


if __name__ == "__main__":
    main()
