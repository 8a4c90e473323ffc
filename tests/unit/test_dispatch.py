"""What one job needs now, and what a cluster is asked to run for it."""

from datetime import timedelta

import pytest

from gridflex.dispatch import ATTEMPT_OF, Action, Orders, attempt_request, next_action
from gridflex.halfhour import HalfHour
from gridflex.jobs import Tier
from gridflex.lifecycle import Attempt, AttemptState, Job, JobRequest, StopReason
from gridflex.planning.plan import PlannedRun
from tests.unit.lifecycles import HOUR, MINUTE, NOON, attempt, job

NOW = NOON + 65 * MINUTE
THIS = HalfHour.containing(NOW)
RUN = PlannedRun(job().id, "london", THIS, 2, 2)
EARLIER = PlannedRun(job().id, "london", HalfHour.containing(NOON), 2, 2)
LATER = PlannedRun(job().id, "london", THIS + 4, 6, 2)

NO_PLAN = Orders(made_at=None, runs={})
IDLE_NEW = Orders(made_at=NOON + HOUR, runs={job().id: None}, plan={job().id: (LATER,)})
IDLE_OLD = Orders(made_at=NOON - HOUR, runs={job().id: None}, plan={job().id: (LATER,)})
IDLE_AS_BEGUN = Orders(
    made_at=NOON - HOUR, runs={job().id: None}, plan={job().id: (EARLIER, LATER)}
)
RUNS_NEW = Orders(made_at=NOON + HOUR, runs={job().id: RUN}, plan={job().id: (RUN,)})
RUNS = Orders(made_at=NOON - HOUR, runs={job().id: RUN}, plan={job().id: (RUN,)})
SHED = Orders(
    made_at=NOON - HOUR,
    runs={job().id: RUN},
    plan={job().id: (RUN,)},
    curtailed=frozenset({job().id}),
)


def action(found: Job, orders: Orders) -> Action | None:
    return next_action(
        found, orders, now=NOW, restart=MINUTE, ask_again_after=timedelta(minutes=10)
    )


def stopping(reason: StopReason, *, minutes_ago: int) -> Attempt:
    return attempt(
        state=AttemptState.STOPPING, stop_reason=reason, stop_asked_at=NOW - minutes_ago * MINUTE
    )


@pytest.mark.parametrize(
    ("found", "orders", "expected"),
    [
        pytest.param(job(), NO_PLAN, None, id="no plan yet"),
        pytest.param(job(), IDLE_NEW, None, id="held by the plan"),
        pytest.param(job(), RUNS, Action.START, id="its half-hour has come"),
        pytest.param(job(tier=Tier.T0), NO_PLAN, Action.START, id="rigid, without a plan"),
        pytest.param(
            job(deadline=NOW + 4 * HOUR), IDLE_NEW, Action.START, id="late, whatever the plan says"
        ),
        pytest.param(job(stop_requested_at=NOON), RUNS, None, id="stopped before it started"),
    ],
)
def test_a_job_that_waits(found: Job, orders: Orders, expected: Action | None) -> None:
    assert action(found, orders) is expected


@pytest.mark.parametrize(
    ("found", "orders", "expected"),
    [
        pytest.param(job(attempt()), RUNS, None, id="as planned"),
        pytest.param(job(attempt()), NO_PLAN, None, id="no plan"),
        pytest.param(job(attempt()), IDLE_NEW, Action.PAUSE, id="a newer plan has better hours"),
        pytest.param(job(attempt()), IDLE_OLD, None, id="a plan that did not know it ran"),
        pytest.param(
            job(attempt()), IDLE_AS_BEGUN, Action.PAUSE, id="the plan that began it ends its run"
        ),
        pytest.param(
            job(attempt(), interruptible=False), IDLE_NEW, None, id="it may not be paused"
        ),
        pytest.param(
            job(attempt(), deadline=NOW + 2 * HOUR),
            IDLE_NEW,
            None,
            id="paused it would have to start again at once",
        ),
        pytest.param(
            job(attempt(state=AttemptState.SUBMITTED, started_at=None)),
            IDLE_NEW,
            Action.PAUSE,
            id="it waits in the queue although its time has passed",
        ),
        pytest.param(
            job(attempt(state=AttemptState.SUBMITTED, started_at=None), interruptible=False),
            IDLE_AS_BEGUN,
            Action.PAUSE,
            id="the same, and it may not be paused once it runs",
        ),
        pytest.param(
            job(
                attempt(state=AttemptState.SUBMITTED, started_at=None, decided_at=NOW - 5 * MINUTE)
            ),
            IDLE_AS_BEGUN,
            None,
            id="it is only just starting",
        ),
        pytest.param(
            job(attempt(site="slough")), RUNS, None, id="ordered elsewhere before it began"
        ),
        pytest.param(job(attempt(site="slough")), RUNS_NEW, Action.PAUSE, id="ordered elsewhere"),
        pytest.param(job(attempt(gpus=1)), RUNS_NEW, Action.PAUSE, id="ordered on more GPUs"),
        pytest.param(
            job(attempt(power_cap_fraction=0.8)),
            RUNS_NEW,
            Action.PAUSE,
            id="ordered without a limit",
        ),
        pytest.param(
            job(attempt(gpus=1), interruptible=False),
            RUNS_NEW,
            None,
            id="ordered on more GPUs, not pausable",
        ),
        pytest.param(job(attempt(gpus=2)), RUNS_NEW, None, id="as ordered, GPUs written down"),
        pytest.param(
            job(attempt(state=AttemptState.DECIDED, started_at=None)),
            RUNS,
            Action.RESEND,
            id="nobody knows whether it was sent",
        ),
        pytest.param(
            job(attempt(state=AttemptState.DECIDED, started_at=None)),
            IDLE_NEW,
            Action.RESEND,
            id="the same, and the plan has changed",
        ),
        pytest.param(
            job(attempt(state=AttemptState.DECIDED, started_at=None)),
            SHED,
            None,
            id="kept back to free power",
        ),
        pytest.param(
            job(
                attempt(state=AttemptState.SUBMITTED, started_at=None, decided_at=NOW),
                interruptible=False,
            ),
            SHED,
            Action.PAUSE,
            id="pulled back at once to free power",
        ),
        pytest.param(
            job(attempt(state=AttemptState.DECIDED, started_at=None), deadline=NOW + 2 * HOUR),
            SHED,
            Action.RESEND,
            id="late, whatever the order says",
        ),
    ],
)
def test_a_job_on_a_cluster(found: Job, orders: Orders, expected: Action | None) -> None:
    assert action(found, orders) is expected


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        pytest.param(attempt(), Action.STOP, id="running"),
        pytest.param(
            attempt(state=AttemptState.DECIDED, started_at=None), Action.STOP, id="decided"
        ),
        pytest.param(stopping(StopReason.PAUSE, minutes_ago=1), Action.STOP, id="being paused"),
        pytest.param(stopping(StopReason.STOP, minutes_ago=1), None, id="asked a minute ago"),
        pytest.param(stopping(StopReason.STOP, minutes_ago=10), Action.STOP, id="without effect"),
    ],
)
def test_a_job_that_its_owner_stops(live: Attempt, expected: Action | None) -> None:
    assert action(job(live, stop_requested_at=NOW), RUNS) is expected


