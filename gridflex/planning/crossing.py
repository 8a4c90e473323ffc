"""Genomes that mix whole plans, made feasible; compiled."""

from __future__ import annotations

import numpy as np

from gridflex.planning.compiled import compiled
from gridflex.planning.problem import Array
from gridflex.planning.tables import Index, Market, Marks, Tables

SLACK_KW = 1e-9


@compiled
def has_room(
    tables: Tables, market: Market, used: Array, used_kw: Array, option: int, on: Marks
) -> bool:
    """Return whether one more schedule fits beside what is used."""
    site, gpus, power = tables.site[option], tables.gpus[option], tables.power[option]
    for t in range(on.size):
        if on[t]:
            if gpus > 0 and used[site, t] + gpus > market.room[site, t]:
                return False
            if used_kw[site, t] + power > market.room_kw[site, t] + SLACK_KW:
                return False
    return True


@compiled
def repair(
    tables: Tables, market: Market, option: Index, on: Marks, order: Index, genomes: Index
) -> int:
    """Make genomes feasible in place; return how many had to give way to a whole plan.

    Args:
        tables: The problem.
        market: What room there is.
        option: Shape ``(K, J)``, of each plan.
        on: Shape ``(K, J, T)``, of each plan.
        order: Shape ``(J,)``, jobs in order of first choice; held ones are left alone.
        genomes: Shape ``(P, J)``, for each job the plan in which it runs; plans that differ
            little are neighbours.
    """
    plans, replaced = option.shape[0], 0
    for p in range(genomes.shape[0]):
        used = np.zeros_like(market.room)
        used_kw = np.zeros_like(market.room)
        whole = genomes[p, order[0]] if order.size else 0
        for job in order:
            if tables.held[job]:
                continue
            wanted, found = genomes[p, job], -1
            for step in range(2 * plans):
                k = wanted + (step + 1) // 2 * (1 if step % 2 else -1)
                if 0 <= k < plans:
                    chosen = option[k, job]
                    if has_room(tables, market, used, used_kw, chosen, on[k, job]):
                        found = k
                        break
            if found < 0:
                genomes[p, :] = whole
                replaced += 1
                break
            genomes[p, job] = found
            chosen = option[found, job]
            for t in range(on.shape[2]):
                if on[found, job, t]:
                    used[tables.site[chosen], t] += tables.gpus[chosen]
                    used_kw[tables.site[chosen], t] += tables.power[chosen]
    return replaced


@compiled
def total(per_job: Array, genomes: Index) -> Array:
    """Return shape ``(P, 3)``, what genomes come to.

    Args:
        per_job: Shape ``(K, J, 3)``, what each job comes to in each plan.
        genomes: Shape ``(P, J)``.
    """
    out = np.zeros((genomes.shape[0], per_job.shape[2]))
    for p in range(genomes.shape[0]):
        for job in range(genomes.shape[1]):
            for i in range(per_job.shape[2]):
                out[p, i] += per_job[genomes[p, job], job, i]
    return out
