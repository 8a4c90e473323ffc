"""Compiled code is read before a test's budget begins."""

import pytest

from gridflex.planning.front import make_front
from gridflex.planning.warm_up import warm_up
from tests.unit.planning.problems import job, outlook, problem


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> None:
    warm_up()
    make_front(problem([job("a"), job("b")], outlook([9, 1, 5, 7])), budget_s=3.0)
