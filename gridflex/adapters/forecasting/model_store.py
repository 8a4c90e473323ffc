"""Trained forecasters: their lineage in PostgreSQL, their state in files that fsspec knows.

A file is named by the SHA-256 of its content, which is also in the database, and is read only if
it still has it. Nothing is ever changed: which model is the champion is what the decisions add
up to, in the order in which they were stored.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from dataclasses import asdict
from typing import Any, Final

import fsspec
from sqlalchemy import RowMapping, insert, select, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlmodel import col

from gridflex.adapters.database import read_rows, single_statements, source_errors
from gridflex.adapters.tables import ForecastDecisionRow, ForecastModelRow
from gridflex.errors import ContractError, SourceError
from gridflex.forecasting.lineage import (
    Act,
    Artefact,
    Decision,
    TrainedModel,
    Training,
    champions,
    rolled_back,
)
from gridflex.halfhour import HalfHour
from gridflex.signals import Origin

SUFFIX: Final = ".forecaster"
_TAKE_TURNS: Final = text("SELECT pg_advisory_xact_lock(hashtext('forecast_decision ' || :target))")


class ModelStore:
    """Keeps trained forecasters and the decisions about them.

    Args:
        engine: Where the lineage is; see `gridflex.adapters.database.connect`.
        url: fsspec URL of the folder with the states, such as ``s3://bucket/models``.
    """

    def __init__(self, engine: AsyncEngine, *, url: str) -> None:
        self._engine = engine
        self._single = single_statements(engine)
        self._url = url.rstrip("/")

    async def add(self, training: Training, state: bytes) -> TrainedModel:
        """Keep a fitted forecaster; it forecasts only once it is promoted.

        Args:
            training: How it came about.
            state: What its ``dump`` returned.

        Raises:
            SourceError: The database or the file system fails.
        """
        artefact = await asyncio.to_thread(self._write, state)
        row: dict[str, Any] = {
            **asdict(training),
            "settings": dict(training.settings),
            "metrics": dict(training.metrics),
            "window_start": training.window_start.start,
            "window_end": training.window_end.start,
            "artefact_url": artefact.url,
            "artefact_sha256": artefact.sha256,
            "artefact_bytes": artefact.size_bytes,
        }
        statement = insert(ForecastModelRow).values(**row).returning(col(ForecastModelRow.id))
        async with source_errors("storing a model"), self._engine.begin() as connection:
            stored = int(await connection.scalar(statement) or 0)
        return TrainedModel(stored, training, artefact)

    async def get(self, model_id: int) -> TrainedModel:
        """Return one model.

        Raises:
            ContractError: There is none of that number.
        """
        statement = select(ForecastModelRow).where(col(ForecastModelRow.id) == model_id)
        found = await self._models(statement)
        if not found:
            raise ContractError(f"there is no model {model_id}; see: gridflex train ls")
        return found[0]

    async def all(self, target: str | None = None) -> list[TrainedModel]:
        """Return every model, or those of one target, the newest first."""
        statement = select(ForecastModelRow).order_by(col(ForecastModelRow.id).desc())
        if target is not None:
            statement = statement.where(col(ForecastModelRow.target) == target)
        return await self._models(statement)

    async def decisions(self, target: str) -> list[Decision]:
        """Return every decision about one target's models, the oldest first."""
        async with source_errors("reading decisions"), self._single.connect() as connection:
            return await _decisions(connection, target)

    async def champions(self, target: str) -> list[TrainedModel]:
        """Return the champions of one target that still count, the present one first."""
        standing = champions(await self.decisions(target))
        return [await self.get(model_id) for model_id in reversed(standing)]

    async def decide(self, decision: Decision, *, over: int | None) -> bool:
        """Change the champion, and return whether it was another one before.

        Args:
            decision: What is decided.
            over: The champion the decision was made against; None for none.

        Raises:
            ContractError: Another model has become the champion meanwhile, or the model is none
                of the target's.
        """
        async with source_errors("storing a decision"), self._engine.begin() as connection:
            await connection.execute(_TAKE_TURNS, {"target": decision.target})
            standing = champions(await _decisions(connection, decision.target))
            present = standing[-1] if standing else None
            if present != over:
                raise ContractError(
                    f"the champion of {decision.target} is {_called(present)} by now, and the "
                    f"decision was made against {_called(over)}; compare again"
                )
            if is_new := decision.model_id != present:
                await _insert(connection, decision)
        return is_new

    async def roll_back(self, decision: Decision) -> Decision:
        """Make the champion before the present one count again.

        Args:
            decision: Target, reason and time; who counts again is found here.

        Returns:
            What was decided.

        Raises:
            ContractError: There is no champion, or the file of the one before is not what was
                stored.
            SourceError: That file is absent or cannot be read.
        """
        async with source_errors("storing a decision"), self._engine.begin() as connection:
            await connection.execute(_TAKE_TURNS, {"target": decision.target})
            made = rolled_back(
                await _decisions(connection, decision.target),
                target=decision.target,
                reason=decision.reason,
                at=decision.at,
            )
            if made.model_id is not None:
                await self.read(await self.get(made.model_id))
            await _insert(connection, made)
        return made

    async def read(self, model: TrainedModel) -> bytes:
        """Return the fitted state of a model.

        Raises:
            ContractError: The file is not what was stored.
            SourceError: The file is absent or cannot be read.
        """
        return await asyncio.to_thread(self._read, model)

    def _write(self, state: bytes) -> Artefact:
        digest = hashlib.sha256(state).hexdigest()
        url = f"{self._url}/{digest}{SUFFIX}"
        try:
            files, path = fsspec.url_to_fs(url)
            files.makedirs(path.rpartition("/")[0], exist_ok=True)
            partial = f"{path}.incoming-{uuid.uuid4().hex}"
            files.pipe_file(partial, state)
            files.mv(partial, path)
        except (OSError, ImportError, ValueError) as error:
            raise SourceError(f"models in {self._url}: {error}") from error
        return Artefact(url, digest, len(state))

    def _read(self, model: TrainedModel) -> bytes:
        artefact = model.artefact
        try:
            files, path = fsspec.url_to_fs(artefact.url)
            state: bytes = files.cat_file(path)
        except (OSError, ImportError, ValueError) as error:
            raise SourceError(f"{model.name}: {artefact.url}: {error}") from error
        found = hashlib.sha256(state).hexdigest()
        if found != artefact.sha256:
            raise ContractError(
                f"{model.name}: {artefact.url} has the SHA-256 {found[:12]}…, "
                f"and {artefact.sha256[:12]}… was stored"
            )
        return state

    async def _models(self, statement: Any) -> list[TrainedModel]:  # noqa: ANN401 - a select
        rows = await read_rows(self._single, statement, doing="reading models")
        return [_model(row) for row in rows]


