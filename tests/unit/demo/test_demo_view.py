"""What the demo prints fits a terminal, and says where and when its numbers are from."""

import io
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from rich.console import Console

from gridflex.demo.check import TIMELY, Promise
from gridflex.demo.report import DemoReport
from gridflex.demo.view import Day, print_report
from gridflex.halfhour import HalfHour
from gridflex.report import Account, Row
from gridflex.signals import Band, Blend, Origin, Signal

START = HalfHour(datetime(2024, 10, 11, 6, tzinfo=UTC))
ROW = Row(
    name="T3", jobs=7, met=7,
    ran=Account(energy_kwh=1512.4, cost_gbp=101.32, carbon_kg=187.2),
    run_now=Account(energy_kwh=1498.0, cost_gbp=143.06, carbon_kg=301.9),
    mean_wait=timedelta(hours=11.3), mean_wait_now=timedelta(0),
    pauses=12, redone=timedelta(minutes=128),
)  # fmt: skip
REPORT = DemoReport(
    start=START, half_hours=48, half_hour_s=5.0, grid_origin="recorded", gpus=96,
    carbon_price_gbp_per_tco2=80.0, rows=(ROW, replace(ROW, name="all", jobs=32, met=31)),
    ran_gbp=116.3, run_now_gbp=167.2, bound_gbp=108.0, busy_fraction=0.6, t0_start_s={},
    redone_batches=0, batches=100, promises=(),
)  # fmt: skip


def blend(signal: Signal, value: float, origin: Origin) -> Blend:
    return Blend(
        signal=signal, start=START, values=np.array([value]), rungs=np.zeros(1, dtype=np.int8),
        sources=("x",), regions=("GB",), ages_s=np.zeros(1), origins=(origin,),
        quantiles=np.full((1, 9), np.nan), bands=(Band.NONE,),
    )  # fmt: skip


def test_every_row_of_the_table_fits_into_80_columns_whole() -> None:
    console = Console(file=io.StringIO(), width=80)

    print_report(console, REPORT)

    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    (row,) = [line.split() for line in lines if line.strip().startswith("T3")]
    (everything,) = [line.split() for line in lines if line.strip().startswith("all")]
    assert row == [
        *("T3", "7/7", "1498→1512", "143.06→101.32", "-29%", "302→187", "-38%"),
        *("0.0→11.3", "12", "128", "min"),
    ]
    assert everything[:2] == ["all", "31/32"]


def test_a_job_that_was_late_is_told_with_what_gives_ray_more_time() -> None:
    console = Console(file=io.StringIO(), width=80)
    late = replace(REPORT, promises=(Promise(TIMELY, ("demo-1 ended at 23:12",)),))

    print_report(console, late)

    assert isinstance(console.file, io.StringIO)
    assert "--half-hour-s 15" in console.file.getvalue()


@pytest.mark.parametrize("origin", [Origin.RECORDED, Origin.SIMULATED])
def test_a_line_of_progress_says_utc_and_what_its_grid_rests_on(origin: Origin) -> None:
    grid = (blend(Signal.INTENSITY, 120.0, Origin.LIVE), blend(Signal.PRICE, 85.0, origin))

    line = Day(START, 48, 32, 96).line(START.start, [], grid)

    assert line.startswith(f"Fri 06:00 UTC    85 GBP/MWh 120 gCO2/kWh {origin}  GPUs  0/96")
    assert "jobs  0/32" in line
