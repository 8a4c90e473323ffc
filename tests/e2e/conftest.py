"""Real PostgreSQL for tests: the embedded server, and the system's own where it is installed."""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters import database
from gridflex.settings import Settings

TEMPLATE = "gridflex_template"


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
    """Empty databases on one server; the next one is made while a test uses the last.

    Args:
        server: URL of the server.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._worker = ThreadPoolExecutor(max_workers=1)
        self._next = self._worker.submit(self._make)
        self._drops: list[Future[None]] = []

    @contextmanager
    def one(self) -> Iterator[str]:
        """Lend the URL of one."""
        name = self._next.result()
        self._next = self._worker.submit(self._make)
        yield self._server.replace("/postgres?", f"/{name}?")
        self._drops.append(self._worker.submit(self._drop, name))

    def close(self) -> None:
        """Wait until all that were lent are gone."""
        self._worker.shutdown()
        for drop in self._drops:
            drop.result()

    def _make(self) -> str:
        name = f"test_{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE {TEMPLATE}')
        return name

    def _drop(self, name: str) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


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
