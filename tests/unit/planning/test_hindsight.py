"""The bound that is known afterwards."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.fleet import Site
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId, Tier
from gridflex.planning.hindsight import FinishedJob, hindsight_bound_gbp
from gridflex.planning.problem import SiteOutlook

START = HalfHour(datetime(2026, 7, 1, tzinfo=UTC))
HALF = timedelta(minutes=30)


def finished(
    name: str = "a",
    *,
    run: float,
    until: float = 4.0,
    submitted: float = 0.0,
    gpus: int = 4,
    interruptible: bool = True,
) -> FinishedJob:
    return FinishedJob(
        id=JobId(name), tier=Tier.T3, submitted_at=START.start + submitted * HALF,
        until=START.start + until * HALF, run_time=run * HALF, gpus=gpus, power_kw=2.0,
        site="local", interruptible=interruptible,
    )  # fmt: skip


def bound(*jobs: FinishedJob, prices: Sequence[float], gpus: int = 8) -> float:
    outlook = SiteOutlook(
        site=Site("local", gpus, "H100"),
        price_gbp_per_mwh=np.array(prices, dtype=float),
        intensity_gco2_per_kwh=np.full(len(prices), 100.0),
        free_gpus=np.full(len(prices), float(gpus)),
    )
    return hindsight_bound_gbp(jobs, [outlook], start=START, carbon_price_gbp_per_tco2=0.0)


# A job of 2 kW uses 1 kWh in a half-hour; at 1000 GBP/MWh that costs 1 GBP.


def test_a_job_that_may_pause_is_bounded_by_its_cheapest_half_hours() -> None:
    assert bound(finished(run=2), prices=(5e3, 1e3, 7e3, 2e3)) == pytest.approx(3.0)


def test_a_job_that_may_not_is_bounded_by_its_cheapest_stretch() -> None:
    through = finished(run=2, interruptible=False)

    assert bound(through, prices=(5e3, 1e3, 7e3, 2e3)) == pytest.approx(6.0)


def test_what_does_not_fill_a_half_hour_counts_at_the_cheapest() -> None:
    assert bound(finished(run=2.5), prices=(5e3, 1e3, 7e3, 2e3)) == pytest.approx(3.5)
    assert bound(finished(run=0.5), prices=(5e3, 1e3, 7e3, 2e3)) == pytest.approx(0.5)


def test_half_hours_outside_the_job_s_window_do_not_count() -> None:
    late = finished(run=1, submitted=2.2, until=3.5)

    assert bound(late, prices=(1e3, 1e3, 7e3, 2e3)) == pytest.approx(2.0)
    assert bound(finished(run=1, until=1.0), prices=(7e3, 1e3, 1e3, 1e3)) == pytest.approx(7.0)


def test_jobs_that_need_all_gpus_cannot_share_the_cheapest_half_hour() -> None:
    jobs = [finished(name, run=1, gpus=8) for name in "ab"]

    assert bound(*jobs, prices=(5e3, 1e3, 7e3, 2e3)) == pytest.approx(3.0)


@given(
    prices=st.lists(st.floats(-1e4, 1e4), min_size=6, max_size=6),
    begins=st.floats(0.0, 3.0),
    run=st.floats(0.1, 3.0),
    interruptible=st.booleans(),
)
def test_no_run_that_really_happens_is_below(
    prices: list[float], begins: float, run: float, interruptible: bool
) -> None:
    edges = np.clip(np.arange(7.0), begins, begins + run)
    paid = float(np.diff(edges) @ np.array(prices)) / 1000

    least = bound(finished(run=run, until=6, interruptible=interruptible), prices=prices)

    assert least <= paid + 1e-6
