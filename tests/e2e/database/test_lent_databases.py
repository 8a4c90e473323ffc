"""The databases that tests are lent: used again, and as empty as a new one."""

import psycopg
import pytest

from tests.e2e.conftest import Databases


@pytest.fixture(params=["embedded_databases", "system_databases"])
def databases(request: pytest.FixtureRequest) -> Databases:
    lent: Databases = request.getfixturevalue(request.param)
    return lent


def test_one_that_was_used_is_lent_again_empty(databases: Databases) -> None:
    with databases.one() as url, psycopg.connect(url, autocommit=True) as left_open:
        first = _record(left_open)
    with databases.one() as again, psycopg.connect(again) as connection:
        rows = connection.execute("SELECT count(*) FROM job_event").fetchone()
        second = _record(connection)

    assert again == url
    assert rows == (0,)
    assert first == second == 1


def test_one_whose_schema_was_changed_is_not_lent_again(databases: Databases) -> None:
    with databases.one() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE job_event DISABLE TRIGGER USER")
    with databases.one() as other:
        assert other != url


def _record(connection: psycopg.Connection) -> int:
    """Write into a table that is never emptied, and return the number it gave."""
    connection.execute("SET session_replication_role = replica")  # without the job it belongs to
    row = connection.execute(
        "INSERT INTO job_event (job_id, at, kind, detail) "
        "VALUES ('any', now(), 'submitted', '{}') RETURNING id"
    ).fetchone()
    assert row
    return int(row[0])
