"""Trained forecasters in PostgreSQL and files: nothing changed, nothing taken on trust."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.forecasting.model_store import ModelStore
from gridflex.errors import ContractError, SourceError
from gridflex.forecasting.lineage import Act, Decision, TrainedModel, Training
from gridflex.halfhour import HalfHour
from gridflex.signals import Origin

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
TARGET = "intensity_gco2_per_kwh"
TRAINING = Training(
    target=TARGET,
    model="lightgbm",
    settings={"leaves": 31, "inputs": ["wind_mw"]},
    window_start=HalfHour(NOON) - 96,
    window_end=HalfHour(NOON),
    origin=Origin.RECORDED,
    code_version="0.1.0+abc",
    metrics={"mae_gco2_per_kwh": 17.25},
    trained_at=NOON,
)


@pytest.fixture
def store(engine: AsyncEngine, tmp_path: Path) -> ModelStore:
    return ModelStore(engine, url=f"file://{tmp_path}/models")


def promotion(model_id: int, target: str = TARGET) -> Decision:
    return Decision(target, Act.PROMOTE, model_id, "better", NOON, {"gain_pct": 4.5})


def file_of(model: TrainedModel) -> Path:
    return Path(model.artefact.url.removeprefix("file://"))


def rollback(target: str = TARGET) -> Decision:
    return Decision(target, Act.ROLL_BACK, None, "worse live", NOON)


async def test_a_model_comes_back_with_its_lineage_and_its_state(store: ModelStore) -> None:
    kept = await store.add(TRAINING, b"weights")

    (found,) = await store.all(TARGET)

    assert found == kept
    assert found.training == TRAINING
    assert await store.read(found) == b"weights"
    assert await store.all("price_gbp_per_mwh") == []


async def test_a_state_that_was_changed_is_refused(store: ModelStore) -> None:
    kept = await store.add(TRAINING, b"weights")
    file_of(kept).write_bytes(b"weightz")

    with pytest.raises(ContractError, match=r"model \d+ \(lightgbm of .*\): .* has the SHA-256"):
        await store.read(kept)


async def test_a_state_that_is_gone_is_named(store: ModelStore) -> None:
    kept = await store.add(TRAINING, b"weights")
    file_of(kept).unlink()

    with pytest.raises(SourceError, match=rf"model {kept.id} \(lightgbm"):
        await store.read(kept)


async def test_the_same_state_twice_is_two_models_and_one_file(
    store: ModelStore, tmp_path: Path
) -> None:
    first = await store.add(TRAINING, b"weights")
    second = await store.add(TRAINING, b"weights")

    assert second.id > first.id
    assert [path.name for path in (tmp_path / "models").iterdir()] == [
        f"{first.artefact.sha256}.forecaster"
    ]


async def test_promotions_and_rollbacks_are_kept_in_order(store: ModelStore) -> None:
    first, second = [await store.add(TRAINING, state) for state in (b"one", b"two")]
    assert await store.champions(TARGET) == []

    await store.decide(promotion(first.id), over=None)
    await store.decide(promotion(second.id), over=first.id)
    assert [model.id for model in await store.champions(TARGET)] == [second.id, first.id]

    assert (await store.roll_back(rollback())).model_id == first.id
    assert [model.id for model in await store.champions(TARGET)] == [first.id]
    assert [(one.act, one.model_id) for one in await store.decisions(TARGET)] == [
        (Act.PROMOTE, first.id),
        (Act.PROMOTE, second.id),
        (Act.ROLL_BACK, first.id),
    ]
    assert (await store.decisions(TARGET))[0] == promotion(first.id)


async def test_promoting_the_champion_again_changes_nothing(store: ModelStore) -> None:
    first, second = [await store.add(TRAINING, state) for state in (b"one", b"two")]
    await store.decide(promotion(first.id), over=None)

    assert await store.decide(promotion(second.id), over=first.id)
    assert not await store.decide(promotion(second.id), over=second.id)
    assert (await store.roll_back(rollback())).model_id == first.id


async def test_nothing_is_rolled_back_to_a_model_whose_file_is_gone(store: ModelStore) -> None:
    first, second = [await store.add(TRAINING, state) for state in (b"one", b"two")]
    await store.decide(promotion(first.id), over=None)
    await store.decide(promotion(second.id), over=first.id)
    file_of(first).unlink()

    with pytest.raises(SourceError, match=rf"model {first.id} \(lightgbm"):
        await store.roll_back(rollback())

    assert (await store.champions(TARGET))[0].id == second.id


async def test_a_decision_against_a_champion_that_is_none_any_more_is_refused(
    store: ModelStore,
) -> None:
    models = [await store.add(TRAINING, state) for state in (b"one", b"two", b"three")]
    results = await asyncio.gather(
        *(store.decide(promotion(model.id), over=None) for model in models),
        return_exceptions=True,
    )

    refused = [result for result in results if isinstance(result, ContractError)]
    assert len(refused) == 2
    assert "was made against none; compare again" in str(refused[0])
    assert len(await store.decisions(TARGET)) == 1


async def test_a_model_cannot_become_the_champion_of_another_target(store: ModelStore) -> None:
    model = await store.add(TRAINING, b"one")

    with pytest.raises(IntegrityError):
        await store.decide(promotion(model.id, "price_gbp_per_mwh"), over=None)


async def test_without_a_champion_there_is_nothing_to_roll_back(store: ModelStore) -> None:
    await store.add(TRAINING, b"one")

    with pytest.raises(ContractError, match="has no champion to roll back"):
        await store.roll_back(rollback())


async def test_an_unknown_model_is_named(store: ModelStore) -> None:
    with pytest.raises(ContractError, match="there is no model 99; see: gridflex train ls"):
        await store.get(99)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE forecast_model SET artefact_sha256 = repeat('0', 64)",
        "DELETE FROM forecast_decision",
        "TRUNCATE forecast_model CASCADE",
        """INSERT INTO forecast_decision (target, act, reason, figures, at)
           VALUES ('intensity_gco2_per_kwh', 'promote', '', '{}', now())""",
    ],
)
async def test_the_database_refuses_to_rewrite_what_was_decided(
    store: ModelStore, engine: AsyncEngine, statement: str
) -> None:
    model = await store.add(replace(TRAINING, metrics={}), b"one")
    await store.decide(promotion(model.id), over=None)

    async with engine.begin() as connection:
        with pytest.raises(IntegrityError):
            await connection.execute(text(statement))
