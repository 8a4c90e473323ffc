"""How far sources of forecasts have been off."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

SCHEMA = """
CREATE TABLE forecast_doubt (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    signal text NOT NULL,
    at timestamptz NOT NULL,
    doubts jsonb NOT NULL
);
CREATE INDEX forecast_doubt_newest ON forecast_doubt (signal, at);
CREATE TRIGGER forecast_doubt_append_only BEFORE UPDATE OR DELETE ON forecast_doubt
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER forecast_doubt_never_emptied BEFORE TRUNCATE ON forecast_doubt
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(SCHEMA)
