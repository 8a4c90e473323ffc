"""Indexes for what is looked up all the time, and the power cap of a planned run."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SCHEMA = """
CREATE INDEX job_by_end ON job (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX job_run_times ON job (md5(request->>'entrypoint'), ended_at DESC)
    WHERE state = 'succeeded';
CREATE INDEX plan_run_of_job ON plan_run (job_id, plan_id);
ALTER TABLE plan_run ADD COLUMN power_cap_fraction double precision NOT NULL DEFAULT 1
    CHECK (power_cap_fraction > 0 AND power_cap_fraction <= 1);
"""


def upgrade() -> None:
    """Add them."""
    op.execute(SCHEMA)
