"""The ledger: entries, hash tiles, checkpoints and their timestamps, none ever changed."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

SCHEMA = """
CREATE TABLE ledger_entry (
    index bigint PRIMARY KEY CHECK (index >= 0),
    id text NOT NULL UNIQUE CHECK (id <> ''),
    event_type text NOT NULL,
    subject text,
    half_hour timestamptz,
    recorded_at timestamptz NOT NULL,
    entry bytea NOT NULL CHECK (octet_length(entry) <= 65535),
    leaf bytea NOT NULL CHECK (octet_length(leaf) = 32)
);
CREATE INDEX ledger_entry_of_type ON ledger_entry (event_type, index);
CREATE INDEX ledger_entry_of_subject ON ledger_entry (subject, index);

CREATE TABLE ledger_tile (
    level integer NOT NULL CHECK (level >= 0),
    index bigint NOT NULL CHECK (index >= 0),
    hashes bytea NOT NULL CHECK (octet_length(hashes) = 8192),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    PRIMARY KEY (level, index)
);

CREATE TABLE ledger_checkpoint (
    size bigint PRIMARY KEY CHECK (size >= 0),
    signed_at timestamptz NOT NULL,
    note text NOT NULL
);

CREATE TABLE ledger_timestamp (
    size bigint NOT NULL REFERENCES ledger_checkpoint (size),
    authority text NOT NULL,
    stamped_at timestamptz NOT NULL,
    token bytea NOT NULL,
    PRIMARY KEY (size, authority)
);
"""

APPEND_ONLY = ("ledger_entry", "ledger_tile", "ledger_checkpoint", "ledger_timestamp")


def upgrade() -> None:
    """Create the ledger's tables."""
    op.execute(SCHEMA)
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
        op.execute(
            f"CREATE TRIGGER {table}_never_emptied BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
