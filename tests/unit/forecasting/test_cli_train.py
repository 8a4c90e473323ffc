"""What ``gridflex train`` prints, without a database."""

import pytest

from gridflex.cli import train
from gridflex.cli.fitting import print_fitting
from gridflex.cli.output import out

FIGURES = {"mae": 114.17, "rmse": 118.5, "bias": -73.0, "pinball": 17.1, "cover_90_fraction": 1.0}
TIMES = {"fit_s": 15.02, "predict_ms": 37.51}
NOTE = "8 settings tried, 3 given up early"


@pytest.mark.parametrize("name", ["climatology", "persistence", "lightgbm"])
def test_a_comparison_fits_a_terminal_of_80_columns_with_every_word_whole(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(out, "_width", 80)
    rows = [{"name": name, "figures": FIGURES | TIMES, "note": NOTE}]

    print_fitting(out, train.COMPARED, [train._compared_row(row) for row in rows])

    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    shown = " ".join(" ".join(lines).split())
    for word in (name, "114.17", "quantile loss", "17.10", "100%", "note"):
        assert word in shown
    assert "…" not in shown
