"""The champions forecast once each half-hour; one that fails costs nothing but itself."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import pytest

from gridflex.agents.forecasting import (
    RANK_EVERY,
    MeasuredLeads,
    OwnForecasts,
    OwnReport,
    own_leads,
)
from gridflex.errors import ContractError
from gridflex.forecasting.archive import ArchivedHistory
from gridflex.forecasting.baselines import Climatology, Persistence
from gridflex.forecasting.forecaster import QuantileForecast
from gridflex.forecasting.history import History, Input, Knowledge
from gridflex.forecasting.lightgbm import LOOKS
from gridflex.forecasting.lineage import Artefact, TrainedModel, Training
from gridflex.forecasting.skill import LEAST_TO_PREFER, Rank, SkillRow
from gridflex.halfhour import HalfHour
from gridflex.quantiles import MEDIAN
from gridflex.settings import ForecastSettings
from gridflex.signals import Kind, Origin, Series, Signal

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
START = HalfHour(NOON) - 70 * 48
HALF_HOUR = timedelta(minutes=30)


def history() -> History:
    """Ten weeks of two daily peaks, sometimes below nothing, with some noise."""
    half_hours = np.arange(70 * 48)
    noise = np.random.default_rng(1).normal(0, 20, half_hours.size)
    values = np.maximum(40 + 60 * np.sin(half_hours * np.pi / 12) + noise, 0)
    return History(START, Signal.INTENSITY, {Signal.INTENSITY: Input.outturn(values)})


@cache
def state(kind: type[Persistence] | type[Climatology]) -> bytes:
    forecaster = kind()
    forecaster.fit(history().known_at(HalfHour(NOON)))
    return forecaster.dump()


def model(number: int) -> TrainedModel:
    training = Training(
        target=Signal.INTENSITY, model="m", settings={}, window_start=START,
        window_end=HalfHour(NOON), origin=Origin.LIVE, code_version="1", metrics={},
        trained_at=NOON,
    )  # fmt: skip
    return TrainedModel(number, training, Artefact("memory://m", "0" * 64, 1))


@dataclass
class FakeModels:
    """The present champion first; what is missing cannot be read."""

    states: dict[int, bytes | None] = field(default_factory=dict)

    async def champions(self, target: str) -> Sequence[TrainedModel]:
        assert target == Signal.INTENSITY
        return [model(number) for number in self.states]

    async def read(self, model: TrainedModel) -> bytes:
        found = self.states[model.id]
        if found is None:
            raise ContractError(f"{model.name}: the SHA-256 is wrong")
        return found


@dataclass
class FakeArchive:
    board: list[SkillRow] = field(default_factory=list)
    asked: int = 0

    async def read(
        self, target: str, *, since: HalfHour, now: datetime, every: timedelta
    ) -> ArchivedHistory:
        assert (target, every) == (Signal.INTENSITY, timedelta(hours=2))
        assert since == HalfHour.containing(now) - max(LOOKS)
        return ArchivedHistory(history(), Origin.SIMULATED)

    async def skill(self, signal: Signal, *, now: datetime, days: int) -> Sequence[SkillRow]:
        assert (signal, days) == (Signal.INTENSITY, 14)
        assert now >= NOON
        self.asked += 1
        return self.board


@dataclass
class FakeStore:
    """Keeps series and ranks."""

    series: list[Series] = field(default_factory=list)
    ranks: list[Rank] = field(default_factory=list)

    async def save_series(self, series: Sequence[Series]) -> None:
        self.series += series

    async def newest(self, signal: Signal, *, now: datetime) -> Rank | None:
        return next((r for r in reversed(self.ranks) if r.signal == signal and r.at <= now), None)

    async def add(self, rank: Rank) -> None:
        self.ranks.append(rank)


def own(models: FakeModels, store: FakeStore, archive: FakeArchive | None = None) -> OwnForecasts:
    return OwnForecasts(
        models=models, archive=archive or FakeArchive(), issues=store, ranks=store,
        skill_days=14, signals=[Signal.INTENSITY],
    )  # fmt: skip


async def test_the_champion_forecasts_nine_days_from_the_running_half_hour_with_its_quantiles() -> (
    None
):
    store = FakeStore()

    now = NOON + timedelta(minutes=7)
    report = await own(FakeModels({3: state(Persistence)}), store).tick(now)

    (issued,) = store.series
    assert report == {Signal.INTENSITY: OwnReport("gridflex/persistence", "")}
    assert (issued.source, issued.kind, issued.origin) == (
        "gridflex/persistence",
        Kind.FORECAST,
        Origin.SIMULATED,
    )
    assert (issued.start, len(issued)) == (HalfHour(NOON), 432)
    assert (issued.issued_at, issued.available_at) == (now, now)
    assert issued.quantiles is not None
    np.testing.assert_array_equal(issued.quantiles[:, MEDIAN], issued.values)
    assert issued.quantiles.min() == 0.0
    assert (issued.quantiles[:, -1] > issued.quantiles[:, 0]).all()


async def test_it_forecasts_once_each_half_hour() -> None:
    store = FakeStore()
    ours = own(FakeModels({3: state(Persistence)}), store)

    reports = [await ours.tick(NOON + minutes * timedelta(minutes=1)) for minutes in (0, 15, 30)]

    assert [one.start for one in store.series] == [HalfHour(NOON), HalfHour(NOON) + 1]
    assert reports[1] == reports[0]


async def test_without_a_champion_nothing_happens() -> None:
    store = FakeStore()

    report = await own(FakeModels(), store).tick(NOON)

    assert report == {Signal.INTENSITY: OwnReport()}
    assert store == FakeStore()


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        pytest.param(
            None, "model 9 (m of intensity_gco2_per_kwh): the SHA-256 is wrong", id="gone"
        ),
        pytest.param(b"PK no zip", "not a stored forecaster", id="garbage"),
    ],
)
async def test_a_champion_that_cannot_be_read_makes_room_for_the_one_before_and_is_named(
    spoilt: bytes | None, reason: str
) -> None:
    store = FakeStore()

    report = await own(FakeModels({9: spoilt, 3: state(Climatology)}), store).tick(NOON)

    assert [one.source for one in store.series] == ["gridflex/climatology"]
    assert report[Signal.INTENSITY].source == "gridflex/climatology"
    assert reason in report[Signal.INTENSITY].degraded


async def test_a_champion_that_breaks_while_it_forecasts_is_named_and_stops_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def breaks(*_: object) -> None:
        raise ZeroDivisionError("in the network")

    monkeypatch.setattr(Persistence, "predict", breaks)
    store = FakeStore()

    report = await own(FakeModels({9: state(Persistence)}), store).tick(NOON)

    assert store.series == []
    assert report[Signal.INTENSITY] == OwnReport(
        "", "model 9 (m of intensity_gco2_per_kwh): ZeroDivisionError: in the network"
    )


async def test_an_ensemble_without_a_member_keeps_its_name_and_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = Persistence.predict

    def partial(self: Persistence, known: Knowledge, half_hours: int) -> QuantileForecast:
        return replace(whole(self, known, half_hours), model="persistence without lstm")

    monkeypatch.setattr(Persistence, "predict", partial)
    store = FakeStore()

    report = await own(FakeModels({9: state(Persistence)}), store).tick(NOON)

    assert report[Signal.INTENSITY].source == "gridflex/persistence"
    assert report[Signal.INTENSITY].degraded.endswith("is only persistence without lstm")
    assert [one.source for one in store.series] == ["gridflex/persistence"]


async def test_a_new_champion_takes_over_at_the_next_half_hour() -> None:
    models, store = FakeModels({3: state(Persistence)}), FakeStore()
    ours = own(models, store)
    await ours.tick(NOON)

    models.states = {9: state(Climatology), **models.states}
    await ours.tick(NOON + HALF_HOUR)

    assert [one.source for one in store.series] == ["gridflex/persistence", "gridflex/climatology"]


def scored(source: str, mae: float) -> SkillRow:
    n = LEAST_TO_PREFER
    return SkillRow(source, "12-24h", n, n, n, mae, mae, 0.0, None, {})


async def test_it_is_ranked_every_six_hours_and_when_the_champion_changes() -> None:
    models, store = FakeModels({3: state(Persistence)}), FakeStore()
    archive = FakeArchive([scored("gridflex/persistence", 8.0), scored("a/x", 10.0)])
    ours = own(models, store, archive)

    await ours.tick(NOON)
    await ours.tick(NOON + HALF_HOUR)
    assert [(one.source, one.leads) for one in store.ranks] == [
        ("gridflex/persistence", ("12-24h",))
    ]

    await ours.tick(NOON + RANK_EVERY)
    models.states = {9: state(Climatology)}
    await ours.tick(NOON + RANK_EVERY + HALF_HOUR)

    assert archive.asked == 3
    assert [(one.source, one.leads) for one in store.ranks[1:]] == [
        ("gridflex/persistence", ("12-24h",)),
        ("gridflex/climatology", ()),
    ]


async def test_ours_goes_first_only_for_the_source_that_was_measured() -> None:
    store = FakeStore(ranks=[Rank(Signal.INTENSITY, "gridflex/m", ("0-6h",), NOON, ())])
    leads = MeasuredLeads(store)

    assert await leads(Signal.INTENSITY, source="gridflex/m", now=NOON) == ("0-6h",)
    assert await leads(Signal.INTENSITY, source="gridflex/new", now=NOON) == ()
    assert await leads(Signal.INTENSITY, source="gridflex/m", now=NOON - HALF_HOUR) == ()
    assert await leads(Signal.PRICE, source="gridflex/m", now=NOON) == ()


@pytest.mark.parametrize(
    ("rank", "first"), [("measured", ["0-6h"]), ("last", []), ("first", ["0-6h", "6-12h"])]
)
async def test_the_settings_say_whose_forecast_goes_first(rank: str, first: list[str]) -> None:
    store = FakeStore(ranks=[Rank(Signal.INTENSITY, "gridflex/m", ("0-6h",), NOON, ())])
    settings = ForecastSettings.model_validate({"rank": rank})

    leads = await own_leads(settings, store)(Signal.INTENSITY, source="gridflex/m", now=NOON)

    assert list(leads)[:2] == first
