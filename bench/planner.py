"""How good and how fast plans are, beside linear programming, MILP, greedy and vanilla NSGA-II.

Times are CPU seconds of one core, medians: the planner waits for nothing, so that is what it takes
on an idle machine, whatever else runs on this one. Peers get the same kind of seconds.

    python bench/planner.py [replanning huge memory fronts arriving published gaia captured]
"""

from __future__ import annotations

import argparse
import statistics
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from captured import captured_figures
from hypervolume import hypervolume
from planner_gaia import normalised
from planner_instances import instance
from planner_peers import exact_front, programme, solve_lp, solve_milp, vanilla_front
from planner_published import aaic, lwa
from results_file import Figure, update

from gridflex.jobs import JobId
from gridflex.planning.budget import Budget
from gridflex.planning.front import front_within
from gridflex.planning.genetic import non_dominated
from gridflex.planning.plan import Plan
from gridflex.planning.planner import finish, make_plan
from gridflex.planning.problem import PlanningProblem
from gridflex.planning.search import Search
from gridflex.planning.standing import StandingBoard
from gridflex.planning.warm_up import warm_up

GB = "GB 2024 hourly (Electricity Maps direct, day-ahead price), synthetic jobs"
REPEATS = 5
MILP_LIMIT_S = 30.0
FRONT_S = 2.0


def planned(problem: PlanningProblem, *, budget_s: float = 60.0) -> Plan:
    """Return the plan of a search that counts CPU time."""
    search = Search(problem, Budget(budget_s, timer=time.process_time))
    search.run()
    return finish(search)


def cpu_s(work: Callable[[], object], *, repeats: int = REPEATS) -> float:
    """Return the median CPU seconds of some work."""
    took = []
    for _ in range(repeats):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return statistics.median(took)


def replanning() -> list[Figure]:
    """Return speed and gap of one chosen plan, with LP, MILP and greedy beside it."""
    thousand, many = instance(1000, 336), instance(10_000, 96)
    plan, wide = planned(thousand), planned(many)
    relaxed = programme(thousand)
    score = relaxed.cost + relaxed.carbon * thousand.carbon_price_gbp_per_tco2 / 1000
    lp_s = cpu_s(lambda: solve_lp(relaxed, score), repeats=1)
    lp = float(solve_lp(relaxed, score).fun)
    milp, milp_s = solve_milp(relaxed, score, limit_s=MILP_LIMIT_S)
    greedy = Search(thousand, Budget(0.0))
    greedy_gbp = float(greedy.figures.objective_gbp.sum())
    shown = instance(1000, 336, whole=0.3, restart=1 / 30)
    mixed, modes = planned(shown), planned(instance(1000, 336, restart=1 / 30, modes=True, sites=2))
    return [
        Figure(
            "replan_1k_ms",
            1000 * cpu_s(lambda: planned(thousand)),
            "ms",
            "< 100",
            {
                "HiGHS LP, bound only": 1000 * lp_s,
                "HiGHS MILP, 30 s of wall time at most": 1000 * milp_s,
                "urgent-first greedy": 1000 * cpu_s(lambda: Search(thousand, Budget(0.0))),
            },
            f"1,000 jobs x 336 half-hours; {GB}",
        ),
        Figure("replan_10k_s", cpu_s(lambda: planned(many), repeats=3), "s", "< 1", {}, GB),
        Figure(
            "gap_1k_pct",
            100 * plan.gap_fraction,
            "%",
            "<= 0.5",
            {
                "HiGHS MILP, 30 s of wall time at most": 100 * (milp / lp - 1)
                if np.isfinite(milp)
                else float("nan"),
                "urgent-first greedy": 100 * (greedy_gbp / lp - 1),
                "our bound below the LP": 100 * (1 - plan.lower_bound_gbp / lp),
            },
            f"to our own bound; peers to the LP; {GB}",
        ),
        Figure("gap_10k_pct", 100 * wide.gap_fraction, "%", "<= 0.5", {}, GB),
        Figure(
            "gap_mixed_pct",
            100 * mixed.gap_fraction,
            "%",
            None,
            {},
            "1,000 jobs, 30 % may not be paused, a resume costs a minute",
        ),
        Figure(
            "gap_all_modes_pct",
            100 * modes.gap_fraction,
            "%",
            "<= 2",
            {},
            "1,000 jobs, two sites, two power caps, half the GPUs, a resume costs a minute",
        ),
    ]


def huge() -> list[Figure]:
    """Return how long 100,000 jobs take."""
    many = instance(100_000, 336)
    began = time.process_time()
    found = planned(many, budget_s=28.0)
    took = time.process_time() - began
    note = f"gap {found.gap_fraction:.3%}, {len(found.late)} late; {GB}"
    return [Figure("replan_100k_s", took, "s", "< 30", {}, note)]


