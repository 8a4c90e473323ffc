"""On how many GPUs and under which power limit an attempt runs."""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

SCHEMA = """
ALTER TABLE attempt
    ADD COLUMN gpus integer CHECK (gpus >= 0),
    ADD COLUMN power_cap_fraction double precision NOT NULL DEFAULT 1
        CHECK (power_cap_fraction > 0 AND power_cap_fraction <= 1),
    ADD COLUMN speed_fraction double precision NOT NULL DEFAULT 1 CHECK (speed_fraction > 0);

CREATE OR REPLACE FUNCTION check_attempt_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state = 'ended' THEN
        RAISE EXCEPTION 'attempt % of job % has ended', OLD.number, OLD.job_id
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.job_id <> OLD.job_id OR NEW.number <> OLD.number OR NEW.ray_id <> OLD.ray_id
        OR NEW.site <> OLD.site OR NEW.decided_at <> OLD.decided_at
        OR NEW.gpus IS DISTINCT FROM OLD.gpus
        OR NEW.power_cap_fraction <> OLD.power_cap_fraction
        OR NEW.speed_fraction <> OLD.speed_fraction THEN
        RAISE EXCEPTION 'what was decided as attempt % of job % cannot change',
            OLD.number, OLD.job_id USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.state = 'decided' AND OLD.state <> 'decided' THEN
        RAISE EXCEPTION 'attempt % of job % cannot go from % to decided',
            OLD.number, OLD.job_id, OLD.state USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
"""


def upgrade() -> None:
    """Add the columns."""
    op.execute(SCHEMA)
