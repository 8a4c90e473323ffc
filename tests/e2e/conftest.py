"""Real PostgreSQL for tests: the embedded server, and the system's own where it is installed."""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters import database
from gridflex.settings import Settings

TEMPLATE = "gridflex_template"
SCHEMA = """
    SELECT c.relname, t.tgname, t.tgenabled, p.proname
    FROM pg_class c LEFT JOIN pg_trigger t ON t.tgrelid = c.oid
    LEFT JOIN pg_proc p ON p.oid = t.tgfoid
    WHERE c.relnamespace = 'public'::regnamespace ORDER BY 1, 2
"""
"""Tables, indexes and triggers; a test that changes them gets a database to itself."""
ALONE = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
CLEAR = """
    DO $$
    DECLARE name text; rows boolean;
    BEGIN
        SET LOCAL session_replication_role = replica;
        FOR name IN SELECT tablename FROM pg_tables
            WHERE schemaname = 'public' AND tablename <> 'alembic_version'
        LOOP
            EXECUTE format('SELECT EXISTS (SELECT FROM %I)', name) INTO rows;
            IF rows THEN EXECUTE format('DELETE FROM %I', name); END IF;
        END LOOP;
        PERFORM setval(format('%I', sequencename)::regclass, start_value, false)
            FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL;
    END $$
"""
"""Delete all rows, those that are never to be deleted among them, and count from 1 again."""


@pytest.fixture(scope="session")
def embedded_server() -> Iterator[str]:
    """The URL of an embedded server with the newest schema."""
    settings = Settings(state_dir=_own_folder())
    url = database.ensure_database(settings)
    _make_template(url)
    yield url
    database.stop_embedded(settings)
    shutil.rmtree(settings.state_dir, ignore_errors=True)


@pytest.fixture(scope="session")
def system_server() -> Iterator[str]:
    """The URL of a server started from the system's PostgreSQL, with the newest schema."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("the system has no PostgreSQL server")
    if os.geteuid() == 0 and shutil.which("runuser") is None:
        pytest.skip("PostgreSQL refuses to run as root and there is no runuser")
    server = _SystemServer(found[-1].parent)
    server.start()
    try:
        database.migrate(server.url)
        _make_template(server.url)
        yield server.url
    finally:
        server.stop()


def _own_folder() -> Path:
    """Return a new folder outside pytest's, which any later run of pytest closes to other users."""
    return Path(tempfile.mkdtemp(prefix="gridflex-pg-"))


class _SystemServer:
    """PostgreSQL as the system has it, on a socket."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._folder = _own_folder()
        self._data = self._folder / "data"
        self.url = f"postgresql://postgres@/postgres?host={self._folder}"

    def start(self) -> None:
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres", "postgres")
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "--auth=trust")
        options = f"-c listen_addresses='' -k {self._folder}"
        log = self._data / "log"
        self._run("pg_ctl", "-D", str(self._data), "-w", "-l", str(log), "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", str(self._data), "-m", "immediate", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        as_postgres = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        command = [*as_postgres, str(self._binaries / program), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd="/")


def _make_template(server: str) -> None:
    """Keep a copy that nobody connects to, so that it can be copied at any time."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
    elsewhere = server.replace("/postgres?", "/template1?")
    with psycopg.connect(elsewhere, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {TEMPLATE} TEMPLATE postgres")


class Databases:
    """Empty databases on one server; one that a test is done with is emptied for the next.

    Args:
        server: URL of the server.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._empty: list[str] = []
        self._schema = self._schema_of(TEMPLATE)

    @contextmanager
    def one(self) -> Iterator[str]:
        """Lend the URL of one."""
        name = self._empty.pop() if self._empty else self._make()
        yield self._url(name)
        if self._schema_of(name) == self._schema:
            self._clear(name)
            self._empty.append(name)
        else:
            self._drop(name)

    def close(self) -> None:
        """Drop them all."""
        for name in self._empty:
            self._drop(name)

    def _make(self) -> str:
        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE {TEMPLATE}')
        return name

    def _clear(self, name: str) -> None:
        with psycopg.connect(self._url(name)) as connection:
            connection.execute(ALONE)
            connection.execute(CLEAR)

    def _drop(self, name: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _schema_of(self, name: str) -> object:
        with psycopg.connect(self._url(name)) as connection:
            return connection.execute(SCHEMA).fetchall()

    def _url(self, name: str) -> str:
        return self._server.replace("/postgres?", f"/{name}?")


@pytest.fixture(scope="session")
def embedded_databases(embedded_server: str) -> Iterator[Databases]:
    """Those of the embedded server."""
    databases = Databases(embedded_server)
    yield databases
    databases.close()


@pytest.fixture(scope="session")
def system_databases(system_server: str) -> Iterator[Databases]:
    """Those of the system's own server."""
    databases = Databases(system_server)
    yield databases
    databases.close()


@pytest.fixture(params=["embedded_server", "system_server"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database of its own for one test, on each kind of server."""
    databases: Databases = request.getfixturevalue(request.param.replace("server", "databases"))
    with databases.one() as url:
        yield url


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Connections to the test's own database."""
    made = database.connect(database_url)
    yield made
    await made.dispose()
