"""What the database itself refuses, whoever writes to it."""
# ruff: noqa: S608 - every statement is put together here

from datetime import UTC, datetime

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

NOW = "'2026-07-01T12:00Z'"
JOB = "INSERT INTO job (id, state, submitted_at, request, flexibility, ended_at) VALUES"
ATTEMPT = "INSERT INTO attempt (job_id, number, ray_id, site, state, decided_at) VALUES"
ENERGY = "INSERT INTO energy (job_id, attempt, start, running_s, energy_kwh, method) VALUES"
PLAN = "INSERT INTO plan (made_at, start, reason, result, inputs) VALUES"
FORECAST = (
    "INSERT INTO forecast"
    " (signal, source, origin, region, start, values, issued_at, available_at) VALUES"
)
OUTTURN = (
    "INSERT INTO observation (signal, region, source, start, available_at, value, origin) VALUES"
)
RUN = "INSERT INTO plan_run (plan_id, job_id, start, half_hours, site, gpus) VALUES"

RESPONSE = "INSERT INTO raw_response (provider, url, status, fetched_at, body_gzip) VALUES"
ENTRY = (
    "INSERT INTO ledger_entry (index, id, event_type, recorded_at, entry, leaf) VALUES"
    " (0, 'plan:2', 'plan', now(), '', sha256(''))"
)
OLD = "'2026-06-01T12:00Z'"

GIVEN = (
    f"{JOB} ('held', 'held', {NOW}, '{{}}', '{{}}', NULL)",
    f"{JOB} ('live', 'running', {NOW}, '{{}}', '{{}}', NULL)",
    f"{JOB} ('over', 'succeeded', {NOW}, '{{}}', '{{}}', {NOW})",
    f"{ATTEMPT} ('live', 1, 'live', 'london', 'running', {NOW})",
    f"{ATTEMPT} ('over', 1, 'over', 'london', 'decided', {NOW})",
    f"UPDATE attempt SET state = 'ended', ended_at = {NOW}, outcome = 'lost' WHERE job_id = 'over'",
    f"{ENERGY} ('live', 1, {NOW}, 1800, 5.5, 'modelled')",
    f"{PLAN} ({NOW}, {NOW}, '', '{{}}', '{{}}')",
    f"{PLAN} ({OLD}, {OLD}, '', '{{}}', '{{}}')",
    f"{PLAN} ({OLD}, {OLD}, '', '{{}}', '{{}}')",
    f"{PLAN} ({NOW}, {NOW}, '', '{{}}', '{{}}')",
    ENTRY,
    f"{RESPONSE} ('p', 'u', 200, {OLD}, '')",
    f"{RESPONSE} ('p', 'u', 200, {NOW}, '')",
    f"{RUN} (1, 'held', {NOW}, 2, 'london', 2)",
    f"INSERT INTO job_event (job_id, at, kind, detail) VALUES ('held', {NOW}, 'submitted', '{{}}')",
    f"{FORECAST} ('p', 's', 'live', 'GB', {NOW}, ARRAY[1.0], {NOW}, {NOW})",
    f"{OUTTURN} ('p', 'GB', 's', {NOW}, {NOW}, 1.0, 'live')",
)