@pytest.mark.parametrize(("minutes", "expected"), [(9, None), (10, Action.PAUSE)])
def test_a_pause_without_effect_is_asked_for_again(minutes: int, expected: Action | None) -> None:
    live = stopping(StopReason.PAUSE, minutes_ago=minutes)

    assert action(job(live), RUNS) is expected


def test_a_cluster_is_told_which_job_it_runs_where_to_save_and_how_long_saving_takes() -> None:
    request = JobRequest("python a.py", metadata={"team": "vision"}, resources={"num_gpus": 1})

    asked = attempt_request(job(request=request), attempt(), checkpoint_root="s3://bucket/runs/")

    assert asked.runtime_env["env_vars"] == {
        "GRIDFLEX_JOB_ID": "job-1",
        "GRIDFLEX_CHECKPOINT_DIR": "s3://bucket/runs/job-1",
        "RAY_JOB_STOP_WAIT_TIME_S": "30",
        "GRIDFLEX_GPUS": "2",
        "GRIDFLEX_POWER_CAP_FRACTION": "1",
    }
    assert asked.metadata == {"team": "vision", ATTEMPT_OF: "job-1"}
    assert (asked.entrypoint, asked.resources) == ("python a.py", {"num_gpus": 1})


def test_a_later_attempt_resumes_from_the_same_folder() -> None:
    first = attempt_request(job(), attempt(), checkpoint_root="/c")
    second = attempt_request(job(), attempt(2), checkpoint_root="/c")

    assert second.runtime_env["env_vars"] == {
        **first.runtime_env["env_vars"],
        "GRIDFLEX_RESUME": "1",
    }


def test_what_the_owner_chose_stays_except_whether_it_resumes() -> None:
    chosen = {"GRIDFLEX_CHECKPOINT_DIR": "/mine", "GRIDFLEX_RESUME": "0", "LR": "0.1"}
    env = {"working_dir": "gcs://_ray_pkg_0123456789abcdef.zip", "env_vars": chosen}
    owned = job(request=JobRequest("a", runtime_env=env), stop_grace=timedelta(seconds=90))

    asked = attempt_request(owned, attempt(2), checkpoint_root="/c").runtime_env

    assert asked["working_dir"] == env["working_dir"]
    assert asked["env_vars"] == {
        "GRIDFLEX_JOB_ID": "job-1",
        "RAY_JOB_STOP_WAIT_TIME_S": "90",
        "GRIDFLEX_CHECKPOINT_DIR": "/mine",
        "GRIDFLEX_RESUME": "1",
        "GRIDFLEX_GPUS": "2",
        "GRIDFLEX_POWER_CAP_FRACTION": "1",
        "LR": "0.1",
    }
    assert chosen["GRIDFLEX_RESUME"] == "0"


@pytest.mark.parametrize(
    ("reserved", "asked_for"),
    [
        pytest.param({"num_gpus": 2, "num_cpus": 4}, {"num_gpus": 1, "num_cpus": 4}, id="all"),
        pytest.param({"num_gpus": 1}, {"num_gpus": 1}, id="a part, its workers take the rest"),
        pytest.param({}, {}, id="none"),
    ],
)
def test_a_run_on_other_gpus_is_told_so_and_reserves_them(
    reserved: dict[str, int], asked_for: dict[str, int]
) -> None:
    live = attempt(gpus=1, power_cap_fraction=0.8)
    found = job(request=JobRequest("python a.py", resources=reserved))

    asked = attempt_request(found, live, checkpoint_root="/c")

    assert asked.resources == asked_for
    assert asked.runtime_env["env_vars"]["GRIDFLEX_GPUS"] == "1"
    assert asked.runtime_env["env_vars"]["GRIDFLEX_POWER_CAP_FRACTION"] == "0.8"
