"""Forecasts of the past, fetched after the fact: apart from those that GridFlex had in time."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

SCHEMA = """
CREATE TABLE past_forecast (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    signal text NOT NULL,
    source text NOT NULL,
    origin text NOT NULL,
    region text NOT NULL,
    start timestamptz NOT NULL,
    "values" double precision[] NOT NULL CHECK (cardinality("values") > 0),
    due_at timestamptz NOT NULL,
    issued_at timestamptz NOT NULL,
    available_at timestamptz NOT NULL,
    CHECK (due_at <= available_at AND issued_at <= available_at),
    UNIQUE (signal, region, source, due_at)
);
CREATE TRIGGER past_forecast_append_only BEFORE UPDATE OR DELETE ON past_forecast
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER past_forecast_never_emptied BEFORE TRUNCATE ON past_forecast
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(SCHEMA)