REFUSED = {
    "a second job of one id": f"{JOB} ('held', 'held', {NOW}, '{{}}', '{{}}', NULL)",
    "a job without an id": f"{JOB} ('', 'held', {NOW}, '{{}}', '{{}}', NULL)",
    "a job in no known state": f"{JOB} ('x', 'asleep', {NOW}, '{{}}', '{{}}', NULL)",
    "a final job without an end": f"{JOB} ('x', 'failed', {NOW}, '{{}}', '{{}}', NULL)",
    "an open job with an end": f"{JOB} ('x', 'held', {NOW}, '{{}}', '{{}}', {NOW})",
    "a held job that is paused": "UPDATE job SET state = 'paused' WHERE id = 'held'",
    "a running job that is held again": "UPDATE job SET state = 'held' WHERE id = 'live'",
    "a job that rises from the dead": (
        "UPDATE job SET state = 'running', ended_at = NULL WHERE id = 'over'"
    ),
    "a final job of another outcome": "UPDATE job SET state = 'failed' WHERE id = 'over'",
    "another request": """UPDATE job SET request = '{"a": 1}' WHERE id = 'held'""",
    "another flexibility": """UPDATE job SET flexibility = '{"a": 1}' WHERE id = 'held'""",
    "another time of arrival": "UPDATE job SET submitted_at = now() WHERE id = 'held'",
    "another id": "UPDATE job SET id = 'other' WHERE id = 'held'",
    "an open job that is hidden": f"UPDATE job SET deleted_at = {NOW} WHERE id = 'held'",
    "a job that is removed": "DELETE FROM job WHERE id = 'held'",
    "a second live attempt": f"{ATTEMPT} ('live', 2, 'live-a2', 'london', 'decided', {NOW})",
    "the same attempt twice": f"{ATTEMPT} ('live', 1, 'other', 'london', 'decided', {NOW})",
    "an id on a cluster used twice": f"{ATTEMPT} ('held', 1, 'live', 'london', 'decided', {NOW})",
    "an attempt of no job": f"{ATTEMPT} ('ghost', 1, 'ghost', 'london', 'decided', {NOW})",
    "attempt number nought": f"{ATTEMPT} ('held', 0, 'held', 'london', 'decided', {NOW})",
    "an end without an outcome": (
        f"UPDATE attempt SET state = 'ended', ended_at = {NOW} WHERE job_id = 'live'"
    ),
    "an outcome without an end": (
        "UPDATE attempt SET outcome = 'lost', state = 'ended' WHERE job_id = 'live'"
    ),
    "an unknown outcome": (
        f"UPDATE attempt SET state = 'ended', ended_at = {NOW}, outcome = 'gone'"
        " WHERE job_id = 'live'"
    ),
    "an unknown reason to stop": (
        "UPDATE attempt SET stop_reason = 'boredom' WHERE job_id = 'live'"
    ),
    "an attempt that rises from the dead": (
        "UPDATE attempt SET state = 'running', ended_at = NULL, outcome = NULL"
        " WHERE job_id = 'over'"
    ),
    "another outcome of an attempt": "UPDATE attempt SET outcome = 'failed' WHERE job_id = 'over'",
    "an attempt elsewhere": "UPDATE attempt SET site = 'slough' WHERE job_id = 'live'",
    "an attempt of another id": "UPDATE attempt SET ray_id = 'x' WHERE job_id = 'live'",
    "an attempt that is undone": "UPDATE attempt SET state = 'decided' WHERE job_id = 'live'",
    "an attempt that is removed": "DELETE FROM attempt WHERE job_id = 'live'",
    **{
        f"{table} emptied": f"TRUNCATE {table} CASCADE"
        for table in (
            *("job", "attempt", "job_event", "plan", "plan_run"),
            *("forecast", "observation", "raw_response", "energy"),
        )
    },
    "energy of no attempt": f"{ENERGY} ('held', 1, {NOW}, 1800, 5.5, 'modelled')",
    "energy twice": f"{ENERGY} ('live', 1, {NOW}, 900, 1.0, 'modelled')",
    "more than a half-hour": f"{ENERGY} ('live', 1, '2026-07-01T13:00Z', 1801, 5.5, 'modelled')",
    "less than nothing": f"{ENERGY} ('live', 1, '2026-07-01T13:00Z', -1, 5.5, 'modelled')",
    "an unknown method": f"{ENERGY} ('live', 1, '2026-07-01T13:00Z', 1, 5.5, 'guessed')",
    "energy that is changed": "UPDATE energy SET energy_kwh = 0",
    "energy that is removed": "DELETE FROM energy",
    "a run of no plan": f"{RUN} (99, 'held', '2026-07-01T13:00Z', 2, 'london', 2)",
    "a run of no job": f"{RUN} (1, 'ghost', '2026-07-01T13:00Z', 2, 'london', 2)",
    "a run of no length": f"{RUN} (1, 'held', '2026-07-01T13:00Z', 0, 'london', 2)",
    "a run on less than no GPU": f"{RUN} (1, 'held', '2026-07-01T13:00Z', 2, 'london', -1)",
    "a plan that is changed": "UPDATE plan SET reason = 'other'",
    "the runs of a plan that are removed": "DELETE FROM plan_run",
    "a plan that is removed": "DELETE FROM plan WHERE id = 2",
    "a plan without inputs that is changed": (
        "UPDATE plan SET inputs = NULL, reason = 'other' WHERE id = 2"
    ),
    "a plan with other inputs": """UPDATE plan SET inputs = '{"a": 1}' WHERE id = 2""",
    "a plan of today without inputs": "UPDATE plan SET inputs = NULL WHERE id = 1",
    "a plan without inputs that the ledger lacks": ("UPDATE plan SET inputs = NULL WHERE id = 3"),
    "a response that is changed": f"UPDATE raw_response SET status = 1 WHERE fetched_at = {OLD}",
    "a response of today that is removed": f"DELETE FROM raw_response WHERE fetched_at = {NOW}",
    "an event that is changed": "UPDATE job_event SET kind = 'other'",
    "an event that is removed": "DELETE FROM job_event",
    "a forecast that is changed": "UPDATE forecast SET issued_at = now()",
    "a forecast of nothing": (f"{FORECAST} ('p', 's', 'live', 'GB', {NOW}, '{{}}', {NOW}, {NOW})"),
    "quantiles for fewer values": (
        f"{FORECAST.replace('values,', 'values, quantiles,')} ('p', 's', 'live', 'GB', {NOW},"
        f" ARRAY[1.0, 2.0], ARRAY[[1,2,3,4,5,6,7]], {NOW}, {NOW})"
    ),
    "quantiles of other levels": (
        f"{FORECAST.replace('values,', 'values, quantiles,')} ('p', 's', 'live', 'GB', {NOW},"
        f" ARRAY[1.0], ARRAY[[1,2,3]], {NOW}, {NOW})"
    ),
    "an outturn that is changed": "UPDATE observation SET value = 2",
    "an outturn that is no number": (f"{OUTTURN} ('p', 'GB', 's', {NOW}, now(), 'NaN', 'live')"),
}

