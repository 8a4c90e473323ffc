"""Details of receipts, whose digests the ledger holds; readings found by time."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = """
CREATE TABLE receipt (
    ledger_index bigint PRIMARY KEY REFERENCES ledger_entry (index),
    job_id text NOT NULL,
    details jsonb NOT NULL
);
CREATE INDEX receipt_of_job ON receipt (job_id, ledger_index);
CREATE INDEX energy_by_start ON energy (start);
CREATE TRIGGER receipt_append_only BEFORE UPDATE OR DELETE ON receipt
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""


def upgrade() -> None:
    """Create the table of receipts."""
    op.execute(SCHEMA)
