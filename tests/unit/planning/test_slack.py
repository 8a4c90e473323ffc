"""What can be moved, and that a promise is kept by the planner without making a job late."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given

from gridflex.errors import InfeasibleError
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId, Tier
from gridflex.planning.plan import PlannedRun
from gridflex.planning.planner import make_plan
from gridflex.planning.slack import Block, Slack, narrowed
from tests.unit.planning.problems import MIDNIGHT, job, outlook, problem, problems

FLAT = [50.0] * 10


def run(name: str, first: int, half_hours: int = 2, gpus: int = 1) -> PlannedRun:
    return PlannedRun(JobId(name), "london", MIDNIGHT + first, half_hours, gpus)


def slack(
    *runs: PlannedRun,
    gpus: int = 8,
    intensity: Sequence[float] | None = None,
    **changes: Any,  # noqa: ANN401 - of a job
) -> Slack:
    names = list(dict.fromkeys(str(one.job_id) for one in runs))
    return Slack(
        problem(
            [job(name, **changes) for name in names], outlook(FLAT, gpus=gpus, intensity=intensity)
        ),
        {JobId(name): [one for one in runs if one.job_id == name] for name in names},
    )


def starts(block: Block) -> list[int]:
    return [MIDNIGHT.until(one) for one in block.starts]


def test_a_waiting_job_can_start_from_the_notice_to_its_deadline() -> None:
    (block,) = slack(run("a", 3)).blocks()

    assert starts(block) == [1, 2, 3, 4, 5, 6]
    assert (block.energy_kwh, block.half_hour_kwh) == (2.0, 1.0)


def test_it_cannot_start_where_others_use_the_gpus() -> None:
    found = slack(run("a", 6), run("b", 2), gpus=1).blocks()

    assert {str(one.job_id): starts(one) for one in found} == {"a": [4, 5, 6], "b": [1, 2, 3, 4]}


def test_its_own_gpus_are_not_in_its_way() -> None:
    board = slack(run("a", 3), gpus=1)
    (block,) = board.blocks()

    board.require_room({block: MIDNIGHT + 4})


def test_two_moves_that_fit_alone_may_not_fit_together() -> None:
    board = slack(run("a", 6), run("b", 2), gpus=1)
    a, b = board.blocks()

    board.require_room({b: MIDNIGHT + 4})
    with pytest.raises(InfeasibleError, match="has no 1 GPUs free at 2026-07-01T02:00Z"):
        board.require_room({a: MIDNIGHT + 4, b: MIDNIGHT + 3})
    with pytest.raises(InfeasibleError, match="cannot start at 2026-07-01T00:00Z"):
        board.require_room({a: MIDNIGHT})


@pytest.mark.parametrize(
    ("runs", "changes"),
    [
        ([run("a", 0)], {}),
        ([run("a", 3)], {"running_at": "london", "interruptible": True}),
        ([run("a", 3)], {"tier": Tier.T0}),
        ([run("a", 3, 1), run("a", 5, 1)], {"interruptible": True}),
        ([run("a", 3)], {"deadline": 5, "release": 3}),
    ],
    ids=["starts too soon", "runs", "rigid", "has a pause", "cannot move"],
)
def test_what_cannot_be_moved_as_a_whole_is_not_on_offer(
    runs: list[PlannedRun], changes: Mapping[str, Any]
) -> None:
    assert slack(*runs, **changes).blocks() == ()


def test_a_job_that_is_planned_in_another_mode_is_not_on_offer() -> None:
    capped = PlannedRun(JobId("a"), "london", MIDNIGHT + 3, 2, 1, power_cap_fraction=0.5)

    assert slack(capped).blocks() == ()


def test_a_power_limit_counts_like_gpus() -> None:
    limited = replace(outlook(FLAT), limit_kw=np.array([np.inf] * 6 + [1.0] * 4))
    board = Slack(problem([job("a"), job("b")], limited), {JobId("a"): [run("a", 3)]})

    (block,) = board.blocks()

    assert starts(block) == [1, 2, 3, 4]
    with pytest.raises(InfeasibleError, match="has no 2 kW below its limit at 2026-07-01T03:00Z"):
        board.require_room({replace(block, starts=(MIDNIGHT + 5,)): MIDNIGHT + 5})


def test_a_promised_job_is_not_on_offer_again() -> None:
    board = Slack(
        problem([job("a")], outlook(FLAT)), {JobId("a"): [run("a", 3)]}, held=frozenset({"a"})
    )

    assert board.blocks() == ()


def test_a_carbon_cap_holds_on_the_mean() -> None:
    dirty = [300.0] * 4 + [100.0] * 6

    (block,) = slack(run("a", 5), intensity=dirty, carbon_cap_gco2_per_kwh=200.0).blocks()

    assert starts(block) == [3, 4, 5, 6]


def test_the_planner_keeps_a_promise() -> None:
    cheap_early = [10.0] * 4 + [90.0] * 6
    asked = problem([job("a")], outlook(cheap_early))

    free = make_plan(asked, budget_s=0.5)
    kept = make_plan(narrowed(asked, {"a": (MIDNIGHT + 5, 2)}), budget_s=0.5)

    assert free.runs[JobId("a")][0].start < MIDNIGHT + 4
    assert kept.runs[JobId("a")] == (run("a", 5),)


def test_a_promise_never_makes_a_job_late() -> None:
    behind = problem([job("a", work=5)], outlook(FLAT))

    changed = narrowed(behind, {"a": (MIDNIGHT + 6, 2)})

    assert changed.jobs == behind.jobs


@given(problems())
def test_narrowing_only_ever_narrows(asked: Any) -> None:  # noqa: ANN401 - a problem
    promised: dict[str, tuple[HalfHour, int]] = {
        str(one.id): (MIDNIGHT + 2, 3) for one in asked.jobs
    }

    for before, after in zip(asked.jobs, narrowed(asked, promised).jobs, strict=True):
        assert after.release >= before.release
        assert after.deadline <= before.deadline
        assert after.deadline - after.release >= min(before.work, before.deadline - before.release)
