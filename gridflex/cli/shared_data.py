"""Where recorded grid data is, if this machine has any."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

SHARED_VARIABLE: Final = "GRIDFLEX_SHARED"
BESIDE: Final = Path(__file__).parents[3] / "shared"
"""Beside the checkout."""


def grid_folder() -> Path:
    """Return the folder of recorded grid series, which may be absent."""
    return Path(os.environ.get(SHARED_VARIABLE) or BESIDE) / "data" / "grid"
