"""A planning problem that makes no sense is refused, and one that does can be stored."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given

from gridflex.errors import ContractError
from gridflex.jobs import JobId
from gridflex.planning.planner import make_plan
from gridflex.planning.problem import PlanningProblem
from gridflex.planning.record import problem_from_record, problem_record, result_record
from tests.unit.planning.problems import job, outlook, problem, problems


@pytest.mark.parametrize(
    ("build", "says"),
    [
        (lambda: job("a", work=0), "work 0"),
        (lambda: job("a", gpus=-1), "gpus -1"),
        (lambda: job("a", power_kw={}), "power_kw"),
        (lambda: job("a", power_kw={"london": float("nan")}), "power_kw"),
        (lambda: job("a", running_at="mars"), "running_at 'mars'"),
        (lambda: job("a", waiting_gbp_per_hour=float("inf")), "waiting_gbp_per_hour"),
        (lambda: problem([]), "sites"),
        (lambda: problem([job("a"), job("a")], outlook([1])), "not unique"),
        (lambda: problem([job("a")], outlook([1], name="slough")), "unknown sites"),
        (lambda: problem([], outlook([1]), outlook([1, 2], name="b")), "price_gbp_per_mwh"),
        (lambda: problem([], outlook([np.nan])), "not finite"),
        (lambda: problem([], outlook([1]), carbon_price=np.inf), "carbon_price"),
    ],
)
def test_a_senseless_problem_is_refused_by_field(build: Callable[[], object], says: str) -> None:
    with pytest.raises(ContractError, match=says):
        build()


@given(problems())
def test_a_stored_problem_comes_back_as_it_was(given: PlanningProblem) -> None:
    stored = json.loads(json.dumps(problem_record(given)))

    assert problem_record(problem_from_record(stored)) == problem_record(given)
    assert problem_from_record(stored).jobs == given.jobs


def test_a_stored_problem_gives_the_same_plan_again() -> None:
    given = problem(
        [job("a"), job("b", interruptible=True)], outlook([9, 8, 1, 2, 3, 7, 8, 9], gpus=1)
    )
    again = problem_from_record(json.loads(json.dumps(problem_record(given))))

    made = make_plan(given, budget_s=5.0)
    remade = make_plan(again, budget_s=5.0)

    assert remade.runs == made.runs
    assert result_record(remade) == result_record(made)
    assert json.loads(json.dumps(result_record(made)))["late"] == []
    assert list(made.runs) == [JobId("a"), JobId("b")]


def test_another_format_is_refused() -> None:
    with pytest.raises(ContractError, match="format"):
        problem_from_record({"format": 2})
