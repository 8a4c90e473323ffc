"""Plans in PostgreSQL: append-only, each with what it was made from.

A plan decides from its start on; the plan in force for a half-hour is the newest one that
starts no later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import RowMapping, Select, bindparam, func, insert, select, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col

from gridflex.adapters.database import read_rows, single_statements, source_errors
from gridflex.adapters.tables import PlanFrontRow, PlanRow, PlanRunRow
from gridflex.dispatch import Orders
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId
from gridflex.planning.plan import Plan, PlannedRun
from gridflex.planning.problem import SiteOutlook
from gridflex.planning.record import outlook_from_record, plan_from_record

KEPT_IN_MEMORY = 8

_RUNS_AHEAD: Final[Select[Any]] = (
    select(  # type: ignore[assignment]  # a row beside a column
        PlanRunRow, col(PlanRow.start).label("plan_start")
    )
    .join(PlanRow, col(PlanRow.id) == col(PlanRunRow.plan_id))
    .where(
        col(PlanRunRow.plan_id) == select(func.max(col(PlanRow.id))).scalar_subquery(),
        col(PlanRunRow.job_id) == bindparam("job_id"),
    )
    .order_by(col(PlanRunRow.start))
)
"""The runs of one job in the newest plan."""

_FORGET_INPUTS: Final = text("""
    UPDATE plan p SET inputs = NULL
    WHERE p.inputs IS NOT NULL AND p.made_at < :before
        AND p.made_at <= (SELECT made_at - interval '1 day' FROM plan ORDER BY id DESC LIMIT 1)
        AND EXISTS (SELECT FROM ledger_entry e WHERE e.id = 'plan:' || p.id)
