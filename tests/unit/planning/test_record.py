"""A decision that is stored as JSON and read back is the same decision."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from gridflex.errors import ContractError
from gridflex.planning.plan import Plan
from gridflex.planning.planner import make_plan
from gridflex.planning.problem import PlanningProblem
from gridflex.planning.record import (
    plan_from_record,
    problem_from_record,
    problem_record,
    result_record,
)
from tests.unit.planning.problems import MIDNIGHT, job, outlook, problem, problems


def stored(problem: PlanningProblem) -> PlanningProblem:
    return problem_from_record(json.loads(json.dumps(problem_record(problem), allow_nan=False)))


@given(problems())
@settings(deadline=None)
def test_a_problem_comes_back_as_it_was(given: PlanningProblem) -> None:
    back = stored(given)

    assert (back.start, back.jobs) == (given.start, given.jobs)
    assert back.carbon_price_gbp_per_tco2 == given.carbon_price_gbp_per_tco2
    for mine, theirs in zip(back.sites, given.sites, strict=True):
        assert mine.site == theirs.site
        for name in ("price_gbp_per_mwh", "intensity_gco2_per_kwh", "free_gpus"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))


def test_doubt_and_power_limits_come_back_too() -> None:
    given = problem([], outlook([1.0, 2.0]))
    doubt, limited = np.array([0.5, 1.5]), replace(given.sites[0].site, power_caps=(0.6, 0.8))
    unsure = replace(given.sites[0], site=limited, price_sd_gbp_per_mwh=doubt)

    (back,) = stored(replace(given, sites=(unsure,))).sites

    assert back.site.power_caps == (0.6, 0.8)
    assert back.price_sd_gbp_per_mwh is not None
    assert back.price_sd_gbp_per_mwh.tolist() == [0.5, 1.5]
    assert back.intensity_sd_gco2_per_kwh is None


def test_a_plan_comes_back_with_its_figures() -> None:
    made = make_plan(
        problem([job("a"), job("late", deadline=1)], outlook([90, 10, 10, 90])), budget_s=5.0
    )

    record = json.loads(json.dumps(result_record(made), allow_nan=False))
    back = plan_from_record(record, start=made.start, runs=made.runs)

    assert back.late == ("late",)
    for name in set(Plan.__dataclass_fields__) - {"shadow_prices_gbp_per_gpu"}:
        assert getattr(back, name) == getattr(made, name), name
    np.testing.assert_array_equal(
        back.shadow_prices_gbp_per_gpu["london"], made.shadow_prices_gbp_per_gpu["london"]
    )


def test_a_record_of_another_format_is_refused() -> None:
    record = problem_record(problem([], outlook([1.0])))

    assert problem_from_record(record).start == MIDNIGHT
    with pytest.raises(ContractError, match="format: 2 is not 1"):
        problem_from_record({**record, "format": 2})
