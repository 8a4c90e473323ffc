"""The embedded server when it dies."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from gridflex.adapters import database
from gridflex.running.check import run_checks
from gridflex.settings import Settings


@pytest.fixture
def settings() -> Iterator[Settings]:
    """Of a server of its own that runs."""
    found = Settings(state_dir=Path(tempfile.mkdtemp(prefix="gridflex-pg-")))
    database.ensure_database(found)
    yield found
    database.stop_embedded(found)
    shutil.rmtree(found.state_dir, ignore_errors=True)


def test_a_killed_server_is_started_again_with_all_that_was_committed(settings: Settings) -> None:
    url = database.psycopg_url(database.ensure_database(settings))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    postmaster = _postmaster(settings)

    os.kill(postmaster.pid, signal.SIGKILL)
    psutil.wait_procs([postmaster], timeout=60)
    database.keep_embedded(settings)

    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    assert _postmaster(settings).pid != postmaster.pid


def test_a_server_that_runs_is_left_alone(settings: Settings) -> None:
    before = _postmaster(settings).pid

    database.keep_embedded(settings)

    assert _postmaster(settings).pid == before


def test_a_server_of_others_is_not_ours_to_start(tmp_path: Path) -> None:
    database.keep_embedded(Settings(state_dir=tmp_path, database_url="postgresql://db.test/x"))

    assert not list(tmp_path.iterdir())


def _postmaster(settings: Settings) -> psutil.Process:
    lines = (settings.state_path / "postgresql" / "postmaster.pid").read_text().splitlines()
    return psutil.Process(int(lines[0]))


def test_a_check_leaves_the_server_as_it_was(settings: Settings) -> None:
    nobody = "http://127.0.0.1:9"
    grid = settings.grid.model_copy(
        update={
            "carbon_intensity_url": nobody,
            "elexon_url": nobody,
            "octopus_url": nobody,
            "nord_pool_url": nobody,
        }
    )
    away = settings.model_copy(update={"grid": grid})
    running = run_checks(away)
    kept = database.runs_embedded(settings)
    database.stop_embedded(settings)

    ended = run_checks(away)

    assert running[0].is_ok
    assert ended[0].is_ok
    assert {"carbon intensity", "Elexon", "Octopus", "Nord Pool"} <= {
        check.name for check in running if not check.is_ok
    }
    assert kept
    assert not database.runs_embedded(settings)
