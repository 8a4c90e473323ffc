"""The front of each plan: what other plans would trade off."""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SCHEMA = """
CREATE TABLE plan_front (
    plan_id bigint PRIMARY KEY REFERENCES plan (id),
    recorded_wall timestamptz NOT NULL DEFAULT now(),
    front jsonb NOT NULL
);
CREATE TRIGGER plan_front_append_only BEFORE UPDATE OR DELETE ON plan_front
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER plan_front_never_emptied BEFORE TRUNCATE ON plan_front
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    """Add the table."""
    op.execute(SCHEMA)