""")


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """One committed plan.

    Args:
        id: Counts up.
        made_at: When it was made.
        start: First half-hour it decides.
        reason: Why it was made.
        runs: Its runs in order of time, for every job it knows.
        result: Its figures, as JSON.
    """

    id: int
    made_at: datetime
    start: HalfHour
    reason: str
    runs: Mapping[JobId, tuple[PlannedRun, ...]]
    result: Mapping[str, Any]

    def orders(self, half_hour: HalfHour) -> Orders:
        """Return what the plan says about one half-hour."""
        return Orders(
            made_at=self.made_at,
            runs={
                job_id: next((run for run in runs if run.covers(half_hour)), None)
                for job_id, runs in self.runs.items()
            },
            plan=self.runs,
        )

    def as_plan(self) -> Plan:
        """Return it as the planner knows it."""
        return plan_from_record(self.result, start=self.start, runs=self.runs)


@dataclass(frozen=True, slots=True)
class CommittedPlan:
    """Which plan something was read from.

    Args:
        id: Counts up.
        start: First half-hour it decides.
    """

    id: int
    start: HalfHour


class PlanStore:
    """Reads and writes plans.

    Args:
        engine: Where; see `gridflex.adapters.database.connect`.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._single = single_statements(engine)
        self._recent: dict[int, StoredPlan] = {}

    async def commit(
        self,
        runs: Mapping[JobId, tuple[PlannedRun, ...]],
        *,
        made_at: datetime,
        start: HalfHour,
        reason: str,
        result: Mapping[str, Any],
        inputs: Mapping[str, Any],
    ) -> int:
        """Store a plan, which brings it into force from ``start`` on, and return its id.

        Args:
            runs: For every job the plan knows, its runs; an empty tuple for one without any.
            made_at: GridFlex time.
            start: First half-hour it decides.
            reason: Why it was made.
            result: Figures to show, JSON.
            inputs: All it was made from, JSON.
        """
        row = {
            "made_at": made_at,
            "start": start.start,
            "reason": reason,
            "result": {**result, "jobs": [str(job_id) for job_id in runs]},
            "inputs": dict(inputs),
            "outlooks": inputs.get("sites"),
        }
        async with source_errors("storing a plan"), self._engine.begin() as connection:
            statement = insert(PlanRow).values(**row).returning(col(PlanRow.id))
            plan_id = int(await connection.scalar(statement) or 0)
            rows = [
                {
                    "plan_id": plan_id,
                    "job_id": str(run.job_id),
                    "start": run.start.start,
                    "half_hours": run.half_hours,
                    "site": run.site,
                    "gpus": run.gpus,
                    "power_cap_fraction": run.power_cap_fraction,
                }
                for job_runs in runs.values()
                for run in job_runs
            ]
            if rows:
                await connection.execute(insert(PlanRunRow), rows)
        return plan_id

    async def listed(self, *, limit: int, before: int | None = None) -> Sequence[RowMapping]:
        """Return id, time, start and reason of plans, the newest first.

        Args:
            limit: How many.
            before: Only plans older than this one.
        """
        columns = (PlanRow.id, PlanRow.made_at, PlanRow.start, PlanRow.reason)
        statement = select(*(col(column) for column in columns))
        if before is not None:
            statement = statement.where(col(PlanRow.id) < before)
        statement = statement.order_by(col(PlanRow.id).desc()).limit(limit)
        return await read_rows(self._single, statement, doing="reading plans")

    async def newest(self) -> StoredPlan | None:
        """Return the last plan that was committed."""
        return await self._one(None)

    async def in_force(self, half_hour: HalfHour) -> StoredPlan | None:
        """Return the newest plan that starts no later than ``half_hour``."""
        return await self._one(half_hour)

    async def orders(self, half_hour: HalfHour) -> Orders:
        """Return what the plan in force says about one half-hour."""
        plan = await self.in_force(half_hour)
        return plan.orders(half_hour) if plan else Orders(made_at=None, runs={})

    async def next_run(
        self, job_id: JobId, *, after: HalfHour
    ) -> tuple[CommittedPlan, PlannedRun] | None:
        """Return a job's first run in the newest plan that is not over by ``after``."""
        of_job = {"job_id": job_id}
        rows = await read_rows(self._single, _RUNS_AHEAD, of_job, doing="reading a plan")
        for row in rows:
            run = _run(row)
            if run.end > after:
                return CommittedPlan(row["plan_id"], HalfHour.containing(row["plan_start"])), run
        return None

    async def last_with(self, job_id: JobId) -> StoredPlan | None:
        """Return the newest plan in which a job runs."""
        statement: Select[Any] = select(func.max(col(PlanRunRow.plan_id))).where(
            col(PlanRunRow.job_id) == job_id
        )
        async with source_errors("finding the plan"), self._single.connect() as connection:
            plan_id = await connection.scalar(statement)
        return await self.get(plan_id) if plan_id else None

    async def outlooks(self, plan_id: int) -> Mapping[str, SiteOutlook]:
        """Return what a plan expected of each site, by name; empty if there is no such plan."""
        statement = select(col(PlanRow.outlooks)).where(col(PlanRow.id) == plan_id)
        async with source_errors("reading a plan"), self._single.connect() as connection:
            records: Sequence[Mapping[str, Any]] | None = await connection.scalar(statement)
        sites = [outlook_from_record(record) for record in records or ()]
        return {outlook.site.name: outlook for outlook in sites}

    async def inputs(self, plan_id: int) -> Mapping[str, Any] | None:
        """Return all that a plan was made from, as JSON; None if it is not there any more."""
        statement = select(col(PlanRow.inputs)).where(col(PlanRow.id) == plan_id)
        async with source_errors("reading a plan"), self._single.connect() as connection:
            found: Mapping[str, Any] | None = await connection.scalar(statement)
        return found

    async def save_front(self, plan_id: int, front: Mapping[str, Any]) -> None:
        """Keep a plan's front, as `gridflex.planning.front_record.front_record` wrote it; once."""
        statement = upsert(PlanFrontRow).values(plan_id=plan_id, front=dict(front))
        async with source_errors("storing a front"), self._engine.begin() as connection:
            await connection.execute(statement.on_conflict_do_nothing())

    async def front(self, plan_id: int) -> Mapping[str, Any] | None:
        """Return a plan's front as it was kept, or None if there is none."""
        statement = select(col(PlanFrontRow.front)).where(col(PlanFrontRow.plan_id) == plan_id)
        async with source_errors("reading a front"), self._single.connect() as connection:
            found: Mapping[str, Any] | None = await connection.scalar(statement)
        return found

    async def forget_inputs(self, *, before: datetime) -> int:
        """Remove what plans were made from; the last day's and what the ledger lacks stay.

        Args:
            before: GridFlex time; a plan made then or later keeps its inputs.

        Returns:
            How many plans lost theirs.
        """
        async with source_errors("removing old inputs"), self._engine.begin() as connection:
            return (await connection.execute(_FORGET_INPUTS, {"before": before})).rowcount

    async def get(self, plan_id: int) -> StoredPlan | None:
        """Return one plan, or None if there is none with this id."""
        if plan_id in self._recent:
            return self._recent[plan_id]
        columns = (PlanRow.id, PlanRow.made_at, PlanRow.start, PlanRow.reason, PlanRow.result)
        of_plan = select(*(col(column) for column in columns)).where(col(PlanRow.id) == plan_id)
        of_runs = (
            select(PlanRunRow)
            .where(col(PlanRunRow.plan_id) == plan_id)
            .order_by(col(PlanRunRow.start))
        )
        async with source_errors("reading a plan"), self._single.connect() as connection:
            row = (await connection.execute(of_plan)).mappings().first()
            runs = (await connection.execute(of_runs)).mappings().all()
        if row is None:
            return None
        plan = _stored(row, [_run(run) for run in runs])
        self._recent[plan_id] = plan
        while len(self._recent) > KEPT_IN_MEMORY:
            del self._recent[min(self._recent)]
        return plan

    async def _one(self, half_hour: HalfHour | None) -> StoredPlan | None:
        statement = select(col(PlanRow.id)).order_by(col(PlanRow.id).desc()).limit(1)
        if half_hour is not None:
            statement = statement.where(col(PlanRow.start) <= half_hour.start)
        async with source_errors("finding the plan"), self._single.connect() as connection:
            plan_id = await connection.scalar(statement)
        return await self.get(plan_id) if plan_id else None


def _stored(row: RowMapping, runs: list[PlannedRun]) -> StoredPlan:
    by_job: dict[JobId, tuple[PlannedRun, ...]] = {
        JobId(job_id): () for job_id in row["result"]["jobs"]
    }
    for run in runs:
        by_job[run.job_id] = (*by_job[run.job_id], run)
    return StoredPlan(
        id=row["id"],
        made_at=row["made_at"],
        start=HalfHour.containing(row["start"]),
        reason=row["reason"],
        runs=by_job,
        result={key: value for key, value in row["result"].items() if key != "jobs"},
    )


def _run(row: RowMapping) -> PlannedRun:
    return PlannedRun(
        job_id=JobId(row["job_id"]),
        site=row["site"],
        start=HalfHour.containing(row["start"]),
        half_hours=row["half_hours"],
        gpus=row["gpus"],
        power_cap_fraction=row["power_cap_fraction"],
    )
