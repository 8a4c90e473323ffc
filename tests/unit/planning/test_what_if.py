"""The same jobs under other conditions; the problem itself stays as it is."""

from dataclasses import replace

import numpy as np
import pytest

from gridflex.errors import ContractError
from gridflex.jobs import JobId
from gridflex.planning.planner import make_plan
from gridflex.planning.what_if import Changes, changed, moved_jobs, not_run, spent_by
from tests.unit.planning.problems import MIDNIGHT, job, outlook, problem

GIVEN = problem(
    [job("a"), job("b", deadline=6)],
    outlook([90, 80, 20, 10, 30, 70, 80, 90], gpus=[6, 8, 8, 8, 8, 8, 8, 8]),
    carbon_price=80.0,
)


def test_without_changes_it_is_the_same_problem() -> None:
    same = changed(GIVEN, Changes())

    assert (same.jobs, same.start) == (GIVEN.jobs, GIVEN.start)
    assert same.carbon_price_gbp_per_tco2 == 80.0
    assert same.sites == GIVEN.sites


def test_fewer_gpus_leave_busy_ones_busy() -> None:
    found = changed(GIVEN, Changes(gpus={"london": 3}))

    np.testing.assert_array_equal(found.sites[0].free_gpus, [1, 3, 3, 3, 3, 3, 3, 3])
    assert found.sites[0].site.gpus == 3


def test_no_gpus_are_never_less_than_none_free() -> None:
    found = changed(GIVEN, Changes(gpus={"london": 1}))

    np.testing.assert_array_equal(found.sites[0].free_gpus, [0, 1, 1, 1, 1, 1, 1, 1])


def test_a_deadline_counts_in_half_hours_and_only_for_its_job() -> None:
    found = changed(GIVEN, Changes(deadlines={JobId("a"): (MIDNIGHT + 3).start}))

    assert [demand.deadline for demand in found.jobs] == [3, 6]


def test_a_cap_and_a_price_of_carbon_are_taken_over() -> None:
    found = changed(
        GIVEN,
        Changes(carbon_caps_gco2_per_kwh={JobId("b"): 120.0}, carbon_price_gbp_per_tco2=0.0),
    )

    assert [demand.carbon_cap_gco2_per_kwh for demand in found.jobs] == [None, 120.0]
    assert found.carbon_price_gbp_per_tco2 == 0.0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param(Changes(gpus={"paris": 8}), "gpus: 'paris' .* valid is london$", id="a site"),
        pytest.param(Changes(deadlines={JobId("c"): MIDNIGHT.start}), "deadlines: 'c'", id="a job"),
        pytest.param(
            Changes(carbon_caps_gco2_per_kwh={JobId("c"): 1.0}), "carbon_caps.*'c'", id="its cap"
        ),
        pytest.param(Changes(gpus={"london": -1}), "gpus -1", id="an impossible size"),
        pytest.param(
            Changes(carbon_price_gbp_per_tco2=float("inf")), "inf is not finite", id="a price"
        ),
    ],
)
def test_what_does_not_exist_or_cannot_be_is_refused_by_name(changes: Changes, says: str) -> None:
    with pytest.raises(ContractError, match=says):
        changed(GIVEN, changes)


def test_jobs_that_run_elsewhen_have_moved() -> None:
    before = make_plan(GIVEN, budget_s=5.0)
    after = make_plan(
        changed(GIVEN, Changes(deadlines={JobId("a"): (MIDNIGHT + 2).start})), budget_s=5.0
    )

    assert moved_jobs(before, before) == ()
    assert moved_jobs(before, after) == ("a",)


def test_jobs_without_room_for_all_of_their_work_are_told_with_what_they_came_to() -> None:
    """b finds room for half of its work, c for none; only a is done."""
    given = problem(
        [job("a", work=1), job("b", gpus=2, deadline=4), job("c", gpus=4)],
        outlook([10, 20, 30, 40], gpus=8),
    )
    tight = replace(given, sites=(outlook([10, 20, 30, 40], gpus=[1, 2, 0, 0]),))
    a, b, c = (demand.id for demand in given.jobs)
    plan, less = (make_plan(each, budget_s=5.0) for each in (given, tight))

    assert not_run(given, plan) == ()
    assert not_run(tight, less) == (b, c)
    assert spent_by(given, plan, {a}).cost_gbp == pytest.approx(0.01)  # 1 kWh at 10 GBP/MWh
    assert spent_by(given, plan, {a, b, c}).cost_gbp == pytest.approx(plan.cost_gbp)
    assert spent_by(tight, less, {b, c}).energy_kwh == pytest.approx(1.0)
    assert less.energy_kwh - spent_by(tight, less, {b, c}).energy_kwh == pytest.approx(1.0)
