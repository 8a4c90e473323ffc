"""An index of the ledger by half-hour: what is traded is looked up by when it is delivered."""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

SCHEMA = """
CREATE INDEX ledger_entry_of_half_hour ON ledger_entry (event_type, half_hour)
    WHERE half_hour IS NOT NULL;
"""


def upgrade() -> None:
    """Add it."""
    op.execute(SCHEMA)
