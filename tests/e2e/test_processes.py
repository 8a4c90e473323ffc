"""Processes of one's own, as they are started and ended."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from gridflex.errors import SourceError
from gridflex.running import processes
from gridflex.running.processes import Leader

SERVER = """
import http.server, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
address, handler = ("127.0.0.1", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler
http.server.HTTPServer(address, handler).serve_forever()
"""


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own that nobody here may end."""
    with subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
    ) as process:
        yield process
        process.kill()


def test_a_server_ends_with_all_that_it_started(tmp_path: Path) -> None:
    port = processes.free_port()
    command = [sys.executable, "-c", SERVER, str(port)]

    url = f"http://127.0.0.1:{port}/"
    pid = processes.start(command, log=tmp_path / "log", ready_url=url)
    members, answered = processes.session(pid), processes.answers(url)
    processes.end(pid)

    assert len(members) == 2
    assert answered
    assert processes.session(pid) == []
    assert processes.is_free(port)


def test_a_server_that_does_not_start_says_its_last_words(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such database')"]

    with pytest.raises(SourceError, match=r"ended with code 1; its last words.*no such database"):
        processes.start(command, log=tmp_path / "log", ready_url="http://127.0.0.1:9/")


def test_a_process_that_has_got_the_number_of_ours_is_left_alone(
    sleeper: subprocess.Popen[bytes],
) -> None:
    ours = Leader.of(sleeper.pid)

    Leader(ours.pid, ours.created_s - 3600).end()
    assert sleeper.poll() is None

    ours.end()
    assert sleeper.wait(timeout=60) != 0


def test_who_waits_in_vain_is_told_what_was_answered_instead() -> None:
    class Waiting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.end_headers()
            self.wfile.write(b"orchestrator has not ticked yet")

    with HTTPServer(("127.0.0.1", 0), Waiting) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/"
        with pytest.raises(SourceError, match=r"not get ready in 0.1 s; it says: orchestrator has"):
            processes.wait_until_ready(url, 0.1, what=url)
        server.shutdown()
