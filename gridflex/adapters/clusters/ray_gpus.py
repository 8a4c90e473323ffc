"""GPUs of a Ray cluster, as its dashboard tells them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Gpus:
    """GPUs of one cluster.

    Args:
        total: How many its live nodes have.
        used: How many are reserved; None where the cluster does not say.
    """

    total: int
    used: float | None


def gpus_in_use(usage: Mapping[str, Any]) -> Gpus:
    """Return what the autoscaler reports.

    Raises:
        TypeError: It is no pair of numbers; ValueError and OverflowError likewise.
    """
    used, total = map(float, usage.get("GPU", (0.0, 0.0)))
    if not math.isfinite(used):
        raise ValueError(f"{used} in use")
    return Gpus(total=int(total), used=used)


def gpus_of_nodes(summary: Sequence[object]) -> Gpus:
    """Return what the live nodes have; raises as `gpus_in_use` does."""
    totals = [
        float(within(node, "raylet", "resourcesTotal", "GPU") or 0)
        for node in summary
        if within(node, "raylet", "state") == "ALIVE"
    ]
    return Gpus(total=int(sum(totals)), used=None)


def within(tree: object, *names: str) -> Any:  # noqa: ANN401 - parsed by the caller
    """Return what lies below ``names``, one level each; None where a level is missing."""
    for name in names:
        tree = tree.get(name) if isinstance(tree, dict) else None
    return tree
