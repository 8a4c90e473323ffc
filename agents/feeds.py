"""What the grid agent asks of a provider, and how it keeps count of the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Protocol

import numpy as np

from gridflex.halfhour import HalfHour
from gridflex.signals import NATIONAL, Kind, Known, Series, Signal, weakest

OUTTURN_OVERLAP: Final = timedelta(hours=12)
"""Outturns are read again for this long, because providers first estimate, then correct."""


class Feed(Protocol):
    """One thing one provider can be asked for."""

    @property
    def provider(self) -> str:
        """Whose answer it is; feeds of one provider are polled in the same round."""
        ...

    @property
    def source(self) -> str:
        """Provider and product, such as ``carbon-intensity/fw48h``; that of its series."""
        ...

    @property
    def signal(self) -> Signal:
        """What its series are about."""
        ...

    @property
    def kind(self) -> Kind:
        """Whether it forecasts or reports."""
        ...

    @property
    def region(self) -> str:
        """Region of its series."""
        ...

    @property
    def is_final(self) -> bool:
        """Whether its values never change once told, as results do; they do not grow stale."""
        ...

    @property
    def lookback(self) -> timedelta:
        """How much of the past it is asked for when nothing is stored yet."""
        ...

    async def fetch(self, *, since: HalfHour, now: datetime) -> Sequence[Series]:
        """Return what the provider says at ``now``.

        Args:
            since: Outturns are wanted from here on; a forecast ignores it.
            now: GridFlex time of the call; becomes ``available_at``.

        Raises:
            SourceError: The provider did not answer, or with something unusable.
            ContractError: A row of the answer is malformed.
        """
        ...


@dataclass(frozen=True, slots=True)
class FeedReport:
    """How one feed stands.

    Args:
        provider: Whose feed it is.
        source: Provider and product.
        region: Region of its series.
        is_ok: Whether the last poll succeeded; None before the first one.
        reason: Why it failed; empty if it did not.
        last_good_at: GridFlex time of the last good answer; None if there never was one.
        age_s: Seconds since then.
    """

    provider: str
    source: str
    region: str
    is_ok: bool | None
    reason: str
    last_good_at: datetime | None
    age_s: float | None

    @property
    def name(self) -> str:
        """Source, and region where it is not the whole of Great Britain."""
        return self.source if self.region == NATIONAL else f"{self.source} {self.region}"


class Poll:
    """One feed and how its last polls went.

    Args:
        feed: What is polled.
    """

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.known: Known | None = None
        self.is_new = True
        self._is_ok: bool | None = None
        self._reason = ""

    def since(self, now: datetime) -> HalfHour:
        """Return where the next answer should start."""
        earliest = HalfHour.containing(now - self.feed.lookback)
        if self.known is None:
            return earliest
        return max(earliest, HalfHour.containing(self.known.last.start - OUTTURN_OVERLAP))

    def answered(self, answer: Sequence[Series], now: datetime) -> None:
        """Note an answer that has been stored."""
        self._is_ok, self._reason = True, ""
        lasts = [series.end - 1 for series in answer if len(series)]
        if self.known is not None:
            lasts.append(self.known.last)
        if lasts:
            self.known = Known(last=max(lasts), available_at=now)

    def failed(self, reason: str) -> None:
        """Note that there was no usable answer, and why."""
        self._is_ok, self._reason = False, reason

    def report(self, now: datetime) -> FeedReport:
        """Return how the feed stands."""
        return feed_report(self.feed, self.known, now=now, is_ok=self._is_ok, reason=self._reason)


def news(part: Series, *, stored: Series | None, now: datetime) -> Sequence[Series]:
    """Return a part of an answer with the rest as it is stored, if it tells anything new.

    The newest forecast of a source is the one that counts, and a part alone would hide the rest.

    Args:
        part: Of values that are final.
        stored: The newest forecast of the source; None if there is none.
        now: GridFlex time; what is stored of the past is left out.
    """
    if stored is None:
        return [part]
    start = min(part.start, max(stored.start, HalfHour.containing(now)))
    half_hours = start.until(max(part.end, stored.end))
    told, known = (one.window(start, half_hours) for one in (part, stored))
    if not (np.isfinite(told) & np.isnan(known)).any():
        return []
    return [
        replace(
            part,
            start=start,
            values=np.where(np.isnan(told), known, told),
            origin=weakest({part.origin, stored.origin}),
        )
    ]


def feed_report(
    feed: Feed, known: Known | None, *, now: datetime, is_ok: bool | None, reason: str
) -> FeedReport:
    """Return how a feed stands of which ``known`` is stored."""
    good_at = known.available_at if known else None
    return FeedReport(
        provider=feed.provider,
        source=feed.source,
        region=feed.region,
        is_ok=is_ok,
        reason=reason,
        last_good_at=good_at,
        age_s=(now - good_at).total_seconds() if good_at else None,
    )
