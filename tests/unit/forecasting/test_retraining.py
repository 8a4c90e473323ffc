"""Targets that were not trained for too long are trained again, each once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

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
        "/gridflex train forecaster --target carbon --samples 2 --json"
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
