"""The tables of GridFlex in PostgreSQL.

Rows, not domain objects: the stores beside this module turn one into the other. What a
column may hold and how a job may change state is enforced by the database as well, in the
migrations. Every instant is GridFlex time unless the column says ``wall``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    LargeBinary,
    String,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel

Json = dict[str, Any]


def instant(*, nullable: bool = False, **options: Any) -> Any:  # noqa: ANN401 - a Column
    """Return a ``timestamptz`` column."""
    return Column(DateTime(timezone=True), nullable=nullable, **options)


def json_object(*, nullable: bool = False) -> Any:  # noqa: ANN401 - a Column
    """Return a ``jsonb`` column."""
    return Column(JSONB(none_as_null=True), nullable=nullable)


def counter() -> Any:  # noqa: ANN401 - a Column
    """Return a primary key that the database counts up."""
    return Column(BigInteger, Identity(always=True), primary_key=True)


class JobRow(SQLModel, table=True):
    """One job as its owner submitted it, and where it stands."""

    __tablename__ = "job"

    id: str = Field(primary_key=True)
    seq: int | None = Field(
        default=None, sa_column=Column(BigInteger, Identity(always=True), unique=True)
    )
    state: str
    submitted_at: datetime = Field(sa_column=instant())
    request: Json = Field(sa_column=json_object())
    flexibility: Json = Field(sa_column=json_object())
    message: str | None = None
    stop_requested_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    ended_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    deleted_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))

    __table_args__ = (
        Index("job_open", "seq", postgresql_where=text("ended_at IS NULL")),
        Index("job_by_end", "ended_at", postgresql_where=text("ended_at IS NOT NULL")),
        Index(
            "job_run_times",
            text("md5(request->>'entrypoint')"),
            text("ended_at DESC"),
            postgresql_where=text("state = 'succeeded'"),
        ),
    )


class AttemptRow(SQLModel, table=True):
    """One run of a job on a cluster, from the decision to its end."""

    __tablename__ = "attempt"

    job_id: str = Field(sa_column=Column(String, ForeignKey("job.id"), primary_key=True))
    number: int = Field(primary_key=True)
    ray_id: str = Field(unique=True)
    site: str
    state: str
    decided_at: datetime = Field(sa_column=instant())
    started_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    stop_asked_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    stop_reason: str | None = None
    ended_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    outcome: str | None = None
    driver: Json | None = Field(default=None, sa_column=json_object(nullable=True))
    gpus: int | None = None
    power_cap_fraction: float = Field(default=1.0, sa_column=Column(Double, nullable=False))
    speed_fraction: float = Field(default=1.0, sa_column=Column(Double, nullable=False))

    __table_args__ = (
        Index(
            "attempt_one_live",
            "job_id",
            unique=True,
            postgresql_where=text("state <> 'ended'"),
        ),
    )


class JobEventRow(SQLModel, table=True):
    """What happened to a job, append-only."""

    __tablename__ = "job_event"

    id: int | None = Field(default=None, sa_column=counter())
    job_id: str = Field(sa_column=Column(String, ForeignKey("job.id"), nullable=False))
    at: datetime = Field(sa_column=instant())
    recorded_wall: datetime | None = Field(
        default=None, sa_column=instant(server_default=func.now())
    )
    kind: str
    detail: Json = Field(sa_column=json_object())


class PlanRow(SQLModel, table=True):
    """One committed plan with what it was made from, append-only; old ones lose their inputs."""

    __tablename__ = "plan"

    id: int | None = Field(default=None, sa_column=counter())
    made_at: datetime = Field(sa_column=instant())
    start: datetime = Field(sa_column=instant())
    reason: str
    result: Json = Field(sa_column=json_object())
    inputs: Json | None = Field(default=None, sa_column=json_object(nullable=True))
    outlooks: list[Json] | None = Field(default=None, sa_column=json_object(nullable=True))


class PlanRunRow(SQLModel, table=True):
    """One unbroken run of one job in one plan, append-only."""

    __tablename__ = "plan_run"

    plan_id: int = Field(sa_column=Column(BigInteger, ForeignKey("plan.id"), primary_key=True))
    job_id: str = Field(sa_column=Column(String, ForeignKey("job.id"), primary_key=True))
    start: datetime = Field(sa_column=instant(primary_key=True))
    half_hours: int
    site: str
    gpus: int
    power_cap_fraction: float = Field(default=1.0, sa_column=Column(Double, nullable=False))

    __table_args__ = (Index("plan_run_of_job", "job_id", "plan_id"),)


class PlanFrontRow(SQLModel, table=True):
    """What other plans for the same jobs would trade off, append-only."""

    __tablename__ = "plan_front"

    plan_id: int = Field(
        sa_column=Column(BigInteger, ForeignKey("plan.id"), primary_key=True, autoincrement=False)
    )
    recorded_wall: datetime | None = Field(
        default=None, sa_column=instant(server_default=func.now())
    )
    front: Json = Field(sa_column=json_object())


class CurtailmentRow(SQLModel, table=True):
    """One order to free power, kept for good; it can only be ended."""

    __tablename__ = "curtailment"

    id: str = Field(primary_key=True)
    placed_at: datetime = Field(sa_column=instant())
    until: datetime = Field(sa_column=instant())
    request: Json = Field(sa_column=json_object())
    jobs: list[Json] = Field(sa_column=json_object())
    limits_kw: Json = Field(sa_column=json_object())
    ended_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    recorded_wall: datetime | None = Field(
        default=None, sa_column=instant(server_default=func.now())
    )

    __table_args__ = (Index("curtailment_by_end", "until"),)


class PowerLimitRow(SQLModel, table=True):
    """One power limit on one GPU, recorded before it is set; as in `gridflex.capping`."""

    __tablename__ = "power_limit"

    id: int | None = Field(default=None, sa_column=counter())
    site: str
    node_id: str
    gpu: str
    job_id: str
    attempt: int
    before_w: float = Field(sa_column=Column(Double, nullable=False))
    limit_w: float = Field(sa_column=Column(Double, nullable=False))
    recorded_at: datetime = Field(sa_column=instant())
    set_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))
    lifted_at: datetime | None = Field(default=None, sa_column=instant(nullable=True))

    __table_args__ = (
        ForeignKeyConstraint(["job_id", "attempt"], ["attempt.job_id", "attempt.number"]),
        Index("power_limit_open", "gpu", unique=True, postgresql_where=text("lifted_at IS NULL")),
        Index("power_limit_of_attempt", "job_id", "attempt"),
    )


class PowerAbilityRow(SQLModel, table=True):
    """Whether power limits can be set at a site, as last seen; as in `gridflex.capping`."""

    __tablename__ = "power_ability"

    site: str = Field(primary_key=True)
    is_able: bool
    detail: str
    at: datetime = Field(sa_column=instant())


class ForecastRow(SQLModel, table=True):
    """One issued forecast, ours or a provider's, append-only."""

    __tablename__ = "forecast"

    id: int | None = Field(default=None, sa_column=counter())
    signal: str
    source: str
    origin: str
    region: str
    start: datetime = Field(sa_column=instant())
    values: list[float] = Field(sa_column=Column(ARRAY(Double), nullable=False))
    issued_at: datetime = Field(sa_column=instant())
    available_at: datetime = Field(sa_column=instant())
    quantiles: list[list[float]] | None = Field(
        default=None, sa_column=Column(ARRAY(Double, dimensions=2), nullable=True)
    )

    __table_args__ = (Index("forecast_newest", "signal", "region", "source", "available_at"),)


