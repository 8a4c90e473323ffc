"""Everything the archive holds as a `History`: each value with the half-hour it was known from.

An outturn that was fetched late, as when GridFlex first starts, counts from when its provider
publishes it; what replaced it later counts from when it came. A forecast counts from when it came,
and one of the past that was asked for after the fact from when it was published.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from sqlalchemy import RowMapping, TextClause, text
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.database import read_rows, single_statements
from gridflex.adapters.forecasting.doubt_store import DoubtStore
from gridflex.adapters.grid.store import forecast_of
from gridflex.errors import ContractError
from gridflex.forecasting.archive import INPUTS, Archived, ArchivedHistory
from gridflex.forecasting.doubt import LEARNT_DAYS, LEARNT_EVERY, Doubt, Doubts, learnt, served_with
from gridflex.forecasting.forecaster import FAR_HALF_HOURS
from gridflex.forecasting.history import Array, History, Indices, Input
from gridflex.forecasting.naive import CLIMATOLOGY_DAYS
from gridflex.forecasting.skill import ORIGIN_EVERY, Served, SkillRow, baselines, board, said
from gridflex.halfhour import HALF_HOUR, HalfHour
from gridflex.signals import FRESH_FOR, NATIONAL, Kind, Origin, Series, Signal, weakest

PUBLISHED_AFTER: Final = 1
"""Half-hours after its own at whose end an outturn is there: providers take 5 to 20 minutes."""

_OUTTURNS: Final = text("""
    SELECT start, value, origin, available_at
    FROM observation
    WHERE signal = :signal AND region = :region AND source = :source
        AND start >= :since AND available_at <= :now
    ORDER BY start, available_at
""")
_BEGINS: Final = text("""
    SELECT min(start) AS first FROM observation
    WHERE signal = :signal AND region = :region AND source = :source
""")
_FORECASTS: Final = text("""
    (
        SELECT DISTINCT ON (date_bin(:every, available_at, timestamptz 'epoch'))
            start, "values", origin, available_at AS known_at
        FROM forecast
        WHERE signal = :signal AND region = :region AND source = :source
            AND available_at >= :since AND available_at <= :now
        ORDER BY date_bin(:every, available_at, timestamptz 'epoch'), available_at DESC, id DESC
    )
    UNION ALL
    (
        SELECT DISTINCT ON (date_bin(:every, known_at, timestamptz 'epoch'))
            start, "values", origin, known_at
        FROM past_forecast, greatest(due_at, issued_at) AS known_at
        WHERE signal = :signal AND region = :region AND source = :source
            AND known_at >= :since AND available_at <= :now
        ORDER BY date_bin(:every, known_at, timestamptz 'epoch'), known_at DESC, id DESC
    )
    ORDER BY known_at
""")
"""The last forecast of every span of ``every``, and so the newest of all; alike of those of the
past."""


_ISSUED: Final = text("""
    WITH RECURSIVE known AS (
        (SELECT min(source) AS source FROM forecast WHERE signal = :signal AND region = :region)
        UNION ALL
        SELECT (
            SELECT min(f.source) FROM forecast f
            WHERE f.signal = :signal AND f.region = :region AND f.source > known.source
        )
        FROM known WHERE known.source IS NOT NULL
    )
    SELECT DISTINCT ON (told.id) told.*
    FROM known
    CROSS JOIN unnest(CAST(:origins AS timestamptz[])) AS looked (at)
    CROSS JOIN LATERAL (
        SELECT id, source, origin, start, "values", quantiles, issued_at, available_at
        FROM forecast
        WHERE signal = :signal AND region = :region AND source = known.source
            AND available_at <= looked.at AND available_at >= looked.at - :fresh_for
        ORDER BY available_at DESC, id DESC LIMIT 1
    ) AS told
    ORDER BY told.id
