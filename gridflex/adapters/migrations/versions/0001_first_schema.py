"""Jobs, attempts, events, plans, forecasts, observations, energy and agents."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SCHEMA = """
CREATE TABLE job (
    id text PRIMARY KEY CHECK (id <> ''),
    seq bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    state text NOT NULL
        CHECK (state IN ('held', 'running', 'paused', 'succeeded', 'failed', 'stopped')),
    submitted_at timestamptz NOT NULL,
    request jsonb NOT NULL,
    flexibility jsonb NOT NULL,
    message text,
    stop_requested_at timestamptz,
    ended_at timestamptz,
    deleted_at timestamptz,
    CONSTRAINT job_ended_when_final
        CHECK ((ended_at IS NOT NULL) = (state IN ('succeeded', 'failed', 'stopped'))),
    CONSTRAINT job_deleted_only_when_ended CHECK (deleted_at IS NULL OR ended_at IS NOT NULL)
);
CREATE INDEX job_open ON job (seq) WHERE ended_at IS NULL;

CREATE TABLE attempt (
    job_id text NOT NULL REFERENCES job (id),
    number integer NOT NULL CHECK (number >= 1),
    ray_id text NOT NULL UNIQUE,
    site text NOT NULL,
    state text NOT NULL CHECK (state IN ('decided', 'submitted', 'running', 'stopping', 'ended')),
    decided_at timestamptz NOT NULL,
    started_at timestamptz,
    stop_asked_at timestamptz,
    stop_reason text CHECK (stop_reason IN ('pause', 'stop')),
    ended_at timestamptz,
    outcome text CHECK (outcome IN ('succeeded', 'failed', 'stopped', 'lost')),
    driver jsonb,
    PRIMARY KEY (job_id, number),
    CONSTRAINT attempt_ended_with_outcome
        CHECK ((state = 'ended') = (ended_at IS NOT NULL AND outcome IS NOT NULL))
);
CREATE UNIQUE INDEX attempt_one_live ON attempt (job_id) WHERE state <> 'ended';

CREATE TABLE job_event (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id text NOT NULL REFERENCES job (id),
    at timestamptz NOT NULL,
    recorded_wall timestamptz NOT NULL DEFAULT now(),
    kind text NOT NULL,
    detail jsonb NOT NULL
);
CREATE INDEX job_event_of_job ON job_event (job_id, id);

CREATE TABLE plan (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    made_at timestamptz NOT NULL,
    start timestamptz NOT NULL,
    reason text NOT NULL,
    result jsonb NOT NULL,
    inputs jsonb NOT NULL
);

CREATE TABLE plan_run (
    plan_id bigint NOT NULL REFERENCES plan (id),
    job_id text NOT NULL REFERENCES job (id),
    start timestamptz NOT NULL,
    half_hours integer NOT NULL CHECK (half_hours >= 1),
    site text NOT NULL,
    gpus integer NOT NULL CHECK (gpus >= 0),
    PRIMARY KEY (plan_id, job_id, start)
);

CREATE TABLE forecast (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    signal text NOT NULL,
    source text NOT NULL,
    origin text NOT NULL,
    region text NOT NULL,
    start timestamptz NOT NULL,
    values double precision[] NOT NULL CHECK (cardinality(values) > 0),
    issued_at timestamptz NOT NULL,
    available_at timestamptz NOT NULL
);
CREATE INDEX forecast_newest ON forecast (signal, region, source, available_at DESC);

CREATE TABLE observation (
    signal text NOT NULL,
    region text NOT NULL,
    source text NOT NULL,
    start timestamptz NOT NULL,
    available_at timestamptz NOT NULL,
    value double precision NOT NULL CHECK (value <> 'NaN'),
    origin text NOT NULL,
    PRIMARY KEY (signal, region, source, start, available_at)
);

CREATE TABLE raw_response (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider text NOT NULL,
    url text NOT NULL,
    status integer NOT NULL,
    fetched_at timestamptz NOT NULL,
    body_gzip bytea NOT NULL
);

CREATE TABLE energy (
    job_id text NOT NULL,
    attempt integer NOT NULL,
    start timestamptz NOT NULL,
    running_s double precision NOT NULL CHECK (running_s >= 0 AND running_s <= 1800),
    energy_kwh double precision NOT NULL,
    method text NOT NULL CHECK (method IN ('measured', 'modelled', 'declared')),
    PRIMARY KEY (job_id, attempt, start),
    FOREIGN KEY (job_id, attempt) REFERENCES attempt (job_id, number)
);

CREATE TABLE agent (
    name text PRIMARY KEY,
    ticked_at timestamptz NOT NULL,
    ticked_wall timestamptz NOT NULL,
    detail jsonb NOT NULL
);

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END $$;

CREATE FUNCTION check_job_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state <> OLD.state AND NOT (
        (OLD.state = 'held' AND NEW.state IN ('running', 'succeeded', 'failed', 'stopped'))
        OR (OLD.state = 'running' AND NEW.state IN ('paused', 'succeeded', 'failed', 'stopped'))
        OR (OLD.state = 'paused' AND NEW.state IN ('running', 'succeeded', 'failed', 'stopped'))
    ) THEN
        RAISE EXCEPTION 'job % cannot go from % to %', OLD.id, OLD.state, NEW.state
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.id <> OLD.id OR NEW.request <> OLD.request OR NEW.submitted_at <> OLD.submitted_at
        OR NEW.flexibility <> OLD.flexibility THEN
        RAISE EXCEPTION 'what was submitted as job % cannot change', OLD.id
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER job_change BEFORE UPDATE ON job
    FOR EACH ROW EXECUTE FUNCTION check_job_change();
CREATE TRIGGER job_never_deleted BEFORE DELETE ON job
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE FUNCTION announce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('gridflex', TG_ARGV[0]);
    RETURN NULL;
END $$;
CREATE TRIGGER job_arrived AFTER INSERT ON job
    FOR EACH STATEMENT EXECUTE FUNCTION announce('job');
CREATE TRIGGER job_stop_requested AFTER UPDATE OF stop_requested_at ON job
    FOR EACH STATEMENT EXECUTE FUNCTION announce('stop');
CREATE TRIGGER job_ended AFTER UPDATE OF ended_at ON job
    FOR EACH STATEMENT EXECUTE FUNCTION announce('ended');
CREATE TRIGGER plan_committed AFTER INSERT ON plan
    FOR EACH STATEMENT EXECUTE FUNCTION announce('plan');
CREATE TRIGGER forecast_arrived AFTER INSERT ON forecast
    FOR EACH STATEMENT EXECUTE FUNCTION announce('forecast');
"""

APPEND_ONLY = ("job_event", "plan", "plan_run", "forecast", "observation", "raw_response", "energy")


def upgrade() -> None:
    """Create the first schema."""
    op.execute(SCHEMA)
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_change()"
        )
