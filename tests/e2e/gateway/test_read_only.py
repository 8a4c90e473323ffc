"""A database that answers and takes no changes: demoted after a failover, or full."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psycopg
import pytest
from psycopg import sql

from gridflex.adapters.wakeups import leading
from gridflex.errors import SourceError
from tests.e2e.world import ONE_SERVER, World


@ONE_SERVER
async def test_a_database_that_takes_no_changes_is_away_until_another_answers(
    world: World, http: httpx.AsyncClient
) -> None:
    body = {"entrypoint": "true", "metadata": {"gridflex.io/tier": "T2"}}
    with demoted(world.url):
        await world.engine.dispose()
        refused = await http.post("/api/jobs/", json=body)
        unready = await http.get("/readyz")
        read = await http.get("/api/jobs/")
        with pytest.raises(SourceError, match=r"connecting as agent: .*read-only"):
            async with leading(world.url, "agent"):
                pass

    await http.post("/api/jobs/", json=body)  # may meet a connection of before
    taken = await http.post("/api/jobs/", json=body)

    assert [one.status_code for one in (refused, unready, read, taken)] == [503, 503, 200, 200]
    assert "read-only transaction" in refused.json()["detail"]
    assert "database: it is read-only" in unready.json()["detail"]


@contextmanager
def demoted(url: str) -> Iterator[None]:
    """Have new connections take no changes, as those of a server that was demoted."""
    writes = "-c default_transaction_read_only=off"
    with psycopg.connect(url, options=writes, autocommit=True) as connection:
        connection.execute(_change("SET default_transaction_read_only = on"))
        try:
            yield
        finally:
            connection.execute(_change("RESET default_transaction_read_only"))


def _change(what: str) -> sql.SQL:
    told = f"format('ALTER DATABASE %I {what}', current_database())"
    return sql.SQL(f"DO $$ BEGIN EXECUTE {told}; END $$")
