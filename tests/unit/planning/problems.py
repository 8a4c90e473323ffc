"""Small planning problems for tests."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from hypothesis import strategies as st

from gridflex.fleet import Site
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId, Tier
from gridflex.planning.problem import JobDemand, Mode, PlanningProblem, SiteOutlook

MIDNIGHT = HalfHour(datetime(2026, 7, 1, tzinfo=UTC))


def job(name: str, **changes: Any) -> JobDemand:  # noqa: ANN401 - any field
    """Return a job of two half-hours on one GPU at 2 kW, released at once, due after 8."""
    values: dict[str, Any] = {
        "id": JobId(name),
        "tier": Tier.T3,
        "release": 0,
        "deadline": 8,
        "work": 2,
        "gpus": 1,
        "power_kw": {"london": 2.0},
        "interruptible": False,
    }
    return JobDemand(**{**values, **changes})


def outlook(
    price: Sequence[float],
    *,
    intensity: Sequence[float] | None = None,
    gpus: int | Sequence[int] = 8,
    name: str = "london",
    limit_kw: Sequence[float] | None = None,
    cap: float | None = None,
) -> SiteOutlook:
    size = len(price)
    free = np.full(size, float(gpus)) if isinstance(gpus, int) else np.array(gpus, dtype=float)
    return SiteOutlook(
        site=Site(name, gpus=int(free.max(initial=0)), gpu_type="H100"),
        price_gbp_per_mwh=np.array(price, dtype=float),
        intensity_gco2_per_kwh=np.array(intensity or [0.0] * size, dtype=float),
        free_gpus=free,
        limit_kw=None if limit_kw is None else np.array(limit_kw, dtype=float),
        cap_gco2_per_kwh=cap,
    )


def problem(
    jobs: Sequence[JobDemand], *sites: SiteOutlook, carbon_price: float = 0.0
) -> PlanningProblem:
    return PlanningProblem(
        start=MIDNIGHT,
        jobs=tuple(jobs),
        sites=sites,
        carbon_price_gbp_per_tco2=carbon_price,
    )


@st.composite
def problems(draw: st.DrawFn) -> PlanningProblem:
    """Any small problem, tight and degenerate ones included."""
    size = draw(st.integers(1, 12))
    names = ["london", "slough"][: draw(st.integers(1, 2))]
    signal = st.lists(st.integers(-100, 300), min_size=size, max_size=size)
    clean = st.lists(st.integers(0, 400), min_size=size, max_size=size)
    room = st.lists(st.integers(0, 6), min_size=size, max_size=size)
    limits = st.none() | st.lists(
        st.sampled_from([0.0, 2.0, 4.5, 9.0, np.inf]), min_size=size, max_size=size
    )
    sites = [
        outlook(
            draw(signal),
            intensity=draw(clean),
            gpus=draw(room),
            name=name,
            limit_kw=draw(st.none() | limits),
            cap=draw(st.sampled_from([None, None, None, 50.0, 200.0])),
        )
        for name in names
    ]
    jobs = [draw(_jobs(f"job-{i}", size, names)) for i in range(draw(st.integers(0, 6)))]
    return problem(jobs, *sites, carbon_price=float(draw(st.sampled_from([0, 80]))))


@st.composite
def _jobs(draw: st.DrawFn, name: str, size: int, names: list[str]) -> JobDemand:
    allowed = draw(st.lists(st.sampled_from(names), min_size=1, unique=True))
    running = draw(st.sampled_from([None, None, None, *allowed]))
    modes = tuple(
        draw(_modes(allowed, cap)) for cap in draw(st.sampled_from([(), (), (0.5,), (0.6, 0.8)]))
    )
    return job(
        name,
        release=0 if running else draw(st.integers(0, size)),
        deadline=draw(st.integers(-1, size + 3)),
        work=draw(st.integers(1, 5)),
        gpus=draw(st.integers(0, 4)),
        power_kw={site: float(draw(st.integers(0, 5))) for site in allowed},
        interruptible=draw(st.booleans()),
        running_at=running,
        restart_half_hours=draw(st.sampled_from([0.0, 1 / 30, 0.5, 1.0, 1.5])),
        carbon_cap_gco2_per_kwh=draw(st.sampled_from([None, None, 100.0])),
        waiting_gbp_per_hour=draw(st.sampled_from([0.0, 0.0, 1.0])),
        modes=modes,
        running_shape=draw(st.sampled_from([None, *(mode.shape for mode in modes)]))
        if running
        else None,
    )


@st.composite
def _modes(draw: st.DrawFn, allowed: list[str], cap: float) -> Mode:
    return Mode(
        gpus=draw(st.integers(0, 4)),
        throughput=draw(st.sampled_from([0.5, 0.7, 1.0, 1.5])),
        power_kw={site: float(draw(st.integers(0, 5))) for site in allowed},
        power_cap_fraction=cap,
    )
