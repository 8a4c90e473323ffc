"""Beckn messages with their answers, what is still to be done with them, contracts and holds."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SCHEMA = """
CREATE TABLE beckn_message (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    way text NOT NULL CHECK (way IN ('in', 'out')),
    is_callback boolean NOT NULL,
    action text NOT NULL,
    transaction_id uuid NOT NULL,
    message_id uuid NOT NULL,
    peer text NOT NULL,
    url text,
    signature text NOT NULL,
    authorization_header text NOT NULL,
    answers text,
    body bytea NOT NULL,
    at timestamptz NOT NULL,
    reply_status integer,
    reply_body bytea,
    reply_signature text,
    CONSTRAINT beckn_message_in_was_answered
        CHECK ((way = 'in') = (reply_status IS NOT NULL AND reply_body IS NOT NULL)),
    CONSTRAINT beckn_message_out_has_a_place CHECK ((way = 'out') = (url IS NOT NULL))
);
CREATE UNIQUE INDEX beckn_request_once ON beckn_message (peer, message_id)
    WHERE way = 'in' AND NOT is_callback;
CREATE UNIQUE INDEX beckn_callback_once ON beckn_message (peer, message_id, md5(signature))
    WHERE way = 'in' AND is_callback;
CREATE UNIQUE INDEX beckn_request_sent ON beckn_message (message_id)
    WHERE way = 'out' AND NOT is_callback;
CREATE INDEX beckn_message_of_transaction ON beckn_message (transaction_id, id);

CREATE TABLE beckn_delivery (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message bigint NOT NULL REFERENCES beckn_message (id),
    at timestamptz NOT NULL,
    status integer,
    body bytea NOT NULL,
    signature text,
    is_genuine boolean,
    failure text
);
CREATE INDEX beckn_delivery_of_message ON beckn_delivery (message);

CREATE TABLE beckn_task (
    message bigint PRIMARY KEY REFERENCES beckn_message (id),
    kind text NOT NULL CHECK (kind IN ('handle', 'send')),
    due_at timestamptz NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    done_at timestamptz,
    failure text
);
CREATE INDEX beckn_task_open ON beckn_task (kind, due_at) WHERE done_at IS NULL;

CREATE TABLE beckn_contract (
    transaction_id uuid NOT NULL,
    side text NOT NULL CHECK (side IN ('bap', 'bpp')),
    stage text NOT NULL,
    is_final boolean NOT NULL,
    contract_id text,
    peer text NOT NULL,
    opened_at timestamptz NOT NULL,
    due_at timestamptz,
    state jsonb NOT NULL,
    PRIMARY KEY (transaction_id, side)
);
CREATE INDEX beckn_contract_open ON beckn_contract (side, opened_at) WHERE NOT is_final;
CREATE INDEX beckn_contract_due ON beckn_contract (due_at) WHERE due_at IS NOT NULL;

CREATE TABLE beckn_hold (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    transaction_id uuid NOT NULL,
    thing text NOT NULL,
    start timestamptz NOT NULL,
    half_hours integer NOT NULL CHECK (half_hours >= 1),
    energy_kwh double precision NOT NULL CHECK (energy_kwh >= 0),
    freed boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX beckn_hold_once ON beckn_hold (thing) WHERE NOT freed;
CREATE INDEX beckn_hold_of_transaction ON beckn_hold (transaction_id);

CREATE FUNCTION check_beckn_contract() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.is_final AND NEW.stage <> OLD.stage THEN
        RAISE EXCEPTION 'contract % ended as %, it cannot become %',
            OLD.transaction_id, OLD.stage, NEW.stage USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER beckn_contract_stays_final BEFORE UPDATE ON beckn_contract
    FOR EACH ROW EXECUTE FUNCTION check_beckn_contract();

CREATE TRIGGER beckn_task_arrived AFTER INSERT ON beckn_task
    FOR EACH STATEMENT EXECUTE FUNCTION announce('beckn');
CREATE TRIGGER beckn_hold_changed AFTER INSERT OR UPDATE ON beckn_hold
    FOR EACH STATEMENT EXECUTE FUNCTION announce('hold');
"""

APPEND_ONLY = ("beckn_message", "beckn_delivery")


def upgrade() -> None:
    """Create the tables of the Beckn participant."""
    op.execute(SCHEMA)
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