def _called(model_id: int | None) -> str:
    return "none" if model_id is None else f"model {model_id}"


async def _decisions(connection: AsyncConnection, target: str) -> list[Decision]:
    statement = (
        select(ForecastDecisionRow)
        .where(col(ForecastDecisionRow.target) == target)
        .order_by(col(ForecastDecisionRow.id))
    )
    rows = (await connection.execute(statement)).mappings().all()
    return [
        Decision(
            target=row["target"],
            act=Act(row["act"]),
            model_id=row["model_id"],
            reason=row["reason"],
            at=row["at"],
            figures=row["figures"],
        )
        for row in rows
    ]


async def _insert(connection: AsyncConnection, decision: Decision) -> None:
    row = {**asdict(decision), "figures": dict(decision.figures)}
    await connection.execute(insert(ForecastDecisionRow).values(**row))


def _model(row: RowMapping) -> TrainedModel:
    return TrainedModel(
        id=row["id"],
        training=Training(
            target=row["target"],
            model=row["model"],
            settings=row["settings"],
            window_start=HalfHour.containing(row["window_start"]),
            window_end=HalfHour.containing(row["window_end"]),
            origin=Origin(row["origin"]),
            code_version=row["code_version"],
            metrics=row["metrics"],
            trained_at=row["trained_at"],
        ),
        artefact=Artefact(row["artefact_url"], row["artefact_sha256"], row["artefact_bytes"]),
    )
