"""An order to free power: how long it holds, and what it asks of jobs, sites and plans."""

from dataclasses import replace

import numpy as np
import pytest

from gridflex.curtailment import CurtailedJob, Curtailment, CurtailmentRequest, held_by, held_until
from gridflex.dispatch import Action, Orders, next_action
from gridflex.errors import ContractError
from gridflex.fleet import Site
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId, Tier
from gridflex.lifecycle import AttemptState, Job, StopReason
from gridflex.planning.assemble import SiteState, assemble
from gridflex.planning.plan import PlannedRun
from gridflex.planning.problem import PlanningProblem
from gridflex.settings import PlannerSettings
from tests.unit.lifecycles import HOUR, MINUTE, NOON, attempt, job

JOB = job().id
PLACED = NOON + 10 * MINUTE
START = HalfHour.containing(NOON) + 1


def order(name: str = "order", **changes: object) -> Curtailment:
    """Return an order of 10 kW at london from 12:10 to 13:10 under which job-1 stands still."""
    given = CurtailmentRequest(10.0, within=MINUTE, hold=HOUR, site="london")
    stands = CurtailedJob(
        JOB, "london", 11.0, lost_kwh=1.0, cost_gbp=0.1, acts_in=MINUTE, back_by=NOON + 6 * HOUR
    )
    values = {"request": given, "jobs": (stands,), "limits_kw": {"london": 4.0}, **changes}
    return Curtailment(name, placed_at=PLACED, **values)  # type: ignore[arg-type]


def orders(*standing: Curtailment, site: str = "london", made_at_minute: int = 0) -> Orders:
    """Return what a plan that runs job-1 from noon on says while orders stand."""
    run = PlannedRun(JOB, site, HalfHour.containing(NOON), 8, 2)
    made = Orders(NOON + made_at_minute * MINUTE, runs={JOB: run}, plan={JOB: (run,)})
    return made.under(standing)


def action(found: Job, given: Orders) -> Action | None:
    return next_action(
        found, given, now=NOON + 15 * MINUTE, restart=MINUTE, ask_again_after=10 * MINUTE
    )


def assembled(found: Job, *standing: Curtailment) -> PlanningProblem:
    states = [
        SiteState(Site(name, gpus=8, gpu_type="H100"), np.ones(12), np.ones(12), np.zeros(12))
        for name in ("london", "slough")
    ]
    return assemble(
        [found],
        now=NOON + 15 * MINUTE,
        start=START,
        sites=states,
        running_now={},
        settings=PlannerSettings(restart_s=60.0),
        curtailments=standing,
    )


def test_an_order_holds_from_when_it_was_given_until_it_is_over() -> None:
    found = order()

    assert not found.is_active(PLACED - MINUTE)
    assert found.is_active(PLACED)
    assert not found.is_active(PLACED + HOUR)
    assert (found.freed_kw, found.is_enough) == (11.0, True)


def test_an_order_that_was_ended_is_over_then() -> None:
    found = order(ended_at=PLACED + MINUTE)

    assert found.until == PLACED + MINUTE
    assert order(ended_at=PLACED + 9 * HOUR).until == PLACED + HOUR


def test_a_job_under_two_orders_stands_still_until_the_later_ends() -> None:
    longer = order("longer", request=CurtailmentRequest(1.0, within=MINUTE, hold=3 * HOUR))

    assert held_by([longer, order()]) == held_by([order(), longer]) == {JOB: longer}
    assert held_until([longer, order()]) == {JOB: PLACED + 3 * HOUR}
    assert held_until([order(), longer]) == {JOB: PLACED + 3 * HOUR}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kw": 0.0}, "kw: 0.0 is not valid; valid is above 0"),
        ({"kw": float("nan")}, "kw: nan"),
    ],
)
def test_a_request_that_means_nothing_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ContractError, match=message):
        CurtailmentRequest(**{"kw": 1.0, "within": MINUTE, "hold": HOUR, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "given", "expected"),
    [
        pytest.param(job(attempt()), orders(), None, id="it runs as planned"),
        pytest.param(job(attempt()), orders(order()), Action.PAUSE, id="it gives its power"),
        pytest.param(
            job(attempt()),
            Orders(None, {}).under([order()]),
            Action.PAUSE,
            id="it gives its power without a plan",
        ),
        pytest.param(
            job(attempt(), deadline=NOON + 4 * HOUR), orders(order()), None, id="it would be late"
        ),
        pytest.param(job(attempt(), tier=Tier.T0), orders(order()), None, id="it is rigid by now"),
        pytest.param(
            job(
                attempt(
                    state=AttemptState.STOPPING,
                    stop_reason=StopReason.PAUSE,
                    stop_asked_at=NOON + 14 * MINUTE,
                )
            ),
            orders(order()),
            None,
            id="it is being paused",
        ),
        pytest.param(job(), orders(), Action.START, id="its time has come"),
        pytest.param(
            job(), orders(order(), made_at_minute=12), None, id="it stands still although planned"
        ),
        pytest.param(
            job(), orders(order(jobs=()), made_at_minute=5), None, id="the plan knows no order"
        ),
        pytest.param(
            job(), orders(order(jobs=()), made_at_minute=12), Action.START, id="the plan knows it"
        ),
        pytest.param(
            job(),
            orders(order(jobs=()), made_at_minute=10),
            Action.START,
            id="the plan was made at that very moment, when it reads of the order",
        ),
        pytest.param(job(), orders(order(jobs=()), site="slough"), Action.START, id="another site"),
        pytest.param(
            job(deadline=NOON + 4 * HOUR), orders(order()), Action.START, id="it must not be late"
        ),
    ],
)
def test_what_a_job_needs_while_power_is_to_be_freed(
    found: Job, given: Orders, expected: Action | None
) -> None:
    assert action(found, given) is expected


def test_a_plan_runs_a_job_that_stands_still_from_the_half_hour_after_the_order_on() -> None:
    (demand,) = assembled(job(attempt()), order()).jobs

    assert (demand.running_at, demand.release) == (None, 2)  # from 13:30, counted from 12:30
    assert assembled(job(attempt())).jobs[0].running_at == "london"


def test_a_plan_puts_the_deadline_before_the_order() -> None:
    long = order(request=CurtailmentRequest(1.0, within=MINUTE, hold=4 * HOUR))
    found = job(attempt(), duration=HOUR, deadline=NOON + 3 * HOUR)

    (demand,) = assembled(found, long).jobs

    assert demand.release == demand.deadline - demand.work < 8


def test_a_plan_leaves_the_power_that_was_freed_alone_until_the_order_is_over() -> None:
    other = order("other", limits_kw={"london": 9.0},
                  request=CurtailmentRequest(1.0, within=MINUTE, hold=2 * HOUR))  # fmt: skip

    london, slough = assembled(job(), order(), other).sites

    assert london.limit_kw is not None
    assert london.limit_kw[:6].tolist() == [4.0, 4.0, 9.0, 9.0, np.inf, np.inf]
    assert slough.limit_kw is None


def test_a_job_that_its_owner_calls_something_else_is_not_held() -> None:
    other = replace(job(attempt()), id=JobId("job-2"))

    assert action(other, orders(order())) is None