class PastForecastRow(SQLModel, table=True):
    """One forecast of the past, fetched after the fact, append-only.

    It was published at ``issued_at``, and at ``due_at`` at the latest as far as its source is
    known to be in time; the later of the two is when it could be known. ``available_at`` is when
    GridFlex had it.
    """

    __tablename__ = "past_forecast"

    id: int | None = Field(default=None, sa_column=counter())
    signal: str
    source: str
    origin: str
    region: str
    start: datetime = Field(sa_column=instant())
    values: list[float] = Field(sa_column=Column(ARRAY(Double), nullable=False))
    due_at: datetime = Field(sa_column=instant())
    issued_at: datetime = Field(sa_column=instant())
    available_at: datetime = Field(sa_column=instant())

    __table_args__ = (UniqueConstraint("signal", "region", "source", "due_at"),)


class ForecastModelRow(SQLModel, table=True):
    """One trained forecaster and where it came from, append-only."""

    __tablename__ = "forecast_model"

    id: int | None = Field(default=None, sa_column=counter())
    target: str
    model: str
    settings: Json = Field(sa_column=json_object())
    window_start: datetime = Field(sa_column=instant())
    window_end: datetime = Field(sa_column=instant())
    origin: str
    code_version: str
    metrics: Json = Field(sa_column=json_object())
    trained_at: datetime = Field(sa_column=instant())
    artefact_url: str
    artefact_sha256: str
    artefact_bytes: int = Field(sa_column=Column(BigInteger, nullable=False))

    __table_args__ = (Index("forecast_model_of_target", "target", "id"),)


