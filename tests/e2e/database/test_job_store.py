import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters import database
from gridflex.adapters.jobs.rows import PAST_OF_ALL, PAST_OF_COMMAND
from gridflex.adapters.jobs.store import Added, JobStore
from gridflex.errors import SourceError
from gridflex.forecasting.past_runs import PastRun
from gridflex.jobs import Flexibility, JobId, JobState, Shape, Tier
from gridflex.lifecycle import AttemptState, JobRequest, Outcome, StopReason

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TRAIN = JobRequest("python train.py", metadata={"gridflex.io/tier": "T3"})
FLEXIBLE = Flexibility(
    tier=Tier.T3,
    deadline=NOON + timedelta(hours=12),
    duration=timedelta(hours=4),
    duration_is_declared=True,
    interruptible=True,
    gpus=8,
    min_gpus=8,
    max_gpus=8,
    sites=("london",),
)
JOB = JobId("job-1")


@pytest.fixture
def store(engine: AsyncEngine) -> JobStore:
    return JobStore(engine)


async def started(store: JobStore) -> int:
    await store.add(JOB, TRAIN, FLEXIBLE, submitted_at=NOON)
    attempt = await store.decide_attempt(JOB, site="london", at=NOON + MINUTE)
    assert attempt is not None
    await store.attempt_submitted(JOB, attempt.number, at=NOON + MINUTE)
    await store.attempt_started(JOB, attempt.number, at=NOON + 2 * MINUTE, driver={})
    return attempt.number


async def state(store: JobStore) -> JobState:
    job = await store.get(JOB)
    assert job is not None
    return job.state


async def test_a_job_comes_back_as_it_was_submitted(store: JobStore) -> None:
    await store.add(JOB, TRAIN, FLEXIBLE, submitted_at=NOON)

    job = await store.get(JOB)

    assert job is not None
    assert (job.request, job.flexibility, job.submitted_at) == (TRAIN, FLEXIBLE, NOON)
    assert job.state is JobState.HELD


async def test_the_same_submission_twice_is_one_job(store: JobStore) -> None:
    first = await store.add(JOB, TRAIN, FLEXIBLE, submitted_at=NOON)
    again = await store.add(JOB, TRAIN, FLEXIBLE, submitted_at=NOON + MINUTE)

    assert (first, again) == (Added.NEW, Added.SAME)
    assert len(await store.newest()) == 1


async def test_another_job_under_a_taken_id_is_refused(store: JobStore) -> None:
    await store.add(JOB, TRAIN, FLEXIBLE, submitted_at=NOON)

    added = await store.add(
        JOB, replace(TRAIN, entrypoint="python other.py"), FLEXIBLE, submitted_at=NOON
    )

    assert added is Added.CONFLICT


async def test_a_hundred_submissions_of_one_id_at_once_make_one_job(store: JobStore) -> None:
    results = await asyncio.gather(
        *(store.add(JOB, TRAIN, FLEXIBLE, submitted_at=NOON) for _ in range(100))
    )

    assert sorted(results) == [Added.NEW] + [Added.SAME] * 99


async def test_only_one_of_many_deciders_starts_a_job(store: JobStore) -> None:
    await store.add(JOB, TRAIN, FLEXIBLE, submitted_at=NOON)

    attempts = await asyncio.gather(
        *(store.decide_attempt(JOB, site="london", at=NOON) for _ in range(20))
    )

    assert [attempt.ray_id for attempt in attempts if attempt] == ["job-1"]


async def test_the_database_itself_refuses_a_second_live_attempt(
    store: JobStore, engine: AsyncEngine
) -> None:
    await started(store)
    second = text(
        "INSERT INTO attempt (job_id, number, ray_id, site, state, decided_at)"
        " VALUES ('job-1', 2, 'job-1-a2', 'london', 'decided', now())"
    )

    with pytest.raises(IntegrityError, match="attempt_one_live"):
        async with engine.begin() as connection:
            await connection.execute(second)


async def test_a_paused_job_runs_again_under_an_id_of_its_own(store: JobStore) -> None:
    number = await started(store)
    await store.attempt_stopping(JOB, number, reason=StopReason.PAUSE, at=NOON + 30 * MINUTE)
    await store.attempt_ended(
        JOB, number, outcome=Outcome.STOPPED, at=NOON + 31 * MINUTE, driver={}
    )
    assert await state(store) is JobState.PAUSED

    again = await store.decide_attempt(JOB, site="london", at=NOON + 90 * MINUTE)

    assert again is not None
    assert (again.number, again.ray_id, again.state) == (2, "job-1-a2", AttemptState.DECIDED)


