"""What a plan expected of each site, apart from its inputs; and what may be removed when old.

Raw responses a day older than the newest may be deleted. A plan that is neither among the newest
nor unknown to the ledger may lose its inputs. Nothing else of either ever changes.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

SCHEMA = """
ALTER TABLE plan ADD COLUMN outlooks jsonb, ALTER COLUMN inputs DROP NOT NULL;
DROP TRIGGER plan_append_only ON plan;
UPDATE plan SET outlooks = inputs->'sites';
CREATE FUNCTION check_plan_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR NEW.inputs IS NOT NULL
        OR (NEW.id, NEW.made_at, NEW.start, NEW.reason, NEW.result, NEW.outlooks)
            IS DISTINCT FROM (OLD.id, OLD.made_at, OLD.start, OLD.reason, OLD.result, OLD.outlooks)
    THEN
        RAISE EXCEPTION 'plan is append-only' USING ERRCODE = 'restrict_violation';
    END IF;
    IF OLD.made_at > (SELECT made_at - interval '1 day' FROM plan ORDER BY id DESC LIMIT 1)
        OR NOT EXISTS (SELECT FROM ledger_entry WHERE id = 'plan:' || OLD.id) THEN
        RAISE EXCEPTION 'the inputs of plan % are still needed', OLD.id
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER plan_append_only BEFORE UPDATE OR DELETE ON plan
    FOR EACH ROW EXECUTE FUNCTION check_plan_change();

CREATE INDEX raw_response_by_time ON raw_response (fetched_at);
DROP TRIGGER raw_response_append_only ON raw_response;
CREATE FUNCTION check_response_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE'
        OR OLD.fetched_at > (SELECT max(fetched_at) - interval '1 day' FROM raw_response) THEN
        RAISE EXCEPTION 'raw_response is append-only' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER raw_response_append_only BEFORE UPDATE OR DELETE ON raw_response
    FOR EACH ROW EXECUTE FUNCTION check_response_change();
"""


def upgrade() -> None:
    """Add the column and the rules."""
    op.execute(SCHEMA)
