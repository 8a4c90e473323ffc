"""NSGA-II ends in time, though it can only end between two generations."""

from gridflex.planning.budget import Budget
from gridflex.planning.genetic import WhileAnotherFits


def generations(*, budget_s: float, each_s: float) -> int:
    """How many generations of one length are begun within a budget."""
    now_s = 0.0
    termination = WhileAnotherFits(Budget(budget_s, timer=lambda: now_s))
    begun = 0
    while not termination.has_terminated():
        now_s += each_s
        begun += 1
        termination.update(None)
    return begun


def test_no_generation_is_begun_that_would_end_after_the_budget() -> None:
    assert generations(budget_s=10.0, each_s=3.0) == 3
    assert generations(budget_s=9.5, each_s=1.0) == 9


def test_one_is_begun_however_short_the_budget() -> None:
    assert generations(budget_s=0.5, each_s=3.0) == 1