async def test_a_job_that_finished_while_being_paused_has_finished(store: JobStore) -> None:
    number = await started(store)
    await store.attempt_stopping(JOB, number, reason=StopReason.PAUSE, at=NOON + 30 * MINUTE)
    await store.attempt_ended(
        JOB, number, outcome=Outcome.SUCCEEDED, at=NOON + 31 * MINUTE, driver={}
    )

    assert await state(store) is JobState.SUCCEEDED


async def test_a_lost_run_leaves_the_job_to_run_again(store: JobStore) -> None:
    number = await started(store)
    await store.attempt_ended(JOB, number, outcome=Outcome.LOST, at=NOON + 30 * MINUTE, driver={})

    assert await state(store) is JobState.PAUSED


async def test_a_run_lost_before_it_started_leaves_the_job_held(store: JobStore) -> None:
    await store.add(JOB, TRAIN, FLEXIBLE, submitted_at=NOON)
    attempt = await store.decide_attempt(JOB, site="london", at=NOON)
    assert attempt is not None

    await store.attempt_ended(JOB, 1, outcome=Outcome.LOST, at=NOON + MINUTE, driver={})

    assert await state(store) is JobState.HELD


async def test_noting_the_same_end_twice_changes_nothing(store: JobStore) -> None:
    number = await started(store)
    for outcome in (Outcome.SUCCEEDED, Outcome.FAILED):
        await store.attempt_ended(
            JOB, number, outcome=outcome, at=NOON + 30 * MINUTE, driver={"message": "done"}
        )

    job = await store.get(JOB)

    assert job is not None
    assert (job.state, job.message) == (JobState.SUCCEEDED, "done")


async def test_stopping_a_held_job_ends_it_at_once(store: JobStore) -> None:
    await store.add(JOB, TRAIN, FLEXIBLE, submitted_at=NOON)

    job = await store.request_stop(JOB, at=NOON + MINUTE)

    assert job is not None
    assert job.state is JobState.STOPPED
    assert await store.decide_attempt(JOB, site="london", at=NOON + MINUTE) is None


async def test_a_running_job_that_is_to_stop_never_starts_again(store: JobStore) -> None:
    number = await started(store)
    await store.attempt_stopping(JOB, number, reason=StopReason.PAUSE, at=NOON + 5 * MINUTE)
    await store.request_stop(JOB, at=NOON + 6 * MINUTE)

    await store.attempt_ended(JOB, number, outcome=Outcome.STOPPED, at=NOON + 7 * MINUTE, driver={})

    assert await state(store) is JobState.STOPPED


async def test_only_ended_jobs_can_be_deleted_and_their_events_stay(store: JobStore) -> None:
    await store.add(JOB, TRAIN, FLEXIBLE, submitted_at=NOON)
    assert not await store.delete(JOB, at=NOON)
    await store.request_stop(JOB, at=NOON + MINUTE)

    assert await store.delete(JOB, at=NOON + 2 * MINUTE)

    assert await store.get(JOB) is None
    kinds = [event.kind for event in await store.events(JOB)]
    assert kinds == ["submitted", "stop requested", "state", "deleted"]


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("UPDATE job_event SET kind = 'other'", id="an event is changed"),
        pytest.param("DELETE FROM job_event", id="an event is deleted"),
        pytest.param("DELETE FROM job", id="a job is deleted"),
        pytest.param("UPDATE job SET request = '{}'", id="a request is changed"),
        pytest.param(
            "UPDATE job SET state = 'paused'", id="a held job is paused without having run"
        ),
        pytest.param("UPDATE job SET state = 'asleep'", id="a state is unknown"),
        pytest.param("UPDATE job SET state = 'failed'", id="a final state has no end"),
    ],
)
async def test_the_database_refuses(store: JobStore, engine: AsyncEngine, statement: str) -> None:
    await store.add(JOB, TRAIN, FLEXIBLE, submitted_at=NOON)

    with pytest.raises(IntegrityError):
        async with engine.begin() as connection:
            await connection.execute(text(statement))


