"""Issued forecasts, outturns and raw responses in PostgreSQL, append-only.

Look-ahead is a question of ``available_at``: every reader says at which instant it wants to
know, and sees nothing that became available later.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from sqlalchemy import RowMapping, TextClause, insert, text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gridflex.adapters.database import read_rows, single_statements, source_errors
from gridflex.adapters.tables import ForecastRow, ObservationRow, RawResponseRow
from gridflex.halfhour import HalfHour
from gridflex.signals import Kind, Known, Origin, Series, Signal, weakest

_FORECASTS: Final = text("""
    WITH RECURSIVE known AS (
        (SELECT min(source) AS source FROM forecast WHERE signal = :signal AND region = :region)
        UNION ALL
        SELECT (
            SELECT min(f.source) FROM forecast f
            WHERE f.signal = :signal AND f.region = :region AND f.source > known.source
        )
        FROM known WHERE known.source IS NOT NULL
    )
    SELECT newest.* FROM known CROSS JOIN LATERAL (
        SELECT source, origin, start, "values", quantiles, issued_at, available_at
        FROM forecast
        WHERE signal = :signal AND region = :region AND source = known.source
            AND available_at <= :now
        ORDER BY available_at DESC, id DESC LIMIT 1
    ) AS newest
    ORDER BY newest.source
""")
"""The newest forecast of each source, found by one step in the index per source."""
_SAME_FORECAST: Final = text("""
    SELECT 1 FROM forecast
    WHERE signal = :signal AND region = :region AND source = :source
        AND available_at = :available_at AND issued_at = :issued_at AND start = :start
""")
_NEWEST_FORECAST: Final = text("""
    SELECT start + (cardinality("values") - 1) * interval '30 min' AS last, available_at
    FROM forecast WHERE signal = :signal AND region = :region AND source = :source
    ORDER BY available_at DESC, id DESC LIMIT 1
""")
_NEWEST_OUTTURN: Final = text("""
    SELECT max(start) AS last, max(available_at) AS available_at
    FROM observation WHERE signal = :signal AND region = :region AND source = :source
    HAVING count(*) > 0
""")
_OUTTURNS: Final = text("""
    SELECT array_agg((extract(epoch FROM start - :start) / 1800)::int) AS places,
        array_agg(value) AS values, array_agg(DISTINCT origin) AS origins,
        max(available_at) AS newest
    FROM (
        SELECT DISTINCT ON (start) start, value, origin, available_at
        FROM observation
        WHERE signal = :signal AND region = :region AND source = :source
            AND start >= :start AND start < :until AND available_at <= :known_at
        ORDER BY start, available_at DESC
    ) AS known
    HAVING count(*) > 0
""")
"""One row of arrays, or none: a month of half-hours as rows takes ten times as long to read."""
_TAKE_TURNS: Final = text("SELECT pg_advisory_xact_lock(hashtext('gridflex outturns'))")
"""What others have stored is seen before more is; one lock, so that nobody waits in a circle."""
_END_OF_TIME: Final = datetime(9999, 12, 31, tzinfo=UTC)

_FORGET_RESPONSES: Final = text("""
    DELETE FROM raw_response
    WHERE fetched_at < :before
        AND fetched_at <= (SELECT max(fetched_at) - interval '1 day' FROM raw_response)
