"""Forecasts of the past, fetched after the fact, in PostgreSQL, append-only.

They are kept apart from those that GridFlex had in time: plans and the skill board never see
them, histories do (`gridflex.adapters.forecasting.history`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlmodel import col

from gridflex.adapters.database import single_statements, source_errors
from gridflex.adapters.tables import PastForecastRow
from gridflex.signals import FRESH_FOR, NATIONAL, Series, Signal

_MISSING: Final = text("""
    SELECT due.at
    FROM unnest(CAST(:due AS timestamptz[]), CAST(:reach AS timestamptz[])) AS due (at, reach)
    WHERE NOT EXISTS (
        SELECT FROM past_forecast
        WHERE signal = :signal AND region = :region AND source = :source AND due_at = due.at
    ) AND NOT EXISTS (
        SELECT FROM forecast
        WHERE signal = :signal AND region = :region AND source = :source
            AND available_at >= due.at AND available_at < due.at + :within
            AND start + cardinality("values") * interval '30 min' >= due.reach
    )
    ORDER BY due.at DESC
""")


class PastStore:
    """Keeps what providers had published before GridFlex asked.

    Args:
        engine: Where; see `gridflex.adapters.database.connect`.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._single = single_statements(engine)

    async def missing(
        self,
        signal: Signal,
        *,
        source: str,
        due: Mapping[datetime, datetime],
        within: timedelta = FRESH_FOR,
    ) -> Sequence[datetime]:
        """Return which publications are not stored yet, the newest first.

        Args:
            signal: What was forecast.
            source: Provider and product.
            due: When each publication was due, and until when it tells at least.
            within: A forecast that GridFlex had so soon after one was due is that publication if
                it reaches as far.

        Raises:
            SourceError: The database cannot be reached.
        """
        values = {
            "signal": signal,
            "region": NATIONAL,
            "source": source,
            "due": list(due),
            "reach": list(due.values()),
            "within": within,
        }
        async with source_errors("reading past forecasts"), self._single.connect() as connection:
            return list((await connection.execute(_MISSING, values)).scalars())

    async def save(self, series: Series, *, due: datetime) -> bool:
        """Keep a forecast as the publication that was due at an instant, if there is none yet.

        Returns:
            Whether there was none.

        Raises:
            SourceError: The database cannot be reached.
        """
        row = {
            "signal": series.signal,
            "source": series.source,
            "origin": series.origin,
            "region": series.region,
            "start": series.start.start,
            "values": series.values.tolist(),
            "due_at": due,
            "issued_at": series.issued_at,
            "available_at": series.available_at,
        }
        statement = (
            upsert(PastForecastRow)
            .on_conflict_do_nothing()
            .values(**row)
            .returning(col(PastForecastRow.id))
        )
        async with source_errors("storing a past forecast"), self._single.connect() as connection:
            return (await connection.execute(statement)).first() is not None
