"""From jobs as they stand to what the planner is asked, worked by hand."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from gridflex.fleet import Site
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId, JobState, Shape, Tier
from gridflex.lifecycle import Attempt, AttemptState, Job, JobRequest, Outcome, StopReason
from gridflex.planning.assemble import SiteState, assemble, horizon, spread
from gridflex.planning.plan import PlannedRun
from gridflex.planning.problem import JobDemand, PlanningProblem
from gridflex.settings import PlannerSettings
from tests.unit.lifecycles import HOUR, MINUTE, NOON, UP_TO_FOUR_HOURS, attempt, job

NOW = NOON + 10 * MINUTE
START = HalfHour.containing(NOON) + 1
SETTINGS = PlannerSettings(restart_s=300.0, waiting_gbp_per_gpu_hour=0.5)
PAUSED = attempt(
    state=AttemptState.ENDED, outcome=Outcome.STOPPED, ended_at=NOON + 5 * MINUTE, site="slough"
)


def site(name: str, *, gpus: int = 8, other: int = 0, caps: tuple[float, ...] = ()) -> SiteState:
    values = np.ones(12)
    described = Site(name, gpus=gpus, gpu_type="H100", power_caps=caps)
    return SiteState(described, values, values, other * values)


def assembled(
    *jobs: Job,
    now: datetime = NOW,
    ordered: Mapping[JobId, PlannedRun | None] | None = None,
    sites: tuple[SiteState, ...] = (site("london"), site("slough")),
    away: tuple[str, ...] = (),
) -> PlanningProblem:
    return assemble(
        jobs,
        now=now,
        start=START,
        sites=sites,
        running_now=ordered or {},
        settings=SETTINGS,
        away=away,
    )


def demand(found: Job, *, now: datetime = NOW, ordered: PlannedRun | None = None) -> JobDemand:
    return assembled(found, now=now, ordered={found.id: ordered}).jobs[0]


def test_a_held_job_still_needs_its_duration_and_a_start() -> None:
    found = demand(job(carbon_cap_gco2_per_kwh=150.0))

    assert (found.id, found.tier, found.release, found.gpus) == ("job-1", Tier.T3, 0, 2)
    assert found.work == 9  # 4 h and 5 min
    assert found.deadline == 23  # midnight, from 12:30
    assert found.running_at is None
    assert found.interruptible
    assert found.restart_half_hours == pytest.approx(1 / 6)
    assert found.carbon_cap_gco2_per_kwh == 150.0
    assert found.waiting_gbp_per_hour == 1.0


def test_a_job_draws_what_its_gpus_draw_at_each_site_where_it_may_run() -> None:
    found = demand(job(sites=("london", "slough")))

    # 2 x 0.560 kW and one busy CPU thread of 0.0035 kW, times a marginal PUE of 1.1
    assert found.power_kw == pytest.approx({"london": 1.23585, "slough": 1.23585})


def test_a_job_without_sites_may_run_at_the_default_one() -> None:
    assert set(demand(job(sites=())).power_kw) == {"london"}
    assert set(demand(job(sites=("gone",))).power_kw) == {"london"}


@pytest.mark.parametrize(
    ("found", "deadline"),
    [
        pytest.param(attempt(started_at=NOON), 1, id="runs"),
        pytest.param(None, 1, id="must start"),
        pytest.param(attempt(started_at=NOON, speed_fraction=0.1), -1, id="not done by then"),
    ],
)
def test_a_job_that_ends_before_the_plan_begins_is_not_late(
    found: Attempt | None, deadline: int
) -> None:
    """10 min of work, the deadline 5 min before the plan begins at 12:30; it is 12:10."""
    short = {"duration": 10 * MINUTE, "deadline": NOON + 25 * MINUTE}
    made = demand(job(*([found] if found else []), **short))

    assert (made.running_at, made.work, made.deadline) == ("london", 1, deadline)


BOTH = ("slough", "london")
AT_SLOUGH = PlannedRun(JobId("job-1"), "slough", START - 1, 9, 2)


@pytest.mark.parametrize(
    ("found", "ordered", "at", "where"),
    [
        pytest.param(job(sites=BOTH), None, None, {"london"}, id="held"),
        pytest.param(job(sites=BOTH), AT_SLOUGH, None, {"london"}, id="ordered there"),
        pytest.param(
            job(sites=BOTH, deadline=NOON + 4 * HOUR), AT_SLOUGH, "london", {"london"}, id="late"
        ),
        pytest.param(
            job(attempt(site="slough"), sites=BOTH), None, "slough", {"slough"}, id="runs there"
        ),
        pytest.param(job(sites=("slough",)), None, None, {"slough"}, id="may run only there"),
        pytest.param(
            job(sites=BOTH, gpus=9, min_gpus=9), None, None, set(BOTH), id="too large elsewhere"
        ),
    ],
)
def test_a_site_that_does_not_answer_gets_no_job_that_may_run_elsewhere(
    found: Job, ordered: PlannedRun | None, at: str | None, where: set[str]
) -> None:
    made = assembled(
        found,
        ordered={found.id: ordered},
        sites=(site("london"), site("slough", gpus=16)),
        away=("slough",),
    ).jobs[0]

    assert (made.running_at, set(made.power_kw), made.away) == (at, where, ("slough",))


def test_a_running_job_has_worked_until_the_plan_begins() -> None:
    found = demand(job(attempt(started_at=NOON)))

    assert found.running_at == "london"
    assert found.work == 8  # 4 h less 25 min: 3 h 35 min


def test_a_job_that_is_about_to_start_by_the_plan_in_force_counts_as_running() -> None:
    run = PlannedRun(JobId("job-1"), "london", START - 1, 4, 2)

    found = demand(job(), ordered=run)

    assert found.running_at == "london"
    assert found.work == 8  # 4 h 5 min less the 20 min to 12:30


def test_a_job_that_must_start_counts_as_running_at_its_first_site() -> None:
    rigid = job(tier=Tier.T0, interruptible=False, sites=("slough", "london"))

    found = demand(rigid)

    assert found.running_at == "slough"
    assert set(found.power_kw) == {"slough"}


def test_a_job_that_cannot_be_paused_stays_where_it_runs() -> None:
    found = demand(job(attempt(), interruptible=False, sites=("london", "slough")))

    assert set(found.power_kw) == {"london"}


def test_a_job_that_runs_where_it_no_longer_may_goes_on_there_or_moves() -> None:
    found = demand(job(attempt(site="slough"), sites=("london",)))

    assert (found.running_at, set(found.power_kw)) == ("slough", {"london", "slough"})


def test_a_job_at_a_site_that_was_taken_out_of_the_settings_is_planned_anew() -> None:
    found = demand(job(attempt(site="gone")))

    assert (found.running_at, set(found.power_kw)) == (None, {"london"})


def test_orders_for_a_site_that_was_taken_out_of_the_settings_are_void() -> None:
    run = PlannedRun(JobId("job-1"), "gone", START - 1, 4, 2)

    assert demand(job(), ordered=run).running_at is None


def test_a_job_that_is_being_paused_does_not_run_when_the_plan_begins() -> None:
    stopping = attempt(state=AttemptState.STOPPING, stop_reason=StopReason.PAUSE, stop_asked_at=NOW)

    assert demand(job(stopping)).running_at is None


def test_a_paused_job_needs_the_rest_and_another_start() -> None:
    found = demand(job(PAUSED, state=JobState.PAUSED, duration=HOUR))

    assert found.running_at is None
    assert found.work == 3  # 1 h, none of it done in the five minutes of starting, and 5 min


@pytest.mark.parametrize(
    ("deadline", "work", "latest"),
    [
        pytest.param(NOON + 12 * HOUR, 5, 19, id="96 min before midnight, from 12:30"),
        pytest.param(NOON + 3 * HOUR, 4, 4, id="no earlier than it can be done from now on"),
        pytest.param(NOON + 2 * HOUR, 4, 3, id="too early for a usual run"),
    ],
)
def test_a_job_of_learned_run_time_works_as_usual_but_ends_with_room_for_a_long_run(
    deadline: datetime, work: int, latest: int
) -> None:
    found = demand(job(run_time=UP_TO_FOUR_HOURS, deadline=deadline))

    # 2 h and 5 min, less 20 min where it starts now; nine in ten runs stay below 3 h 36 min
    assert (found.work, found.deadline) == (work, latest)


def test_a_job_of_learned_run_time_that_runs_needs_what_such_runs_had_left() -> None:
    began = NOON - 90 * MINUTE
    found = demand(job(attempt(decided_at=began, started_at=began), run_time=UP_TO_FOUR_HOURS))

    assert found.work == 3  # half of what is left of 4 h after 1 h 55 min is 62 min
    assert found.deadline == 21  # 50 min before midnight


def test_a_job_that_is_nearly_done_is_not_paused() -> None:
    found = demand(job(attempt(started_at=NOON), duration=20 * MINUTE))

    assert (found.work, found.interruptible) == (1, False)


@pytest.mark.parametrize(
    ("tier", "decided_at", "deadline", "first"),
    [
        pytest.param(Tier.T1, NOON, NOON + 80 * MINUTE, 2, id="it ends in time in its last one"),
        pytest.param(Tier.T1, NOON, NOON + 64 * MINUTE, 1, id="it ends a minute late"),
        pytest.param(Tier.T0, NOON, NOON + HOUR, 2, id="rigid, started at once"),
        pytest.param(Tier.T0, NOON + 12 * MINUTE, NOON + HOUR, 1, id="rigid, started late"),
        pytest.param(Tier.T1, None, NOON + 110 * MINUTE, 2, id="it does not run yet"),
    ],
)
def test_the_half_hour_of_its_deadline_belongs_to_a_job_that_runs_on_and_ends_in_time(
    tier: Tier, decided_at: datetime | None, deadline: datetime, first: int
) -> None:
    runs = [attempt(decided_at=decided_at, started_at=decided_at)] if decided_at else []

    found = demand(job(*runs, tier=tier, duration=HOUR, deadline=deadline, interruptible=False))

    # decided at noon, it works from 12:05 to 13:05; the plan begins at 12:30
    assert found.deadline == first


def test_a_job_that_its_owner_stops_is_not_planned() -> None:
    assert assembled(job(), job(id=JobId("b"), stop_requested_at=NOW)).jobs[0].id == "job-1"
    assert len(assembled(job(stop_requested_at=NOW)).jobs) == 0


def test_other_work_keeps_the_room_it_needs() -> None:
    found = assembled(sites=(site("london", gpus=8, other=3), site("slough", gpus=2, other=5)))

    np.testing.assert_array_equal(found.sites[0].free_gpus, [5.0] * 12)
    np.testing.assert_array_equal(found.sites[1].free_gpus, [0.0] * 12)


def test_a_job_may_run_on_the_gpus_that_its_owner_allows_and_the_site_has() -> None:
    elastic = job(gpus=4, min_gpus=2, max_gpus=16, power_kw=4.0)

    modes = demand(elastic).modes

    assert [(mode.gpus, mode.power_cap_fraction) for mode in modes] == [(2, 1.0), (8, 1.0)]
    assert [mode.throughput for mode in modes] == pytest.approx([0.5**0.87, 2**0.87])
    assert [mode.power_kw["london"] for mode in modes] == pytest.approx([2.2, 8.8])


def test_a_job_may_run_under_the_limits_of_each_site() -> None:
    found = assembled(
        job(sites=("london", "slough")),
        sites=(site("london", caps=(0.71,)), site("slough", caps=(0.71, 0.5))),
    ).jobs[0]

    assert {(mode.shape, *mode.power_kw) for mode in found.modes} == {
        (Shape(2, 0.71), "london", "slough"),
        (Shape(2, 0.5), "slough"),
    }


def test_a_fixed_job_has_no_other_modes() -> None:
    assert demand(job()).modes == ()


def test_a_run_on_fewer_gpus_goes_on_in_its_shape_and_has_done_less() -> None:
    slow = attempt(started_at=NOON, gpus=1, speed_fraction=0.5**0.87)
    elastic = {"gpus": 2, "min_gpus": 1, "max_gpus": 2}

    found = demand(job(slow, **elastic))

    assert found.running_shape == Shape(1)
    assert [mode.shape for mode in found.modes] == [Shape(1)]
    assert found.work == 8  # 4 h less 25 min at 0.547 of the speed: 3 h 46 min
    longer = demand(job(replace(slow, speed_fraction=0.1), **elastic))
    assert longer.work == 8  # 3 h 57 min


def test_a_shape_that_is_no_longer_allowed_is_kept_while_it_runs() -> None:
    capped = attempt(started_at=NOON, power_cap_fraction=0.6, speed_fraction=0.745)

    found = demand(job(capped, interruptible=False))

    assert found.running_shape == Shape(2, 0.6)
    assert [mode.shape for mode in found.modes] == [Shape(2, 0.6)]


def test_a_run_that_is_ordered_in_another_shape_counts_as_running_in_it() -> None:
    run = PlannedRun(JobId("job-1"), "london", START - 1, 4, 1)

    found = demand(job(gpus=2, min_gpus=1), ordered=run)

    assert found.running_shape == Shape(1)


@pytest.mark.parametrize(
    ("deadlines", "half_hours"),
    [
        pytest.param((), 4, id="no jobs"),
        pytest.param((NOON + HOUR,), 4, id="all within the least"),
        pytest.param((NOON + HOUR, NOON + 12 * HOUR), 24, id="the last deadline and one more"),
        pytest.param((NOON - HOUR,), 4, id="already late"),
        pytest.param((NOON + timedelta(days=365),), 2976, id="never beyond 62 days"),
    ],
)
def test_the_horizon_holds_every_deadline(deadlines: tuple[datetime, ...], half_hours: int) -> None:
    jobs = [job(deadline=deadline) for deadline in deadlines]

    assert horizon(jobs, start=START, least=4) == half_hours


def test_busy_cpus_draw_power_too() -> None:
    busy = job(gpus=0, request=JobRequest("a", resources={"num_cpus": 8}))

    assert demand(busy).power_kw == pytest.approx({"london": 8 * 0.0035 * 1.1})


def test_a_band_is_as_wide_as_that_of_a_normal_error() -> None:
    sure, unsure = (
        np.full(7, 50.0),
        50.0 + 10.0 * np.array([-1.645, -1.3, -0.7, 0, 0.7, 1.3, 1.645]),
    )

    found = spread(np.array([sure, unsure, np.full(7, np.nan)]))

    assert found is not None
    assert found.tolist() == pytest.approx([0.0, 10.0, 0.0], rel=1e-3)


def test_who_says_nothing_of_its_doubt_is_not_asked() -> None:
    assert spread(np.full((3, 7), np.nan)) is None


def test_the_doubt_in_a_forecast_reaches_the_planner() -> None:
    values, doubt = np.ones(12), np.full(12, 3.0)
    told = SiteState(
        Site("london", gpus=8, gpu_type="H100"),
        values,
        values,
        0 * values,
        intensity_sd_gco2_per_kwh=doubt,
    )

    (found,) = assembled(sites=(told,)).sites

    assert found.is_unsure
    assert found.price_sd_gbp_per_mwh is None
    assert found.intensity_sd_gco2_per_kwh is doubt