ALLOWED = {
    "an old plan of the ledger that loses its inputs": (
        "UPDATE plan SET inputs = NULL WHERE id = 2"
    ),
    "an old response that is removed": f"DELETE FROM raw_response WHERE fetched_at = {OLD}",
    "a held job that starts": "UPDATE job SET state = 'running' WHERE id = 'held'",
    "a running job that is paused": "UPDATE job SET state = 'paused' WHERE id = 'live'",
    "a job that ends": f"UPDATE job SET state = 'failed', ended_at = {NOW} WHERE id = 'live'",
    "an ended job that is hidden": f"UPDATE job SET deleted_at = {NOW} WHERE id = 'over'",
    "an attempt that ends": (
        f"UPDATE attempt SET state = 'ended', ended_at = {NOW}, outcome = 'stopped'"
        " WHERE job_id = 'live'"
    ),
    "an attempt that is asked to stop": (
        "UPDATE attempt SET state = 'stopping' WHERE job_id = 'live'"
    ),
}


@pytest.fixture
async def filled(engine: AsyncEngine) -> AsyncEngine:
    async with engine.begin() as connection:
        for statement in GIVEN:
            await connection.execute(text(statement))
    return engine


async def succeeds(engine: AsyncEngine, statement: str) -> bool:
    async with engine.connect() as connection:
        try:
            await connection.execute(text(statement))
        except IntegrityError:
            return False
        finally:
            await connection.rollback()
    return True


async def test_what_would_break_a_rule_is_refused(filled: AsyncEngine) -> None:
    done = [what for what, statement in REFUSED.items() if await succeeds(filled, statement)]

    assert done == []


async def test_what_keeps_the_rules_is_done(filled: AsyncEngine) -> None:
    refused = [what for what, statement in ALLOWED.items() if not await succeeds(filled, statement)]

    assert refused == []


async def test_every_change_of_a_job_or_plan_is_announced(
    filled: AsyncEngine, database_url: str
) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as listener:
        await listener.execute("LISTEN gridflex")
        async with filled.begin() as connection:
            stamp = {"at": datetime(2026, 7, 1, 13, tzinfo=UTC)}
            for statement in (
                f"{JOB} ('new', 'held', :at, '{{}}', '{{}}', NULL)",
                "UPDATE job SET stop_requested_at = :at WHERE id = 'live'",
                "UPDATE job SET state = 'stopped', ended_at = :at WHERE id = 'live'",
                f"{PLAN} (:at, :at, '', '{{}}', '{{}}')",
                f"{FORECAST} ('p', 's', 'live', 'GB', :at, ARRAY[1.0], :at, :at)",
            ):
                await connection.execute(text(statement), stamp)
        heard = {notice.payload async for notice in listener.notifies(timeout=60, stop_after=5)}

    assert heard == {"job", "stop", "ended", "plan", "forecast"}
