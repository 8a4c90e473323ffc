"""The notebooks run from top to bottom, with recorded data and without."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.shared import ROOT, shared_data

EXECUTE = Path(sys.executable).parent / "jupyter-execute"


def run(notebook: str, folder: Path, *, shared: Path) -> str:
    """Run a copy of a notebook with its small settings; return all that it printed."""
    copy = shutil.copy(ROOT / "notebooks" / notebook, folder)
    environment = {
        **os.environ,
        "GRIDFLEX_NOTEBOOK": "small",
        "GRIDFLEX_SHARED": str(shared),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_PLATFORM_DIRS": "1",
        "MPLBACKEND": "agg",
        "PYTHONPATH": str(ROOT),
    }
    ran = subprocess.run(
        [EXECUTE, "--inplace", copy], env=environment, capture_output=True, text=True, timeout=300,
        check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-3000:]
    cells = json.loads(Path(copy).read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return "".join("".join(output.get("text", [])) for output in outputs)


def test_forecasting_without_recorded_data_says_that_it_is_simulated(tmp_path: Path) -> None:
    printed = run("forecasting.ipynb", tmp_path, shared=tmp_path / "nothing")

    assert "SIMULATED" in printed
    assert "lstm" in printed
    assert "No forecast knew the future" in printed


def test_forecasting_with_recorded_data(tmp_path: Path) -> None:
    folder = shared_data("grid", "gb_master_hh.parquet").parents[2]

    printed = run("forecasting.ipynb", tmp_path, shared=folder)

    assert "recorded, Great Britain" in printed
    assert "No forecast knew the future" in printed


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_a_notebook_is_committed_without_outputs(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]

    assert cells
    assert not any(cell.get("outputs") for cell in cells)
