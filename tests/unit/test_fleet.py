"""Sites and the power that a job adds at the meter."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gridflex.errors import ContractError
from gridflex.fleet import (
    GPU_TYPES,
    GpuType,
    Site,
    dynamic_power_kw,
    gpu_counts,
    power_source,
    shaped_power_kw,
    speed_fraction,
)
from gridflex.jobs import Flexibility, Shape, Tier

JOB = Flexibility(
    tier=Tier.T2, deadline=datetime(2026, 7, 2, tzinfo=UTC), duration=timedelta(hours=4),
    duration_is_declared=True, interruptible=False, gpus=8, min_gpus=8, max_gpus=8,
)  # fmt: skip
LONDON = Site(name="london", gpus=64, gpu_type="H100", marginal_pue=1.25)


def test_eight_h100_draw_their_dynamic_power_a_thread_and_the_cooling_for_both() -> None:
    assert dynamic_power_kw(JOB, LONDON) == pytest.approx((8 * 0.56 + 0.0035) * 1.25)


def test_a_job_without_gpus_draws_the_power_of_its_threads() -> None:
    idle = replace(JOB, gpus=0, min_gpus=0, max_gpus=0)

    assert dynamic_power_kw(idle, LONDON, cpus=10) == pytest.approx(0.035 * 1.25)


def test_declared_energy_is_spread_over_the_run_time() -> None:
    assert dynamic_power_kw(replace(JOB, energy_kwh=10.0), LONDON) == pytest.approx(2.5 * 1.25)


def test_declared_power_goes_before_declared_energy() -> None:
    both = replace(JOB, energy_kwh=10.0, power_kw=6.0)

    assert dynamic_power_kw(both, LONDON) == pytest.approx(7.5)


@pytest.mark.parametrize(
    ("job", "source"),
    [
        pytest.param(JOB, "modelled", id="neither"),
        pytest.param(replace(JOB, power_kw=1.0), "declared", id="power"),
        pytest.param(replace(JOB, energy_kwh=1.0), "declared", id="energy"),
    ],
)
def test_a_power_says_whether_it_was_declared_or_modelled(job: Flexibility, source: str) -> None:
    assert power_source(job) == source


@pytest.mark.parametrize(
    ("own", "least", "most", "counts"),
    [
        pytest.param(8, 8, 8, (8,), id="fixed"),
        pytest.param(8, 4, 16, (8, 4, 16), id="half and double"),
        pytest.param(8, 3, 20, (8, 3, 4, 16, 20), id="the ends are among them"),
        pytest.param(1, 1, 1, (1,), id="one"),
        pytest.param(0, 0, 0, (0,), id="none"),
    ],
)
def test_a_job_runs_on_as_many_gpus_as_its_owner_allows(
    own: int, least: int, most: int, counts: tuple[int, ...]
) -> None:
    assert gpu_counts(replace(JOB, gpus=own, min_gpus=least, max_gpus=most)) == counts


def test_half_the_gpus_keep_more_than_half_the_speed_and_draw_half_the_power() -> None:
    half = Shape(4)

    assert speed_fraction(JOB, LONDON, half) == pytest.approx(0.5**0.87)
    assert shaped_power_kw(JOB, LONDON, half) == pytest.approx(dynamic_power_kw(JOB, LONDON) / 2)


def test_a_limit_lies_on_the_line_between_measured_ones() -> None:
    capped = Shape(8, 0.64)  # half-way between 0.57 and 0.71 of an H100

    assert speed_fraction(JOB, LONDON, capped) == pytest.approx((0.73 + 0.80) / 2)
    assert shaped_power_kw(JOB, LONDON, capped) == pytest.approx(
        dynamic_power_kw(JOB, LONDON) * (0.623 + 0.835) / 2
    )


def test_a_job_in_its_own_shape_is_as_fast_and_draws_as_much_as_ever() -> None:
    own = Shape(8)

    assert speed_fraction(JOB, LONDON, own) == 1.0
    assert shaped_power_kw(JOB, LONDON, own) == dynamic_power_kw(JOB, LONDON)


@pytest.mark.parametrize("gpu", GPU_TYPES.values(), ids=lambda gpu: gpu.name)
def test_a_lower_limit_is_slower_and_draws_less(gpu: GpuType) -> None:
    columns = list(zip(*gpu.caps, strict=True))

    assert all(list(column) == sorted(column) for column in columns)
    assert gpu.caps[-1] == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("gpu", GPU_TYPES.values(), ids=lambda gpu: gpu.name)
def test_every_gpu_type_is_plausible_and_has_its_source(gpu: GpuType) -> None:
    assert 0 < gpu.idle_kw < gpu.dynamic_kw < 2
    assert gpu.source


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        pytest.param({"power_caps": (0.7, 0.4)}, "power_caps 0.4 is not in", id="power cap"),
        pytest.param({"gpu_type": "H1000"}, "gpu_type 'H1000' is not one of A100, B200", id="type"),
        pytest.param({"gpus": -1}, "gpus -1 must not be negative", id="gpus"),
        pytest.param({"marginal_pue": 0.9}, "marginal_pue 0.9 is below 1", id="pue"),
    ],
)
def test_an_impossible_site_is_refused_by_name(wrong: dict[str, object], message: str) -> None:
    values = {"name": "london", "gpus": 8, "gpu_type": "H100"} | wrong

    with pytest.raises(ContractError, match=f"site london: {message}"):
        Site(**values)  # type: ignore[arg-type]  # one value is wrong on purpose
