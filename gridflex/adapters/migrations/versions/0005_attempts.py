"""Attempts that have ended never change, and nothing append-only is emptied."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = """
CREATE FUNCTION check_attempt_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.state = 'ended' THEN
        RAISE EXCEPTION 'attempt % of job % has ended', OLD.number, OLD.job_id
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.job_id <> OLD.job_id OR NEW.number <> OLD.number OR NEW.ray_id <> OLD.ray_id
        OR NEW.site <> OLD.site OR NEW.decided_at <> OLD.decided_at THEN
        RAISE EXCEPTION 'what was decided as attempt % of job % cannot change',
            OLD.number, OLD.job_id USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.state = 'decided' AND OLD.state <> 'decided' THEN
        RAISE EXCEPTION 'attempt % of job % cannot go from % to decided',
            OLD.number, OLD.job_id, OLD.state USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER attempt_change BEFORE UPDATE ON attempt
    FOR EACH ROW EXECUTE FUNCTION check_attempt_change();
CREATE TRIGGER attempt_never_deleted BEFORE DELETE ON attempt
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
"""

KEPT = (
    *("job", "attempt", "job_event", "plan", "plan_run"),
    *("forecast", "observation", "raw_response", "energy"),
)


def upgrade() -> None:
    """Add the rules."""
    op.execute(SCHEMA)
    for table in KEPT:
        op.execute(
            f"CREATE TRIGGER {table}_never_emptied BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