class ForecastDecisionRow(SQLModel, table=True):
    """One change of the model that forecasts a target, append-only; a rollback is one too."""

    __tablename__ = "forecast_decision"

    id: int | None = Field(default=None, sa_column=counter())
    target: str
    act: str
    model_id: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    reason: str
    figures: Json = Field(sa_column=json_object())
    at: datetime = Field(sa_column=instant())

    __table_args__ = (
        ForeignKeyConstraint(
            ["model_id", "target"], ["forecast_model.id", "forecast_model.target"]
        ),
        Index("forecast_decision_of_target", "target", "id"),
    )


class ForecastRankRow(SQLModel, table=True):
    """How far ahead one source's forecast goes before the others', and why; append-only."""

    __tablename__ = "forecast_rank"

    id: int | None = Field(default=None, sa_column=counter())
    signal: str
    at: datetime = Field(sa_column=instant())
    source: str
    leads: list[str] = Field(sa_column=Column(JSONB, nullable=False))
    board: list[Json] = Field(sa_column=Column(JSONB, nullable=False))

    __table_args__ = (Index("forecast_rank_newest", "signal", "at"),)


class ForecastDoubtRow(SQLModel, table=True):
    """How far the sources of one signal have been off, as known at an instant; append-only."""

    __tablename__ = "forecast_doubt"

    id: int | None = Field(default=None, sa_column=counter())
    signal: str
    at: datetime = Field(sa_column=instant())
    doubts: list[Json] = Field(sa_column=Column(JSONB, nullable=False))

    __table_args__ = (Index("forecast_doubt_newest", "signal", "at"),)


class ObservationRow(SQLModel, table=True):
    """One outturn value as it was known from ``available_at`` on, append-only."""

    __tablename__ = "observation"

    signal: str = Field(primary_key=True)
    region: str = Field(primary_key=True)
    source: str = Field(primary_key=True)
    start: datetime = Field(sa_column=instant(primary_key=True))
    available_at: datetime = Field(sa_column=instant(primary_key=True))
    value: float = Field(sa_column=Column(Double, nullable=False))
    origin: str


class RawResponseRow(SQLModel, table=True):
    """One answer of an outside service as it arrived, append-only; old ones may be deleted."""

    __tablename__ = "raw_response"

    id: int | None = Field(default=None, sa_column=counter())
    provider: str
    url: str
    status: int
    fetched_at: datetime = Field(sa_column=instant())
    body_gzip: bytes = Field(sa_column=Column(LargeBinary, nullable=False))

    __table_args__ = (Index("raw_response_by_time", "fetched_at"),)


class EnergyRow(SQLModel, table=True):
    """Energy of one attempt in one half-hour, append-only."""

    __tablename__ = "energy"

    job_id: str = Field(sa_column=Column(String, ForeignKey("job.id"), primary_key=True))
    attempt: int = Field(primary_key=True)
    start: datetime = Field(sa_column=instant(primary_key=True))
    running_s: float = Field(sa_column=Column(Double, nullable=False))
    energy_kwh: float = Field(sa_column=Column(Double, nullable=False))
    method: str


class AgentRow(SQLModel, table=True):
    """The last sign of life of each agent."""

    __tablename__ = "agent"

    name: str = Field(primary_key=True)
    ticked_at: datetime = Field(sa_column=instant())
    ticked_wall: datetime = Field(sa_column=instant())
    detail: Json = Field(sa_column=json_object())
