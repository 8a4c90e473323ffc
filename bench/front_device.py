"""How fast populations of NSGA-II are counted on this machine's CPU and GPU.

``PYTHONPATH=. python bench/front_device.py`` counts 100 genomes of plans of 1,000 to 100,000 jobs
by the compiled loops, by torch on the CPU and, where there is one, on the GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from gridflex.planning.crossing import total
from gridflex.planning.evaluating import evaluator

GENOMES = 100
SIZES = ((1_000, 200), (10_000, 200), (100_000, 64))
REPEATS = 7


def main() -> None:
    """Print the medians and how far the figures lie apart."""
    rng = np.random.default_rng(0)
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    print("GPU:", torch.cuda.get_device_name() if len(devices) > 1 else "none")
    for jobs, plans in SIZES:
        per_job = rng.random((plans, jobs, 3))
        genomes = rng.integers(0, plans, (GENOMES, jobs))
        expected, loops_ms = timed(lambda g, p=per_job: total(p, g), genomes)
        taken = [f"compiled {loops_ms:.2f} ms"]
        for device in devices:
            found, ms = timed(evaluator(per_job, device=device), genomes)
            apart = float(np.abs(found / expected - 1).max())
            taken.append(f"torch {device} {ms:.2f} ms (apart by {apart:.0e})")
        print(f"{jobs:,} jobs:", ", ".join(taken))


def timed(
    count: Callable[[NDArray[np.int64]], NDArray[np.float64]], genomes: NDArray[np.int64]
) -> tuple[NDArray[np.float64], float]:
    """Return the figures and the median time in ms, the first call left out."""
    found = count(genomes)
    taken = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        count(genomes)
        taken.append(1000 * (time.perf_counter() - begun))
    return found, median(taken)


if __name__ == "__main__":
    main()
