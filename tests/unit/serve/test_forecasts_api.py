"""``/v1/forecasts`` over ASGI, against fakes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from gridflex.forecasting.lineage import Act, Artefact, Decision, TrainedModel, Training
from gridflex.forecasting.skill import Rank, SkillRow
from gridflex.halfhour import HalfHour
from gridflex.serve.forecasts_api import create_forecasts_router
from gridflex.serve.problems import install_problems
from gridflex.signals import Origin, Signal

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
ROW = SkillRow(
    "gridflex/m", "0-6h", 90, 50, 120, 11.5, 15.0, -1.0, 4.5, {50: 0.5, 90: 0.9}, 5.5, {90: 0.8}
)
SILENT = SkillRow("a/old", "0-6h", 0, 0, 7, None, None, None, None, {})


@dataclass
class Fakes:
    """Clock, archive, ranks and models in one."""

    moment: datetime = NOON
    asked: list[tuple[Signal, int]] = field(default_factory=list)
    rank: Rank | None = None

    def now(self) -> datetime:
        return self.moment

    async def skill(self, signal: Signal, *, now: datetime, days: int) -> Sequence[SkillRow]:
        assert now == self.moment
        self.asked.append((signal, days))
        return [ROW, SILENT]

    async def newest(self, signal: Signal, *, now: datetime) -> Rank | None:
        assert now == self.moment
        return self.rank if self.rank and self.rank.signal == signal else None

    async def all(self, target: str | None = None) -> Sequence[TrainedModel]:
        assert target is None
        return [model(2), model(1)]

    async def decisions(self, target: str) -> Sequence[Decision]:
        return [Decision(target, Act.PROMOTE, 1, "better", NOON)]


def model(number: int) -> TrainedModel:
    start = HalfHour(NOON) - 48
    training = Training(
        target=Signal.INTENSITY, model="lightgbm", settings={"leaves": 31}, window_start=start,
        window_end=HalfHour(NOON), origin=Origin.RECORDED, code_version="1+ab",
        metrics={"mae": 17.0}, trained_at=NOON,
    )  # fmt: skip
    return TrainedModel(number, training, Artefact("memory://m", "0" * 64, 1))


async def get(fakes: Fakes, *paths: str) -> list[Any]:
    app = FastAPI()
    install_problems(app)
    app.include_router(create_forecasts_router(fakes, fakes, fakes, fakes), prefix="/v1")
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gridflex.test") as client:
        answers = [await client.get(path) for path in paths]
    assert [answer.status_code for answer in answers] == [200] * len(paths)
    return [answer.json() for answer in answers]


async def test_the_board_tells_every_figure_and_which_of_ours_goes_first() -> None:
    fakes = Fakes(rank=Rank(Signal.INTENSITY, "gridflex/m", ("6-12h",), NOON, ()))

    (body,) = await get(fakes, "/v1/forecasts/skill?days=7")

    assert (body["signal"], body["days"]) == ("intensity_gco2_per_kwh", 7)
    assert (body["own_source"], body["own_first"]) == ("gridflex/m", ["6-12h"])
    assert body["rows"][0] == {
        "source": "gridflex/m", "lead": "0-6h", "count": 90, "half_hours": 50, "count_alone": 120,
        "mae": 11.5, "rmse": 15.0, "bias": -1.0, "pinball": 4.5,
        "coverage_fraction": {"50": 0.5, "90": 0.9}, "served_pinball": 5.5,
        "served_coverage_fraction": {"90": 0.8},
    }  # fmt: skip
    assert (body["rows"][1]["mae"], body["rows"][1]["count_alone"]) == (None, 7)


async def test_a_board_is_made_once_a_half_hour_for_each_question() -> None:
    fakes = Fakes()
    price = "/v1/forecasts/skill?signal=price"

    await get(fakes, price, price, "/v1/forecasts/skill", price)

    assert fakes.asked == [(Signal.PRICE, 14), (Signal.INTENSITY, 14)]


async def test_a_board_of_the_half_hour_before_is_made_again() -> None:
    fakes = Fakes()
    app = FastAPI()
    app.include_router(create_forecasts_router(fakes, fakes, fakes, fakes))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gridflex.test") as client:
        await client.get("/forecasts/skill")
        fakes.moment += timedelta(minutes=30)
        body = (await client.get("/forecasts/skill")).json()

    assert len(fakes.asked) == 2
    assert (body["own_source"], body["own_first"]) == (None, [])


@pytest.mark.parametrize("query", ["days=0", "days=91", "signal=mix"])
async def test_a_question_that_cannot_be_answered_is_refused(query: str) -> None:
    app = FastAPI()
    install_problems(app)
    app.include_router(create_forecasts_router(Fakes(), Fakes(), Fakes(), Fakes()))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gridflex.test") as client:
        answer = await client.get(f"/forecasts/skill?{query}")

    assert answer.is_client_error
    assert query.split("=", maxsplit=1)[0] in answer.text


async def test_models_are_listed_with_what_was_decided_about_them() -> None:
    (body,) = await get(Fakes(), "/v1/forecasts/models")

    assert [(one["id"], one["standing"]) for one in body["models"]] == [
        (2, "challenger"),
        (1, "champion"),
    ]
    assert body["models"][0]["settings"] == {"leaves": 31}
    assert body["models"][0]["window_start"] == "2026-06-30T12:00:00Z"
