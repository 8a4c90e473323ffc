"""Power limits that are set on GPUs, and where they can be."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

SCHEMA = """
CREATE TABLE power_limit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    site text NOT NULL,
    node_id text NOT NULL,
    gpu text NOT NULL,
    job_id text NOT NULL,
    attempt integer NOT NULL,
    before_w double precision NOT NULL CHECK (before_w > 0),
    limit_w double precision NOT NULL CHECK (limit_w > 0),
    recorded_at timestamptz NOT NULL,
    set_at timestamptz CHECK (set_at >= recorded_at),
    lifted_at timestamptz CHECK (lifted_at >= recorded_at AND lifted_at >= set_at),
    FOREIGN KEY (job_id, attempt) REFERENCES attempt (job_id, number)
);
CREATE UNIQUE INDEX power_limit_open ON power_limit (gpu) WHERE lifted_at IS NULL;
CREATE INDEX power_limit_of_attempt ON power_limit (job_id, attempt);

CREATE FUNCTION check_power_limit_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.lifted_at IS NOT NULL OR (OLD.set_at IS NOT NULL AND NEW.set_at <> OLD.set_at)
        OR to_jsonb(NEW) - 'set_at' - 'lifted_at' <> to_jsonb(OLD) - 'set_at' - 'lifted_at' THEN
        RAISE EXCEPTION 'power limit % can only be set and lifted, once', OLD.id
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER power_limit_change BEFORE UPDATE ON power_limit
    FOR EACH ROW EXECUTE FUNCTION check_power_limit_change();
CREATE TRIGGER power_limit_never_deleted BEFORE DELETE ON power_limit
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER power_limit_never_emptied BEFORE TRUNCATE ON power_limit
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

CREATE TABLE power_ability (
    site text PRIMARY KEY,
    is_able boolean NOT NULL,
    detail text NOT NULL,
    at timestamptz NOT NULL
);
CREATE TRIGGER power_ability_changed AFTER INSERT OR UPDATE ON power_ability
    FOR EACH STATEMENT EXECUTE FUNCTION announce('power');
"""


def upgrade() -> None:
    """Add the tables."""
    op.execute(SCHEMA)
