"""Targets that were not trained for too long are trained again, each once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from gridflex.adapters.clusters.ray_jobs import RayJob
from gridflex.agents.retraining import Retraining
from gridflex.errors import SourceError
from gridflex.forecasting.lineage import Artefact, TrainedModel, Training
from gridflex.halfhour import HalfHour
from gridflex.lifecycle import JobRequest
from gridflex.settings import ForecastSettings
from gridflex.signals import Origin, Signal

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass
class Fakes:
    """Models and a cluster that may be down."""

    trained_at: dict[str, datetime] = field(default_factory=dict)
    jobs: dict[str, JobRequest] = field(default_factory=dict)
    is_down: bool = False
    ended: dict[str, RayJob] = field(default_factory=dict)

    async def all(self, target: str | None = None) -> Sequence[TrainedModel]:
        assert target is not None
        at = self.trained_at.get(target)
        if at is None:
            return []
        training = Training(
            target=target, model="m", settings={}, window_start=HalfHour(NOON) - 1,
            window_end=HalfHour(NOON), origin=Origin.LIVE, code_version="1", metrics={},
            trained_at=at,
        )  # fmt: skip
        return [TrainedModel(1, training, Artefact("memory://m", "0" * 64, 1))]

    async def submit(self, ray_id: str, request: JobRequest) -> None:
        if self.is_down:
            raise SourceError("no answer")
        self.jobs[ray_id] = request

    async def get(self, ray_id: str) -> RayJob | None:
        if self.is_down:
            raise SourceError("no answer")
        return self.ended.get(ray_id, RayJob(ray_id, "RUNNING", {}))


def retraining(fakes: Fakes, **settings: object) -> Retraining:
    chosen = ForecastSettings.model_validate(
        {"retrain_every": 7 * DAY, "retrain": ("carbon",), **settings}
    )
    return Retraining(
        models=fakes, cluster=fakes, settings=chosen, config=lambda: "/state/settings.yaml"
    )


async def test_what_was_never_trained_is_trained_as_a_person_would() -> None:
    fakes = Fakes()

    assert await retraining(fakes, retrain_samples=2).tick(NOON) == {}

    ((ray_id, request),) = fakes.jobs.items()
    assert ray_id == "gridflex-train-carbon-20260627T0000"
    assert request.entrypoint.endswith(
        "/gridflex train forecaster --target carbon --samples 2 --days 28 --stretches 3"
        " --no-gpu --json"
    )
    assert request.runtime_env == {
        "env_vars": {"GRIDFLEX_CONFIG": "/state/settings.yaml", "CUDA_VISIBLE_DEVICES": ""}
    }
    assert request.metadata == {}


async def test_what_the_settings_say_of_a_training_is_asked_for() -> None:
    fakes = Fakes()
    chosen = {"retrain_models": ("lightgbm", "prophet"), "retrain_days": 7, "retrain_gpu": True}

    await retraining(fakes, **chosen, retrain_stretches=2).tick(NOON)

    (request,) = fakes.jobs.values()
    assert request.entrypoint.endswith(
        "--samples 4 --days 7 --stretches 2 --models lightgbm,prophet --json"
    )
    assert request.runtime_env == {"env_vars": {"GRIDFLEX_CONFIG": "/state/settings.yaml"}}


async def test_an_agent_that_starts_anew_asks_for_the_same_job() -> None:
    fakes = Fakes()

    await retraining(fakes).tick(NOON)
    await retraining(fakes).tick(NOON + DAY)

    assert len(fakes.jobs) == 1


async def test_a_target_is_trained_again_when_its_newest_model_is_old() -> None:
    fakes = Fakes({Signal.INTENSITY: NOON, Signal.PRICE: NOON - 3 * DAY})
    ours = retraining(fakes, retrain=("carbon", "price"))

    await ours.tick(NOON + 4 * DAY - timedelta(minutes=1))
    assert fakes.jobs == {}

    await ours.tick(NOON + 4 * DAY)
    assert [ray_id[:20] for ray_id in fakes.jobs] == ["gridflex-train-price"]


async def test_a_cluster_that_is_down_is_named_and_asked_again() -> None:
    fakes = Fakes(is_down=True)
    ours = retraining(fakes)

    assert await ours.tick(NOON) == {"training of carbon": "no answer"}
    fakes.is_down = False
    assert await ours.tick(NOON) == {}

    assert len(fakes.jobs) == 1


async def test_by_default_nothing_is_trained() -> None:
    fakes = Fakes()

    assert await retraining(fakes, retrain_every=None).tick(NOON) == {}
    assert fakes.jobs == {}


@pytest.mark.parametrize(
    ("status", "said"),
    [("FAILED", "FAILED: no such file: gridflex"), ("SUCCEEDED", "SUCCEEDED: no reason given")],
)
async def test_a_training_that_ended_without_a_model_is_named(status: str, said: str) -> None:
    fakes = Fakes()
    ours = retraining(fakes)
    assert await ours.tick(NOON) == {}
    (ray_id,) = fakes.jobs
    assert await ours.tick(NOON) == {}

    message = "no such file: gridflex" if status == "FAILED" else None
    ended = {"end_time": 1_782_900_000_000, "message": message}
    fakes.ended[ray_id] = RayJob(ray_id, status, ended)

    why = f"{ray_id} has ended without a model ({said})"
    assert await ours.tick(NOON) == {"training of carbon": why}
    fakes.trained_at[Signal.INTENSITY] = NOON
    assert await ours.tick(NOON) == {}
    assert len(fakes.jobs) == 1


async def test_a_training_whose_cluster_went_down_is_named() -> None:
    fakes = Fakes()
    ours = retraining(fakes)
    await ours.tick(NOON)

    fakes.is_down = True

    assert await ours.tick(NOON) == {"training of carbon": "no answer"}