""")
"""What each source had last said at each of the issue times, found in the index."""


class ForecastHistory:
    """Reads histories from what the grid agent has stored.

    Args:
        engine: Where; see `gridflex.adapters.database.connect`.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._single = single_statements(engine)
        self._doubts = DoubtStore(engine)

    async def read(
        self, target: str, *, since: HalfHour, now: datetime, every: timedelta
    ) -> ArchivedHistory:
        """Return what was known at ``now`` of everything from ``since`` on.

        What became known in the running half-hour counts from its start, because forecasts of it
        are made at ``now``.

        Args:
            target: Name of the input that is forecast, one of `INPUTS`.
            since: Half-hour of index 0.
            now: GridFlex time.
            every: Of a source's forecasts one is read for each such span.

        Raises:
            SourceError: The database cannot be reached.
            ContractError: ``target`` is none of the inputs.
        """
        found = await asyncio.gather(
            *(self._told(archived, since, now, every) for archived in INPUTS.values())
        )
        inputs = {name: _nothing() for name in INPUTS if name == target}
        origins = {Origin.COMPUTED}
        for name, told in zip(INPUTS, found, strict=True):
            if told is not None:
                inputs[name], origin = told
                origins.add(origin)
        return ArchivedHistory(History(since, target, inputs), weakest(origins))

    async def begins(self, archived: Archived) -> HalfHour | None:
        """Return the first half-hour whose outturn is stored; None if there is none."""
        rows = await self._rows(
            _BEGINS, signal=archived.signal, region=archived.region, source=archived.source
        )
        first: datetime | None = rows[0]["first"]
        return None if first is None else HalfHour.containing(first)

    async def read_alone(
        self, archived: Archived, *, since: HalfHour, now: datetime
    ) -> ArchivedHistory:
        """Return what was known at ``now`` of one quantity, named by its signal, and nothing else.

        Args:
            archived: What, an outturn.
            since: Half-hour of index 0.
            now: GridFlex time.
        """
        told = await self._told(archived, since, now, timedelta(0)) or (_nothing(), Origin.LIVE)
        target = archived.signal.value
        return ArchivedHistory(History(since, target, {target: told[0]}), told[1])

    async def skill(
        self, signal: Signal, *, now: datetime, days: int, half_hours: int = FAR_HALF_HOURS
    ) -> Sequence[SkillRow]:
        """Return the skill board of one signal over the last days; empty if nothing was said.

        Args:
            signal: What was forecast; there must be outturns of it among `INPUTS`.
            now: GridFlex time.
            days: How far back issue times go.
            half_hours: How far ahead forecasts are looked at.

        Raises:
            SourceError: The database cannot be reached.
            ContractError: There are no outturns of ``signal``.
        """
        if signal not in INPUTS:
            raise ContractError(f"there are no outturns of {signal} to hold a forecast against")
        end = HalfHour.containing(now)
        origins = [end - back for back in range(days * 48, 0, -ORIGIN_EVERY)]
        since = origins[0] - CLIMATOLOGY_DAYS * 48
        outturns = await self._told(INPUTS[signal], since, now, timedelta(0))
        if outturns is None:
            return []
        issued = await self._issued(signal, origins)
        history = History(since, signal, {signal: outturns[0]})
        counted = await self._doubts.between(signal, since=origins[0].start, now=now)
        return await asyncio.to_thread(
            _scored, issued, history, origins, half_hours, served_with(counted)
        )

    async def doubts(self, signal: Signal, *, now: datetime) -> Doubts:
        """Return how far each source has been off in the last weeks.

        Args:
            signal: What was forecast; there must be outturns of it among `INPUTS`.
            now: GridFlex time; what became known later is not looked at.

        Raises:
            SourceError: The database cannot be reached.
        """
        end = HalfHour.containing(now)
        origins = [end - back for back in range(LEARNT_DAYS * 48, 0, -LEARNT_EVERY)]
        outturns = await self._told(INPUTS[signal], origins[0], now, timedelta(0))
        if outturns is None:
            return Doubts(signal, now, {})
        issued = await self._issued(signal, origins)
        history = History(origins[0], signal, {signal: outturns[0]})
        return Doubts(signal, now, await asyncio.to_thread(_learnt, issued, history, origins))

    async def _issued(
        self, signal: Signal, origins: Sequence[HalfHour]
    ) -> Mapping[str, Sequence[Series]]:
        rows = await self._rows(
            _ISSUED,
            signal=signal,
            region=NATIONAL,
            origins=[origin.start for origin in origins],
            fresh_for=FRESH_FOR,
        )
        issued: dict[str, list[Series]] = {}
        for row in rows:
            issued.setdefault(row["source"], []).append(forecast_of(row, signal, NATIONAL))
        return issued

    async def _told(
        self, archived: Archived, since: HalfHour, now: datetime, every: timedelta
    ) -> tuple[Input, Origin] | None:
        if archived.rather is None:
            return await self._said(archived, since, now, every)
        better = replace(archived, source=archived.rather, rather=None)
        first, second = await asyncio.gather(
            self._said(better, since, now, every), self._said(archived, since, now, every)
        )
        if first is None or second is None:
            return first or second
        return first[0].or_else(second[0]), weakest({first[1], second[1]})

    async def _said(
        self, archived: Archived, since: HalfHour, now: datetime, every: timedelta
    ) -> tuple[Input, Origin] | None:
        is_forecast = archived.kind is Kind.FORECAST
        rows = await self._rows(
            _FORECASTS if is_forecast else _OUTTURNS,
            signal=archived.signal,
            region=archived.region,
            source=archived.source,
            since=since.start,
            now=now,
            **({"every": every} if is_forecast else {}),
        )
        if not rows:
            return None
        running = since.until(HalfHour.containing(now))
        make = _forecasts if is_forecast else _outturns
        return make(rows, since, running), weakest({Origin(row["origin"]) for row in rows})

    async def _rows(self, statement: TextClause, **values: object) -> Sequence[RowMapping]:
        return await read_rows(self._single, statement, values, doing="reading the archive")


