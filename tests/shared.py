"""Where tests find the recorded real data, if this machine has it."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def shared_data(*parts: str) -> Path:
    """Return a path inside the recorded data, or skip the calling test without it."""
    base = Path(os.environ.get("GRIDFLEX_SHARED", ROOT.parent / "shared"))
    path = base.joinpath("data", *parts)
    if not path.exists():
        pytest.skip(f"no recorded data at {path}; set GRIDFLEX_SHARED")
    return path
