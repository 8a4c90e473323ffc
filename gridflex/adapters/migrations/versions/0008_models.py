"""Trained forecasters, decisions about them, and whose forecast goes first."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SCHEMA = """
CREATE TABLE forecast_model (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target text NOT NULL CHECK (target <> ''),
    model text NOT NULL CHECK (model <> ''),
    settings jsonb NOT NULL,
    window_start timestamptz NOT NULL,
    window_end timestamptz NOT NULL CHECK (window_end > window_start),
    origin text NOT NULL,
    code_version text NOT NULL,
    metrics jsonb NOT NULL,
    trained_at timestamptz NOT NULL,
    artefact_url text NOT NULL,
    artefact_sha256 text NOT NULL CHECK (artefact_sha256 ~ '^[0-9a-f]{64}$'),
    artefact_bytes bigint NOT NULL CHECK (artefact_bytes > 0),
    UNIQUE (id, target)
);
CREATE INDEX forecast_model_of_target ON forecast_model (target, id);

CREATE TABLE forecast_decision (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target text NOT NULL,
    act text NOT NULL CHECK (act IN ('promote', 'roll back')),
    model_id bigint,
    reason text NOT NULL,
    figures jsonb NOT NULL,
    at timestamptz NOT NULL,
    FOREIGN KEY (model_id, target) REFERENCES forecast_model (id, target),
    CONSTRAINT forecast_decision_promotes_a_model CHECK (act <> 'promote' OR model_id IS NOT NULL)
);
CREATE INDEX forecast_decision_of_target ON forecast_decision (target, id);

CREATE TABLE forecast_rank (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    signal text NOT NULL,
    at timestamptz NOT NULL,
    source text NOT NULL,
    leads jsonb NOT NULL,
    board jsonb NOT NULL
);
CREATE INDEX forecast_rank_newest ON forecast_rank (signal, at);
"""

APPEND_ONLY = ("forecast_model", "forecast_decision", "forecast_rank")


def upgrade() -> None:
    """Create the tables."""
    op.execute(SCHEMA)
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_never_emptied BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
