"""The README's figures are those of the last run of each benchmark."""

import subprocess
import sys

from tests.shared import ROOT


def test_the_readme_shows_what_the_benchmarks_found() -> None:
    check = [sys.executable, "bench/readme_table.py", "--check"]

    done = subprocess.run(check, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
