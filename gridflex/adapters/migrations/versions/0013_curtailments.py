"""Orders to free power that are carried out."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

SCHEMA = """
CREATE TABLE curtailment (
    id text PRIMARY KEY CHECK (id <> ''),
    placed_at timestamptz NOT NULL,
    until timestamptz NOT NULL CHECK (until > placed_at),
    request jsonb NOT NULL,
    jobs jsonb NOT NULL,
    limits_kw jsonb NOT NULL,
    ended_at timestamptz CHECK (ended_at >= placed_at),
    recorded_wall timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX curtailment_by_end ON curtailment (until);

CREATE FUNCTION check_curtailment_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.ended_at IS NOT NULL OR to_jsonb(NEW) - 'ended_at' <> to_jsonb(OLD) - 'ended_at' THEN
        RAISE EXCEPTION 'curtailment % can only be ended, once', OLD.id
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER curtailment_change BEFORE UPDATE ON curtailment
    FOR EACH ROW EXECUTE FUNCTION check_curtailment_change();
CREATE TRIGGER curtailment_never_deleted BEFORE DELETE ON curtailment
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER curtailment_never_emptied BEFORE TRUNCATE ON curtailment
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER curtailment_changed AFTER INSERT OR UPDATE ON curtailment
    FOR EACH STATEMENT EXECUTE FUNCTION announce('curtailment');
"""


def upgrade() -> None:
    """Add the table."""
    op.execute(SCHEMA)
