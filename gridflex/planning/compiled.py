"""Machine code for the loops of the planner.

A planner looks at hundreds of half-hours for each of thousands of jobs, one after the other,
because each job sees what the ones before it took. Such loops are compiled by Numba; the code is
kept next to the source, so that only the first run after an installation waits for it. Numba renews
it when its own file changes; as loops call those of other files, it is kept under a digest of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar, cast

import numba

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

CALLED: Final = ("compiled.py", "tables.py", "one_job.py", "kernels.py", "patience.py")
"""Files whose loops or types those of others use."""


def compiled(
    function: Callable[Parameters, Result], *, is_kept: bool = True
) -> Callable[Parameters, Result]:
    """Compile a function of arrays and numbers; it runs without Python's lock.

    Args:
        function: What to compile.
        is_kept: Whether the code is kept for later runs; not where its module is imported by
            several names, as a script is: what was kept under one cannot be loaded under another.
    """
    decorate = numba.njit(cache=is_kept, nogil=True, error_model="numpy")
    config: Any = numba.config  # its names are made when Numba is loaded
    before = config.CACHE_DIR
    config.CACHE_DIR = before or _kept_in()
    try:
        return cast("Callable[Parameters, Result]", decorate(function))
    finally:
        config.CACHE_DIR = before


@cache
def _kept_in() -> str:
    folder = Path(__file__).parent
    sources = b"".join((folder / name).read_bytes() for name in CALLED)
    return str(folder / "__pycache__" / f"compiled-{hashlib.sha256(sources).hexdigest()[:16]}")
