"""Every job's place has a reason and a second choice."""

from dataclasses import replace

import pytest

from gridflex.errors import ContractError
from gridflex.jobs import JobId
from gridflex.planning.explain import Binding, Explanation, explain
from gridflex.planning.planner import make_plan
from gridflex.planning.problem import Mode, PlanningProblem
from tests.unit.planning.problems import MIDNIGHT, job, outlook, problem

VALLEY = [90, 80, 20, 10, 30, 70, 80, 90]


def explained(given: PlanningProblem, name: str) -> Explanation:
    return explain(given, make_plan(given, budget_s=5.0), JobId(name))


def test_starting_at_once_is_priced_beside_the_choice() -> None:
    found = explained(problem([job("a")], outlook(VALLEY, intensity=[100] * 8)), "a")

    assert found.chosen.cost_gbp == pytest.approx(0.03)
    assert found.now.cost_gbp == pytest.approx(0.17)
    assert found.now.carbon_kg == pytest.approx(0.2)
    assert "for 0.030 GBP and 0.20 kgCO2, whole half-hours counted." in found.text
    assert "would cost 0.14 GBP more" in found.text


def test_the_second_choice_starts_in_another_half_hour() -> None:
    found = explained(problem([job("a")], outlook(VALLEY)), "a")

    assert found.second is not None
    assert found.second.runs[0].start == MIDNIGHT + 3
    assert found.second.score_gbp == pytest.approx(0.04)
    assert found.binding is Binding.NOTHING


def test_a_deadline_has_its_price() -> None:
    early = job("a", deadline=2)

    found = explained(problem([early], outlook(VALLEY)), "a")

    assert found.binding is Binding.DEADLINE
    assert found.binding_price_gbp == pytest.approx(0.17 - 0.03)


def test_capacity_has_its_price() -> None:
    given = problem([job("a", deadline=4), job("b")], outlook(VALLEY, gpus=1))

    found = explained(given, "b")

    assert found.binding is Binding.CAPACITY
    assert found.binding_price_gbp == pytest.approx(0.10 - 0.03)


def test_not_being_paused_has_its_price() -> None:
    twin_valleys = [10, 90, 90, 90, 90, 20, 90, 90]

    found = explained(problem([job("a")], outlook(twin_valleys)), "a")

    assert found.binding is Binding.CONTINUITY
    assert found.binding_price_gbp == pytest.approx(0.1 - 0.03)


def test_a_carbon_cap_has_its_price() -> None:
    dirty_but_cheap = outlook([10] * 4 + [20] * 4, intensity=[300] * 4 + [90] * 4)

    found = explained(problem([job("a", carbon_cap_gco2_per_kwh=100.0)], dirty_but_cheap), "a")

    assert found.binding is Binding.CARBON_CAP
    assert found.binding_price_gbp == pytest.approx(0.02)


def test_carbon_caps_that_cannot_be_kept_are_told() -> None:
    dirty = outlook([10] * 8, intensity=[212] * 8, cap=100.0)

    found = explained(problem([job("a", carbon_cap_gco2_per_kwh=10.0)], dirty), "a")

    assert "It cannot keep its carbon cap of 10 gCO2/kWh: it comes to 212." in found.text
    assert "The jobs of london together cannot keep its carbon cap of 100 gCO2/kWh." in found.text


@pytest.mark.parametrize(
    ("cap", "mean", "told"),
    [
        (200.0, 200.3, "200 gCO2/kWh: it comes to 200.3."),
        (199.7, 200.3, "199.7 gCO2/kWh: it comes to 200."),
        (200.12, 200.123, "200.12 gCO2/kWh: it comes to 200.123."),
    ],
)
def test_a_mean_is_told_from_the_cap_that_it_is_above(cap: float, mean: float, told: str) -> None:
    dirty = outlook([10] * 8, intensity=[mean] * 8)

    found = explained(problem([job("a", carbon_cap_gco2_per_kwh=cap)], dirty), "a")

    assert f"It cannot keep its carbon cap of {told}" in found.text


def test_the_carbon_cap_of_a_site_has_its_price() -> None:
    dirty_but_cheap = outlook([10] * 4 + [20] * 4, intensity=[300] * 4 + [90] * 4)
    capped = replace(dirty_but_cheap, cap_gco2_per_kwh=100.0)

    found = explained(problem([job("a")], capped), "a")

    assert found.binding is Binding.SITE_CARBON_CAP
    assert found.binding_price_gbp == pytest.approx(0.02)
    assert "carbon cap of the site, over all its jobs, costs 0.020 GBP" in found.text


def test_a_mode_is_named_beside_what_its_own_would_come_to() -> None:
    frugal = Mode(gpus=1, throughput=0.8, power_kw={"london": 1.0}, power_cap_fraction=0.6)
    capped = job("a", work=4, power_kw={"london": 2.0}, modes=(frugal,))

    found = explained(problem([capped], outlook([40] * 8)), "a")

    # five half-hours at 1 kW, or four at 2 kW
    assert found.chosen.cost_gbp == pytest.approx(0.1)
    assert (
        "It runs on 1 GPUs under a power limit of 60%; on its own 1 without a limit it would come "
        "to 0.060 GBP more." in found.text
    )


def test_the_energy_of_others_is_that_of_their_modes() -> None:
    frugal = Mode(gpus=1, throughput=1.0, power_kw={"london": 1.0}, power_cap_fraction=0.6)
    clean = job("b", work=4, release=4, power_kw={"london": 9.0}, modes=(frugal,))
    dirty_but_cheap = outlook([10] * 4 + [20] * 4, intensity=[300] * 4 + [90] * 4)
    capped = replace(dirty_but_cheap, cap_gco2_per_kwh=150.0)

    found = explained(problem([job("a"), clean], capped), "a")

    # b uses 2 kWh at 90 g: with a's 2 kWh at 300 g beside them the mean were 195 g, not 111
    assert found.binding is Binding.SITE_CARBON_CAP


def test_a_job_without_room_says_so() -> None:
    found = explained(problem([job("a", gpus=9)], outlook(VALLEY)), "a")

    assert found.chosen.runs == ()
    assert "does not run in this plan" in found.text


def test_an_unknown_job_is_refused_by_name() -> None:
    with pytest.raises(ContractError, match="job ghost"):
        explained(problem([job("a")], outlook(VALLEY)), "ghost")


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("london", "Site slough did not answer, so that it is not planned there."),
        ("slough", "It cannot start, pause or move while site slough does not answer."),
    ],
)
def test_a_site_that_does_not_answer_is_named(where: str, said: str) -> None:
    given = problem(
        [job("a", power_kw={where: 2.0}, away=("slough",))], outlook(VALLEY, name=where)
    )
    made = make_plan(given, budget_s=0.0)

    assert said in explain(given, made, JobId("a")).text