def memory() -> list[Figure]:
    """Return what a plan takes beside its problem, for every job, with few and many of them."""
    kib = {}
    for jobs in (2_000, 10_000, 50_000):
        problem = instance(jobs, 336)
        tracemalloc.start()
        planned(problem, budget_s=28.0)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        kib[jobs] = peak / 1024 / jobs
    most = max(kib)
    return [
        Figure(
            "memory_kib_per_job",
            kib[most],
            "KiB",
            None,
            {f"of {jobs:,} jobs": each for jobs, each in kib.items() if jobs < most},
            f"peak of NumPy and Python, {most:,} jobs x 336 half-hours; linear: no more per job",
        )
    ]


def fronts() -> list[Figure]:
    """Return how much of the exact front ours dominates, and vanilla NSGA-II's in equal time."""
    exact_shares, ratios = [], []
    for jobs, half_hours, seed in ((100, 96, 1), (200, 168, 2), (400, 336, 3)):
        problem = instance(jobs, half_hours, seed=seed)
        began = time.process_time()
        ours = front_within(problem, Budget(FRONT_S, timer=time.process_time))
        took = time.process_time() - began
        exact = exact_front(programme(problem), 24)
        vanilla = vanilla_front(problem, limit_s=took)
        mine = ours.objectives[:, :2]
        ideal = exact.min(axis=0)
        reference = np.maximum(exact.max(axis=0), vanilla.max(axis=0))
        shares = [
            hypervolume(
                np.minimum(points[non_dominated(points)], reference),
                reference=reference,
                ideal=ideal,
            )
            for points in (mine, exact, vanilla)
        ]
        exact_shares.append(100 * shares[0] / shares[1])
        ratios.append(shares[0] / max(shares[2], 1e-9))
    thousand = instance(1000, 336, whole=0.3, restart=1 / 30)
    began = time.process_time()
    front = front_within(thousand, Budget(FRONT_S - 0.2, timer=time.process_time))
    took = time.process_time() - began
    where = "cost and carbon; 100, 200 and 400 jobs, the worst of three"
    return [
        Figure("hypervolume_pct_of_exact", min(exact_shares), "%", ">= 99", {}, where),
        Figure("hypervolume_ratio_to_vanilla", min(ratios), "", "> 1", {}, where),
        Figure("front_1k_s", took, "s", "< 2", {}, f"{len(front.points)} points"),
    ]


def arriving() -> list[Figure]:
    """Return how long one arriving job takes to be placed on a plan of 1,000."""
    problem = instance(1000, 336, whole=0.3, restart=1 / 30)
    board = StandingBoard(problem, make_plan(problem, budget_s=60.0))
    new = [
        replace(job, id=JobId(f"new-{i}")) for i, job in enumerate(instance(50, 336, seed=9).jobs)
    ]
    took = []
    for job in new:
        began = time.process_time()
        board.place(job)
        took.append(1000 * (time.process_time() - began))
    worst = f"worst of 50: {max(took):.2f} ms"
    return [Figure("place_one_ms", statistics.median(took), "ms", "< 5", {}, worst)]


def published() -> list[Figure]:
    """Return how our plans do in scenarios that others published."""
    next_day, semi_weekly, cluster = lwa(semi_weekly=False), lwa(semi_weekly=True), aaic()
    figures = [
        Figure(
            f"lwa_{name}_i_pct_of_optimum",
            100 * found["ours"] / found["optimum"],
            "%",
            ">= 99",
            {key: value for key, value in found.items() if key != "ours"},
            "Let's Wait Awhile, GB 2020, may be paused, all known; peers: % saved and GPUs",
        )
        for name, found in (("next_workday", next_day), ("semi_weekly", semi_weekly))
    ]
    return [
        *figures,
        Figure(
            "aaic_score_pct",
            cluster["score"],
            "%",
            "> 93",
            {key: value for key, value in cluster.items() if key not in {"score", "recorded"}},
            "AAIC September 2018 (AIRC, AIST), 320 GPUs, 24 h slack, GB 2020 intensity, all known",
        ),
    ]


def gaia() -> list[Figure]:
    """Return our carbon on GAIA's jobs, with forecasts of provider quality, and its policies'."""
    return [
        Figure(
            f"gaia_{name}_normalised",
            found.pop("ours"),
            "",
            target,
            found,
            f"GAIA pai_1k from hour 7000 of 2022, {zone} (Electricity Maps); run-now is 1",
        )
        for name, zone, target in (("gb", "gb", "<= 0.82"), ("au_sa", "au-sa", "< 0.6075"))
        for found in [normalised(zone)]
    ]


SECTIONS: dict[str, Callable[[], list[Figure]]] = {
    "replanning": replanning,
    "huge": huge,
    "memory": memory,
    "fronts": fronts,
    "arriving": arriving,
    "published": published,
    "gaia": gaia,
    "captured": captured_figures,
}


def main() -> None:
    """Run the sections asked for and write their rows; those of the others stay as they are."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("sections", nargs="*", help=f"of {', '.join(SECTIONS)}; all if none")
    chosen = options.parse_args().sections or list(SECTIONS)
    for name in set(chosen) - set(SECTIONS):
        options.error(f"{name!r} is not one of {', '.join(SECTIONS)}")
    warm_up()
    front_within(instance(20, 48), Budget(2.0))
    found = [figure for name in chosen for figure in SECTIONS[name]()]
    update("planner", found)


if __name__ == "__main__":
    main()