""")


class GridStore:
    """Keeps what providers said; implements `gridflex.agents.grid.GridStore` and `RawArchive`.

    Args:
        engine: Where; see `gridflex.adapters.database.connect`.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._single = single_statements(engine)

    async def save_series(self, series: Sequence[Series]) -> None:
        """Keep forecasts whole, and of outturns every value that is new or has changed."""
        async with source_errors("storing series"), self._engine.begin() as connection:
            for one in series:
                if one.kind is Kind.FORECAST:
                    await _keep_forecast(connection, one)
                else:
                    await _keep_outturns(connection, one)

    async def newest(self, signal: Signal, *, kind: Kind, region: str, source: str) -> Known | None:
        """Return how far and how fresh one source's series are; None if there is none."""
        statement = _NEWEST_FORECAST if kind is Kind.FORECAST else _NEWEST_OUTTURN
        rows = await self._rows(statement, signal=signal, region=region, source=source)
        if not rows:
            return None
        return Known(HalfHour.containing(rows[0]["last"]), rows[0]["available_at"])

    async def series_known_at(
        self, signal: Signal, *, region: str, now: datetime
    ) -> Sequence[Series]:
        """Return the newest forecast of each source known at ``now``, newest first."""
        rows = await self._rows(_FORECASTS, signal=signal, region=region, now=now)
        known = [forecast_of(row, signal, region) for row in rows]
        return sorted(known, key=lambda series: series.available_at, reverse=True)

    async def outturn(
        self,
        signal: Signal,
        *,
        region: str,
        source: str,
        start: HalfHour,
        half_hours: int,
        known_at: datetime,
    ) -> Series | None:
        """Return the outturns of one source as they were known at ``known_at``."""
        rows = await self._rows(
            _OUTTURNS,
            signal=signal,
            region=region,
            source=source,
            start=start.start,
            until=(start + half_hours).start,
            known_at=known_at,
        )
        if not rows:
            return None
        (row,) = rows
        values = np.full(half_hours, np.nan)
        values[row["places"]] = row["values"]
        return Series(
            signal=signal,
            kind=Kind.OUTTURN,
            source=source,
            origin=weakest(Origin(one) for one in row["origins"]),
            region=region,
            start=start,
            values=values,
            issued_at=row["newest"],
            available_at=row["newest"],
        )

    async def keep(
        self, provider: str, *, url: str, status: int, body: bytes, fetched_at: datetime
    ) -> None:
        """Keep one raw response."""
        row = {
            "provider": provider,
            "url": url,
            "status": status,
            "fetched_at": fetched_at,
            "body_gzip": gzip.compress(body, compresslevel=1),
        }
        async with source_errors("archiving a response"), self._engine.begin() as connection:
            await connection.execute(insert(RawResponseRow).values(**row))

    async def forget_responses(self, *, before: datetime) -> int:
        """Delete raw responses; those of the last day before the newest stay.

        Args:
            before: GridFlex time; what was fetched then or later stays.

        Returns:
            How many were deleted.
        """
        async with source_errors("deleting old responses"), self._engine.begin() as connection:
            return (await connection.execute(_FORGET_RESPONSES, {"before": before})).rowcount

    async def _rows(self, statement: TextClause, **values: object) -> Sequence[RowMapping]:
        return await read_rows(self._single, statement, values, doing="reading series")


async def _keep_forecast(connection: AsyncConnection, series: Series) -> None:
    row: dict[str, Any] = {
        "signal": series.signal,
        "source": series.source,
        "origin": series.origin,
        "region": series.region,
        "start": series.start.start,
        "issued_at": series.issued_at,
        "available_at": series.available_at,
    }
    if len(series) == 0 or (await connection.execute(_SAME_FORECAST, row)).first():
        return
    quantiles = None if series.quantiles is None else series.quantiles.tolist()
    await connection.execute(
        insert(ForecastRow).values(**row, values=series.values.tolist(), quantiles=quantiles)
    )


async def _keep_outturns(connection: AsyncConnection, series: Series) -> None:
    key = {"signal": series.signal, "region": series.region, "source": series.source}
    span = {"start": series.start.start, "until": series.end.start, "known_at": series.available_at}
    await connection.execute(_TAKE_TURNS)
    known = await _known_values(connection, {**key, **span})
    newest = await _known_values(connection, {**key, **span, "known_at": _END_OF_TIME})
    rows = [
        {
            **key,
            "start": (series.start + place).start,
            "available_at": series.available_at,
            "value": value,
            "origin": series.origin,
        }
        for place, value in enumerate(series.values.tolist())
        if np.isfinite(value) and value not in (known.get(place), newest.get(place))
    ]
    if rows:
        await connection.execute(upsert(ObservationRow).on_conflict_do_nothing(), rows)


async def _known_values(connection: AsyncConnection, asked: dict[str, Any]) -> dict[int, float]:
    stored = (await connection.execute(_OUTTURNS, asked)).mappings().first()
    return dict(zip(stored["places"], stored["values"], strict=True)) if stored else {}


def forecast_of(row: RowMapping, signal: Signal, region: str) -> Series:
    """Return a stored forecast."""
    return Series(
        signal=signal,
        kind=Kind.FORECAST,
        source=row["source"],
        origin=Origin(row["origin"]),
        region=region,
        start=HalfHour.containing(row["start"]),
        values=np.asarray(row["values"], dtype=np.float64),
        issued_at=row["issued_at"],
        available_at=row["available_at"],
        quantiles=None if row["quantiles"] is None else np.asarray(row["quantiles"], np.float64),
    )
