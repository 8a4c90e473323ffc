"""What whole populations of genomes come to: compiled loops, or torch where a GPU has the work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from gridflex.planning.crossing import total
from gridflex.planning.problem import Array
from gridflex.planning.tables import Index

Evaluator = Callable[[Index], Array]

WORTH_A_GPU: Final = 2_000_000
"""Cells of the table of plans and jobs from which the way to a GPU and back is worth it."""


def evaluator(per_job: Array, *, device: str | None = None) -> Evaluator:
    """Return what turns genomes, shape ``(P, J)``, into their figures, shape ``(P, 3)``.

    Args:
        per_job: Shape ``(K, J, 3)``, what each job comes to in each plan.
        device: A torch device; None is a GPU where there is one and the table is large, else the
            compiled loops of this processor.
    """
    chosen = device or (_gpu() if per_job.size >= WORTH_A_GPU else None)
    if chosen is None:
        return lambda genomes: total(per_job, np.ascontiguousarray(genomes, dtype=np.int64))
    return _on(chosen, per_job)


def _on(device: str, per_job: Array) -> Evaluator:
    import torch  # noqa: PLC0415 - slow to import, and only large plans need it

    table = torch.as_tensor(per_job, dtype=torch.float64, device=device)
    jobs = torch.arange(per_job.shape[1], device=device)

    def figures(genomes: Index) -> Array:
        chosen = torch.as_tensor(genomes.astype(np.int64), device=device)
        out: Array = table[chosen, jobs].sum(dim=1).cpu().numpy()
        return out

    return figures


def _gpu() -> str | None:
    import torch  # noqa: PLC0415 - slow to import, and only large plans need it

    return "cuda" if torch.cuda.is_available() else None
