"""The grid agent's core against fake feeds and a fake store."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from gridflex.adapters.grid.series import PartlyToldError
from gridflex.agents.grid import Grid
from gridflex.errors import ContractError, SourceError
from gridflex.halfhour import HalfHour
from gridflex.signals import Kind, Known, Origin, Series, Signal
from tests.unit.grid.replay import at, hh

NOON = at("2026-01-15T12:00Z")
NOW = hh("2026-01-15T12:00Z")


def series(
    values: Sequence[float],
    *,
    start: HalfHour = NOW,
    source: str = "a/forecast",
    signal: Signal = Signal.INTENSITY,
    kind: Kind = Kind.FORECAST,
    origin: Origin = Origin.LIVE,
    region: str = "GB",
    available_at: datetime = NOON,
) -> Series:
    return Series(
        signal=signal,
        kind=kind,
        source=source,
        origin=origin,
        region=region,
        start=start,
        values=np.asarray(values, dtype=np.float64),
        issued_at=available_at,
        available_at=available_at,
    )


@dataclass
class FakeFeed:
    """Says the same thing at every poll, or fails."""

    says: Series
    provider: str = "a"
    lookback: timedelta = timedelta(days=28)
    fails: Exception | None = None
    is_final: bool = False
    since: list[HalfHour] = field(default_factory=list)

    @property
    def source(self) -> str:
        return self.says.source

    @property
    def signal(self) -> Signal:
        return self.says.signal

    @property
    def kind(self) -> Kind:
        return self.says.kind

    @property
    def region(self) -> str:
        return self.says.region

    async def fetch(self, *, since: HalfHour, now: datetime) -> Sequence[Series]:
        self.since.append(since)
        if self.fails:
            raise self.fails
        return [replace(self.says, available_at=now)]


class FakeStore:
    """Keeps everything in lists, as the port says."""

    def __init__(self) -> None:
        self.kept: list[Series] = []

    async def save_series(self, series: Sequence[Series]) -> None:
        self.kept += series

    async def newest(self, signal: Signal, *, kind: Kind, region: str, source: str) -> Known | None:
        mine = [s for s in self._of(signal, kind, region) if s.source == source]
        if not mine:
            return None
        return Known(max(s.end - 1 for s in mine), max(s.available_at for s in mine))

    async def series_known_at(
        self, signal: Signal, *, region: str, now: datetime
    ) -> Sequence[Series]:
        known = [s for s in self._of(signal, Kind.FORECAST, region) if s.available_at <= now]
        known.sort(key=lambda s: s.available_at)
        return list({s.source: s for s in known}.values())[::-1]

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
        mine = [
            s
            for s in self._of(signal, Kind.OUTTURN, region)
            if s.source == source and s.available_at <= known_at
        ]
        if not mine:
            return None
        values = np.full(half_hours, np.nan)
        for s in mine:
            window = s.window(start, half_hours)
            values = np.where(np.isnan(window), values, window)
        return replace(mine[-1], start=start, values=values)

    def _of(self, signal: Signal, kind: Kind, region: str) -> list[Series]:
        return [s for s in self.kept if (s.signal, s.kind, s.region) == (signal, kind, region)]


def outturn(values: Sequence[float], signal: Signal, origin: Origin = Origin.LIVE) -> Series:
    source = {Signal.INTENSITY: "carbon-intensity/actual", Signal.PRICE: "elexon/mid"}[signal]
    return series(
        values,
        start=NOW - len(values),
        source=source,
        signal=signal,
        kind=Kind.OUTTURN,
        origin=origin,
    )


async def test_a_tick_keeps_what_every_feed_said() -> None:
    store = FakeStore()
    feeds = [FakeFeed(series([100.0])), FakeFeed(series([80.0], source="b/x"), provider="b")]

    report = await Grid(feeds, store=store).tick(NOON)

    assert [s.source for s in store.kept] == ["a/forecast", "b/x"]
    assert (report.polled, report.saved) == (("a/forecast", "b/x"), 2)
    assert [feed.is_ok for feed in report.feeds] == [True, True]
    assert [feed.age_s for feed in report.feeds] == [0.0, 0.0]


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(SourceError("a: down"), id="down"),
        pytest.param(ContractError("a: field price is 'dear'"), id="garbage"),
        pytest.param(KeyError("price"), id="a bug in the adapter"),
    ],
)
async def test_a_failing_feed_is_reported_and_stops_nobody(failure: Exception) -> None:
    store = FakeStore()
    bad = FakeFeed(series([100.0]), fails=failure)
    good = FakeFeed(series([80.0], source="b/x"), provider="b")

    report = await Grid([bad, good], store=store).tick(NOON)

    assert [s.source for s in store.kept] == ["b/x"]
    (degraded,) = report.degraded
    assert degraded.source == "a/forecast"
    assert str(failure.args[0]) in degraded.reason
    assert (degraded.last_good_at, degraded.age_s) == (None, None)


@pytest.mark.parametrize(
    ("stored", "saved"),
    [
        pytest.param([], 1, id="nothing"),
        pytest.param([1.0] * 2, 1, id="less"),
        pytest.param([1.0] * 4, 0, id="as much"),
        pytest.param([1.0] * 6, 0, id="more"),
    ],
)
async def test_a_part_of_an_answer_is_kept_unless_it_would_hide_more(
    stored: list[float], saved: int
) -> None:
    store = FakeStore()
    store.kept = [series(stored)] if stored else []
    part = series([100.0] * 4, available_at=NOON + timedelta(hours=1))
    feed = FakeFeed(part, fails=PartlyToldError("a: no tomorrow", part))

    report = await Grid([feed], store=store).tick(part.available_at)

    (degraded,) = report.degraded
    assert (degraded.reason, degraded.age_s) == ("a: no tomorrow", 0.0 if saved else 3600.0)
    kept = [one.values.tolist() for one in store.kept]
    assert (report.saved, part.values.tolist() in kept) == (saved, bool(saved))


@pytest.mark.parametrize(
    ("stored", "kept"),
    [
        pytest.param(series([1.0] * 8, start=NOW - 4), [1, 1, 1, 1, 9, 9], id="the rest of today"),
        pytest.param(series([1.0] * 2), [1, 1, np.nan, np.nan, 9, 9], id="a gap between them"),
        pytest.param(series([1.0] * 5), [1, 1, 1, 1, 9, 9], id="a part of it too"),
        pytest.param(series([1.0] * 4, start=NOW - 4), [np.nan] * 4 + [9, 9], id="the past"),
    ],
)
async def test_a_later_part_of_an_answer_hides_nothing_that_is_stored(
    stored: Series, kept: list[float]
) -> None:
    store = FakeStore()
    store.kept = [stored]
    part = series([9.0, 9.0], start=NOW + 4, available_at=NOON + timedelta(minutes=20))
    feed = FakeFeed(part, fails=PartlyToldError("a: no today", part))

    await Grid([feed], store=store).tick(part.available_at)

    newest = store.kept[-1]
    assert (newest.start, newest.available_at) == (NOW, part.available_at)
    np.testing.assert_array_equal(newest.values, kept)


async def test_an_earlier_part_of_an_answer_hides_nothing_that_is_stored() -> None:
    store = FakeStore()
    store.kept = [series([1.0, 1.0], start=NOW + 4, origin=Origin.RECORDED)]
    part = series([9.0] * 4, available_at=NOON + timedelta(minutes=20))
    feed = FakeFeed(part, fails=PartlyToldError("a: no tomorrow", part))
    grid = Grid([feed], store=store)

    await grid.tick(part.available_at)
    again = await grid.tick(part.available_at + timedelta(minutes=15))

    assert store.kept[-1].values.tolist() == [9, 9, 9, 9, 1, 1]
    assert store.kept[-1].origin is Origin.RECORDED
    assert (again.polled, again.saved) == (("a/forecast",), 0)


async def test_the_age_of_the_last_good_answer_grows_while_a_feed_fails() -> None:
    feed = FakeFeed(series([100.0]))
    grid = Grid([feed], store=FakeStore())
    await grid.tick(NOON)

    feed.fails = SourceError("down")
    report = await grid.tick(NOON + timedelta(hours=1))

    assert report.feeds[0].is_ok is False
    assert report.feeds[0].last_good_at == NOON
    assert report.feeds[0].age_s == 3600.0


async def test_a_provider_is_polled_at_most_twice_per_half_hour() -> None:
    feed = FakeFeed(series([100.0]))
    grid = Grid([feed], store=FakeStore(), poll_every=timedelta(seconds=1))

    for minute in range(60):
        await grid.tick(NOON + timedelta(minutes=minute))

    assert len(feed.since) == 4


async def test_jitter_moves_the_polls_of_a_provider() -> None:
    feed = FakeFeed(series([100.0]))
    grid = Grid([feed], store=FakeStore(), jitter=lambda _provider: timedelta(minutes=4))
    polled = [
        minute for minute in range(60) if (await grid.tick(NOON + timedelta(minutes=minute))).polled
    ]

    assert polled == [0, 4, 19, 34, 49]


async def test_a_failed_poll_waits_for_its_next_turn() -> None:
    feed = FakeFeed(series([100.0]), fails=SourceError("down"))
    grid = Grid([feed], store=FakeStore())

    for minute in range(15):
        await grid.tick(NOON + timedelta(minutes=minute))

    assert len(feed.since) == 1


async def test_outturns_are_asked_for_from_the_lookback_then_from_the_newest_less_an_overlap() -> (
    None
):
    feed = FakeFeed(outturn([100.0] * 4, Signal.INTENSITY), lookback=timedelta(days=2))
    grid = Grid([feed], store=FakeStore())

    await grid.tick(NOON)
    await grid.tick(NOON + timedelta(minutes=15))

    assert feed.since == [NOW - 96, NOW - 1 - 24]


async def test_a_restarted_agent_goes_on_from_what_is_stored() -> None:
    store = FakeStore()
    store.kept = [outturn([100.0] * 4, Signal.INTENSITY)]
    feed = FakeFeed(outturn([100.0], Signal.INTENSITY), fails=SourceError("down"))

    report = await Grid([feed], store=store).tick(NOON + timedelta(hours=1))

    assert feed.since == [NOW - 1 - 24]
    assert report.feeds[0].age_s == 3600.0


async def test_a_broken_store_is_not_hidden() -> None:
    class Broken(FakeStore):
        async def save_series(self, series: Sequence[Series]) -> None:
            raise SourceError(f"database is gone, {len(series)} not saved")

    with pytest.raises(SourceError, match="database is gone"):
        await Grid([FakeFeed(series([100.0]))], store=Broken()).tick(NOON)


async def test_what_could_not_be_stored_is_asked_for_again_whole() -> None:
    class DownAtFirst(FakeStore):
        is_up = False

        async def save_series(self, series: Sequence[Series]) -> None:
            if not self.is_up:
                raise SourceError("database is gone")
            await super().save_series(series)

    store = DownAtFirst()
    feed = FakeFeed(outturn([100.0] * 4, Signal.INTENSITY), lookback=timedelta(days=28))
    grid = Grid([feed], store=store)
    with pytest.raises(SourceError):
        await grid.tick(NOON)

    store.is_up = True
    await grid.tick(NOON + timedelta(seconds=2))

    assert feed.since == [NOW - 28 * 48] * 2
    assert len(store.kept) == 1


async def test_a_feed_that_hangs_does_not_keep_the_others_waiting() -> None:
    kept = asyncio.Event()

    class Store(FakeStore):
        async def save_series(self, series: Sequence[Series]) -> None:
            await super().save_series(series)
            kept.set()

    class Hangs(FakeFeed):
        async def fetch(self, *, since: HalfHour, now: datetime) -> Sequence[Series]:
            await asyncio.Event().wait()
            return await super().fetch(since=since, now=now)

    store = Store()
    feeds = [Hangs(series([1.0], source="slow/x"), provider="slow"), FakeFeed(series([100.0]))]
    tick = asyncio.create_task(Grid(feeds, store=store).tick(NOON))
    async with asyncio.timeout(60):
        await kept.wait()
    tick.cancel()

    assert [one.source for one in store.kept] == ["a/forecast"]
