"""Power limits: what a share is in watts, and how much of a run one was in force for."""

from datetime import datetime

import pytest

from gridflex.capping import GpuPower, PowerLimit, limited_share
from gridflex.jobs import JobId
from tests.unit.lifecycles import HOUR, MINUTE, NOON


def limit(
    gpu: str = "GPU-0", *, set_at: datetime | None = NOON, lifted_at: datetime | None = None
) -> PowerLimit:
    return PowerLimit(
        id=1, site="london", node_id="n", gpu=gpu, job_id=JobId("job-1"), attempt=1,
        before_w=700, limit_w=399, recorded_at=NOON, set_at=set_at, lifted_at=lifted_at,
    )  # fmt: skip


@pytest.mark.parametrize(("fraction", "watts"), [(0.57, 399), (1.0, 700), (0.2, 200), (1.2, 700)])
def test_a_share_is_one_of_the_default_as_far_as_it_can_be_set(
    fraction: float, watts: float
) -> None:
    gpu = GpuPower("a", 700, 200, 700, limit_w=650, model="H200")

    assert gpu.watts(fraction) == pytest.approx(watts)


@pytest.mark.parametrize(
    ("limits", "share"),
    [
        pytest.param([], 0.0, id="none"),
        pytest.param([limit(), limit("GPU-1")], 1.0, id="all the time"),
        pytest.param([limit()], 0.5, id="on one of two GPUs"),
        pytest.param([limit(set_at=None)], 0.0, id="never in force"),
        pytest.param(
            [limit(set_at=NOON + 15 * MINUTE), limit("GPU-1", set_at=NOON + 45 * MINUTE)],
            0.5,
            id="from some time on",
        ),
        pytest.param([limit(lifted_at=NOON + 30 * MINUTE)], 0.25, id="until some time"),
        pytest.param([limit(lifted_at=NOON - MINUTE)], 0.0, id="before"),
        pytest.param([limit(set_at=NOON + 2 * HOUR)], 0.0, id="after"),
    ],
)
def test_how_much_of_a_run_on_two_gpus_was_limited(limits: list[PowerLimit], share: float) -> None:
    found = limited_share(limits, gpus=2, begin=NOON, end=NOON + HOUR)

    assert found == pytest.approx(share)