async def test_what_ended_is_remembered_the_newest_first(store: JobStore) -> None:
    await store.add(JobId("given-up"), TRAIN, FLEXIBLE, submitted_at=NOON - 9 * MINUTE)
    await store.request_stop(JobId("given-up"), at=NOON)
    for index, minutes in enumerate((10, 20, 90)):
        job_id = JobId(f"past-{index}")
        await store.add(job_id, TRAIN, FLEXIBLE, submitted_at=NOON)
        await store.decide_attempt(job_id, site="london", at=NOON)
        await store.attempt_started(job_id, 1, at=NOON, driver={})
        end = NOON + minutes * MINUTE
        await store.attempt_ended(job_id, 1, outcome=Outcome.SUCCEEDED, at=end, driver={})

    past = await store.past_runs(most=3)
    same = await store.past_runs(most=9, entrypoint=TRAIN.entrypoint)
    assert [run.job_id for run in past] == ["past-2", "past-1", "past-0"]
    assert [run.run_time for run in same] == [90 * MINUTE, 20 * MINUTE, 10 * MINUTE]
    given_up = (await store.past_runs(most=9))[-1]
    assert past[0] == PastRun(
        JobId("past-2"),
        TRAIN.entrypoint,
        FLEXIBLE.team,
        FLEXIBLE.gpus,
        submitted_at=NOON,
        started_at=NOON,
        ended_at=NOON + 90 * MINUTE,
        run_time=90 * MINUTE,
        has_succeeded=True,
        was_given_up=False,
    )
    assert (given_up.started_at, given_up.run_time, given_up.was_given_up) == (
        None,
        0 * MINUTE,
        True,
    )
    assert await store.past_runs(most=9, entrypoint="python other.py") == []


async def test_time_under_a_power_limit_teaches_what_it_would_have_taken_at_full_speed(
    store: JobStore,
) -> None:
    await store.add(JOB, TRAIN, FLEXIBLE, submitted_at=NOON)
    runs = ((None, 1.0, 30, Outcome.LOST), (Shape(8, 0.6), 0.75, 40, Outcome.SUCCEEDED))
    for number, (shape, speed, minutes, outcome) in enumerate(runs, start=1):
        at = NOON + number * 60 * MINUTE
        await store.decide_attempt(JOB, site="london", at=at, shape=shape, speed_fraction=speed)
        await store.attempt_started(JOB, number, at=at, driver={})
        end = at + minutes * MINUTE
        await store.attempt_ended(JOB, number, outcome=outcome, at=end, driver={})

    (past,) = await store.past_runs(most=9, entrypoint=TRAIN.entrypoint)

    assert past.run_time == (30 + 30) * MINUTE


async def test_what_is_looked_up_all_the_time_has_an_index(engine: AsyncEngine) -> None:
    command = PAST_OF_COMMAND.text.replace(":most", "9")
    wanted = {
        "SELECT * FROM job WHERE ended_at >= now()": "job_by_end",
        "SELECT plan_id FROM plan_run WHERE job_id = 'a' ORDER BY plan_id DESC": "plan_run_of_job",
        command.replace(":entrypoint", "'python train.py'"): "job_run_times",
        PAST_OF_ALL.text.replace(":most", "9"): "job_by_end",
    }
    async with engine.connect() as connection:
        await connection.execute(text("SET enable_seqscan = off"))
        for statement, index in wanted.items():
            plan = (await connection.execute(text(f"EXPLAIN {statement}"))).scalars().all()
            assert index in "\n".join(plan)


async def test_open_jobs_are_at_every_look_what_they_are_one_by_one(store: JobStore) -> None:
    await started(store)
    for name, command in (("held", "a"), ("over", "b")):
        request = replace(TRAIN, entrypoint=command)
        await store.add(JobId(name), request, FLEXIBLE, submitted_at=NOON)
    first = await store.open_jobs()

    await store.request_stop(JobId("over"), at=NOON)
    await store.attempt_stopping(JOB, 1, reason=StopReason.PAUSE, at=NOON + 3 * MINUTE)
    await store.add(JobId("new"), TRAIN, replace(FLEXIBLE, gpus=4), submitted_at=NOON)
    second = await store.open_jobs()

    assert [(job.id, job.request.entrypoint) for job in first] == [
        (JOB, "python train.py"), ("held", "a"), ("over", "b"),
    ]  # fmt: skip
    assert [job.id for job in second] == [JOB, "held", "new"]
    assert second == [await store.get(job.id) for job in second]


async def test_open_jobs_are_counted_by_state(store: JobStore) -> None:
    assert await store.count_open() == {}
    await started(store)
    for name in ("held-1", "held-2", "over"):
        await store.add(JobId(name), TRAIN, FLEXIBLE, submitted_at=NOON)
    await store.request_stop(JobId("over"), at=NOON)

    assert await store.count_open() == {JobState.RUNNING: 1, JobState.HELD: 2}


async def test_an_unreachable_database_is_a_source_error() -> None:
    store = JobStore(database.connect("postgresql://nobody@127.0.0.1:1/none"))

    with pytest.raises(SourceError, match="database: reading jobs"):
        await store.get(JOB)


async def test_a_database_that_went_away_and_came_back_is_used_again(
    store: JobStore, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "TRUSTED_S", 0.0)
    await store.add(JOB, TRAIN, FLEXIBLE, submitted_at=NOON)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )

    assert await store.get(JOB) is not None