def _scored(
    issued: Mapping[str, Sequence[Series]],
    history: History,
    origins: Sequence[HalfHour],
    half_hours: int,
    served: Served,
) -> Sequence[SkillRow]:
    sources = [
        said(source, series, origins=origins, half_hours=half_hours, served=served)
        for source, series in sorted(issued.items())
    ]
    furthest = max((one.reach for one in sources), default=0)
    usual = baselines(history, origins=origins, half_hours=furthest)
    outturns = np.array([history.outturn(origin, furthest) for origin in origins])
    return board([*(one.leads(0, furthest) for one in sources), *usual], outturns)


def _learnt(
    issued: Mapping[str, Sequence[Series]], history: History, origins: Sequence[HalfHour]
) -> Mapping[str, Doubt]:
    outturns = np.array([history.outturn(origin, FAR_HALF_HOURS) for origin in origins])
    found = {}
    for source, series in issued.items():
        told = said(source, series, origins=origins, half_hours=FAR_HALF_HOURS)
        doubt = learnt(told, origins, outturns)
        if doubt is not None:
            found[source] = doubt
    return found


def _outturns(rows: Sequence[RowMapping], since: HalfHour, running: int) -> Input:
    about = _indices([row["start"] for row in rows], since)
    came = _known_from([row["available_at"] for row in rows], since)
    is_first = np.diff(about, prepend=-1) != 0
    published = np.minimum(came, about + 1 + PUBLISHED_AFTER)
    known_from = np.minimum(np.where(is_first, published, came), running)
    return Input.of([(about, known_from, np.array([row["value"] for row in rows]))])


def _forecasts(rows: Sequence[RowMapping], since: HalfHour, running: int) -> Input:
    starts = _indices([row["start"] for row in rows], since)
    came = np.minimum(_known_from([row["known_at"] for row in rows], since), running)
    values = [np.array(row["values"], dtype=np.float64) for row in rows]
    return Input.of(
        (start + np.arange(said.size), np.full(said.size, known), said)
        for start, known, said in zip(starts.tolist(), came.tolist(), values, strict=True)
    )


def _indices(moments: Sequence[datetime], since: HalfHour) -> Indices:
    return np.array([(moment - since.start) // HALF_HOUR for moment in moments], dtype=np.int64)


def _known_from(moments: Sequence[datetime], since: HalfHour) -> Indices:
    return np.array([-((since.start - moment) // HALF_HOUR) for moment in moments], dtype=np.int64)


def _nothing() -> Input:
    none: Indices = np.zeros(0, dtype=np.int64)
    nothing: Array = np.zeros(0)
    return Input(none, none, nothing)
