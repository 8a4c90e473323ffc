"""What providers still say of what they had forecast, asked for after the fact."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import cycle

import numpy as np
import pytest

from gridflex.adapters.grid.past_feeds import Filled, PastFeed, fill_in, past_feeds
from gridflex.adapters.http import UnavailableError
from gridflex.errors import SourceError
from gridflex.halfhour import HalfHour
from gridflex.settings import GridSettings
from gridflex.signals import Kind, Origin, Series, Signal
from tests.unit.grid.replay import at, hh
from tests.unit.grid.sandbox import SETTINGS, WITH_NORD_POOL, Sandbox, small_world
from tests.unit.grid.test_sandbox_providers import FakeArchive

NOW = "2024-04-03T12:00Z"
AGILE, N2EX, WIND, DEMAND = (
    "octopus/agile-derived", "nord-pool/n2ex", "elexon/windfor", "elexon/ndf",
)  # fmt: skip


class Kept:
    """Keeps publications in a dictionary."""

    def __init__(self) -> None:
        self.of: dict[tuple[str, datetime], Series] = {}
        self.reach: dict[tuple[str, datetime], datetime] = {}

    async def missing(
        self, _signal: Signal, *, source: str, due: Mapping[datetime, datetime]
    ) -> Sequence[datetime]:
        self.reach |= {(source, one): until for one, until in due.items()}
        return sorted((one for one in due if (source, one) not in self.of), reverse=True)

    async def save(self, series: Series, *, due: datetime) -> bool:
        self.of[series.source, due] = series
        return True

    def dues(self, source: str) -> list[str]:
        return [f"{due:%m-%dT%H:%M}" for told, due in sorted(self.of) if told == source]


async def fill(
    box: Sandbox,
    kept: Kept,
    *,
    days: float = 1,
    settings: GridSettings = SETTINGS,
    archive: FakeArchive | None = None,
) -> Filled:
    feeds = past_feeds(settings, transport=box.transport, archive=archive)
    since = box.now - timedelta(days=days)
    return await fill_in(
        feeds.feeds, kept, since=since, now=box.now, advance=lambda _d, _of: None, pause_s=0.0
    )


async def test_each_source_is_asked_for_what_was_due_in_the_time_that_is_wanted() -> None:
    kept = Kept()

    filled = await fill(Sandbox(small_world(), NOW), kept, settings=WITH_NORD_POOL)

    vintages = ["04-02T16:45", "04-02T23:45", "04-03T05:45", "04-03T10:45"]
    assert kept.dues(DEMAND) == kept.dues(WIND) == vintages
    assert kept.dues(AGILE) == ["04-02T16:00"]
    assert kept.dues(N2EX) == ["04-03T09:30"]
    assert filled == Filled({N2EX: 1, AGILE: 1, DEMAND: 4, WIND: 4}, [])


async def test_nobody_asks_for_past_results_of_an_exchange_that_the_settings_do_not_name() -> None:
    assert N2EX not in (await fill(Sandbox(small_world(), NOW), Kept())).stored


async def test_a_vintage_is_what_was_published_then_and_keeps_its_true_time() -> None:
    box, kept = Sandbox(small_world(), "2024-04-03T05:45Z"), Kept()
    then = await box.body(
        "/bmrs/api/v1/forecast/generation/wind/history", publishTime="2024-04-03T05:45Z"
    )
    box.set(NOW)

    await fill(box, kept)

    wind = kept.of[WIND, at("2024-04-03T05:45Z")]
    assert wind.issued_at == at("2024-04-03T05:30Z")
    assert wind.available_at == at(NOW)
    np.testing.assert_array_equal(wind.values[::2], [row["generation"] for row in then["data"]])
    assert kept.of[DEMAND, at("2024-04-03T05:45Z")].issued_at == at("2024-04-03T05:45Z")


@pytest.mark.parametrize(
    ("source", "due"),
    [
        pytest.param(AGILE, "2024-04-02T16:00Z", id="recovered"),
        pytest.param(N2EX, "2024-04-02T09:30Z", id="exchange"),
    ],
)
async def test_past_prices_are_those_of_the_day_after_they_were_due(source: str, due: str) -> None:
    box, kept = Sandbox(small_world(), NOW), Kept()

    await fill(box, kept, days=2, settings=WITH_NORD_POOL)

    series, world = kept.of[source, at(due)], box.world
    prices = world.window(world.day_ahead_gbp_per_mwh, series.start, len(series))
    hourly = prices.reshape(-1, 2).mean(axis=1)
    assert (series.start, series.end) == (hh("2024-04-02T22:00Z"), hh("2024-04-03T22:00Z"))
    np.testing.assert_allclose(series.values.reshape(-1, 2).mean(axis=1), hourly, atol=0.01)
    assert series.issued_at == (at(due) if source == AGILE else at("2024-04-02T09:10Z"))
    assert series.available_at == at(NOW)
    assert kept.reach[source, at(due)] == at("2024-04-03T22:00Z")


def test_an_exchange_is_asked_for_no_results_that_it_shows_no_more() -> None:
    auction, rates, *_ = past_feeds(WITH_NORD_POOL).feeds
    now = at(NOW)

    asked, others = (list(one.due(now - timedelta(days=90), now)) for one in (auction, rates))

    assert (auction.source, len(asked), asked[0]) == (N2EX, 60, at("2024-02-04T10:30Z"))
    assert (rates.source, len(others)) == (AGILE, 90)


async def test_what_is_due_at_this_instant_is_not_past_yet() -> None:
    kept = Kept()

    await fill(Sandbox(small_world(), "2024-04-03T16:00Z"), kept)

    assert kept.dues(AGILE) == ["04-02T16:00"]


async def test_half_a_day_of_prices_is_asked_for_again() -> None:
    world, kept = small_world(), Kept()
    noon = world.start.until(hh("2024-04-03T12:00Z"))
    whole = world.day_ahead_gbp_per_mwh.copy()
    world.day_ahead_gbp_per_mwh[noon : noon + 20] = np.nan

    half = await fill(Sandbox(world, NOW), kept, days=2, settings=WITH_NORD_POOL)
    world.day_ahead_gbp_per_mwh[:] = whole
    rest = await fill(Sandbox(world, NOW), kept, days=2, settings=WITH_NORD_POOL)

    assert [reason.split(": ", 1) for reason in half.missing] == [
        [f"{source} of {due}", "only 2024-04-02T22:00Z to 2024-04-03T12:00Z of 2024-04-03 is told"]
        for source, due in ((N2EX, "2024-04-02T09:30Z"), (AGILE, "2024-04-02T16:00Z"))
    ]
    assert (rest.stored[N2EX], rest.stored[AGILE], rest.missing) == (1, 1, [])


@pytest.mark.parametrize(
    ("now", "due"),
    [
        pytest.param("2024-03-30T20:00Z", "03-30T17:00", id="eve of the change, still winter"),
        pytest.param("2024-03-31T20:00Z", "03-31T16:00", id="day of the change, summer"),
    ],
)
async def test_when_rates_were_shown_goes_by_the_clock_in_london(now: str, due: str) -> None:
    kept = Kept()

    await fill(Sandbox(small_world(), now), kept)

    assert kept.dues(AGILE) == [due]
    (series,) = (series for (source, _), series in kept.of.items() if source == AGILE)
    assert len(series) == (46 if due.startswith("03-30") else 48)


async def test_the_rates_are_those_of_the_product_on_offer_at_the_time() -> None:
    box, archive = Sandbox(small_world("2023-12-01T00:00Z"), "2023-12-08T12:00Z"), FakeArchive()

    filled = await fill(box, Kept(), days=4, archive=archive)

    asked = [url for provider, url, *_ in archive.kept if provider == "octopus"]
    lists = [url for url in asked if "/products/?" in url]
    assert filled.stored[AGILE] == 4
    assert [url.split("/products/")[1].split("/")[0] for url in asked if url not in lists] == [
        "AGILE-23-12-06", "AGILE-23-12-06", "AGILE-FLEX-22-11-25", "AGILE-FLEX-22-11-25",
    ]  # fmt: skip
    assert [url.split("available_at=")[1] for url in lists] == [
        "2023-12-07T17%3A00%3A00Z", "2023-12-05T17%3A00%3A00Z",
    ]  # fmt: skip


async def test_rates_of_another_formula_are_not_turned_into_prices() -> None:
    box, kept = Sandbox(small_world("2022-11-10T00:00Z"), "2022-11-16T12:00Z"), Kept()

    filled = await fill(box, kept, days=1)

    assert kept.dues(AGILE) == []
    assert "rates of AGILE-22-08-31 follow another formula" in filled.missing[0]


async def test_what_is_kept_is_not_asked_for_again() -> None:
    box, kept, archive = Sandbox(small_world(), NOW), Kept(), FakeArchive()
    await fill(box, kept, settings=WITH_NORD_POOL)

    again = await fill(box, kept, settings=WITH_NORD_POOL, archive=archive)

    assert set(again.stored.values()) == {0}
    assert again.stood == 10
    assert archive.kept == []


START = hh("2026-01-15T00:00Z")
SERIES = Series(
    signal=Signal.WIND, kind=Kind.FORECAST, source="a", origin=Origin.LIVE, region="GB",
    start=START, values=np.ones(2), issued_at=START.start, available_at=START.start,
)  # fmt: skip


class Hourly:
    """A source with a publication an hour, some of which it fails to give."""

    def __init__(
        self,
        *failing: int,
        source: str = "a",
        error: type[SourceError] | Sequence[type[SourceError]] = SourceError,
    ) -> None:
        self.failing = failing
        self.source = source
        self.errors = cycle([error] if isinstance(error, type) else error)
        self.asked: list[int] = []

    @property
    def feed(self) -> PastFeed:
        return PastFeed(self.source, Signal.WIND, self._due, self._ask)

    def _due(self, since: datetime, until: datetime) -> Iterator[datetime]:
        for half_hour in HalfHour.containing(since).span((until - since) // timedelta(minutes=30)):
            if half_hour.start.minute == 0:
                yield half_hour.start

    async def _ask(self, due: datetime, _now: datetime) -> Series:
        hour = (due - START.start) // timedelta(hours=1)
        self.asked.append(hour)
        if hour in self.failing:
            raise next(self.errors)(f"no {hour}")
        return replace(SERIES, source=self.source)


async def filled_from(*sources: Hourly, until: int = 8) -> tuple[Filled, Kept, list[int]]:
    told: list[int] = []
    kept = Kept()
    filled = await fill_in(
        [source.feed for source in sources], kept, since=START.start, now=(START + 2 * until).start,
        advance=lambda done, _of: told.append(done), pause_s=0.0,
    )  # fmt: skip
    return filled, kept, told


async def test_the_newest_is_asked_for_first_and_single_failures_are_passed_over() -> None:
    source = Hourly(5, 6, 3)

    filled, _, told = await filled_from(source)

    assert source.asked == [7, 6, 5, 4, 3, 2, 1, 0]
    assert filled.stored == {"a": 5}
    assert [reason.rpartition(": ")[2] for reason in filled.missing] == ["no 6", "no 5", "no 3"]
    assert told[-1] == 8


async def test_a_source_that_does_not_answer_is_left_alone_and_stops_no_other() -> None:
    dead, alive = Hourly(4, 5, 6, error=UnavailableError), Hourly(source="b")

    filled, kept, told = await filled_from(dead, alive)

    assert dead.asked == [7, 6, 5, 4]
    assert filled.stored == {"a": 1, "b": 8}
    assert filled.missing[-1] == "a: 4 more were not asked for"
    assert ("a", START.start + timedelta(hours=7)) in kept.of
    assert (told[-1], told == sorted(told)) == (16, True)


async def test_a_source_that_answers_is_asked_for_what_lies_before_a_hole() -> None:
    source = Hourly(*range(2, 7))

    filled, _, told = await filled_from(source)

    assert source.asked == [7, 6, 5, 4, 3, 2, 1, 0]
    assert filled.stored == {"a": 3}
    assert filled.missing == [
        "a of 2026-01-15T06:00Z: no 6",
        "a of 2026-01-15T05:00Z: no 5",
        "a of 2026-01-15T04:00Z: no 4",
        "a: 2 more could not be had either, 2026-01-15T02:00Z to 2026-01-15T03:00Z",
    ]
    assert told[-1] == 8


async def test_a_source_that_answers_with_holes_only_is_asked_no_more_in_the_end() -> None:
    source = Hourly(*range(39))

    filled, _, _ = await filled_from(source, until=40)

    assert source.asked == list(range(39, 8, -1))
    assert filled.missing[-2:] == [
        "a: 27 more could not be had either, 2026-01-15T09:00Z to 2026-01-16T11:00Z",
        "a: 9 more were not asked for",
    ]


@pytest.mark.parametrize("mixed", [(SourceError, SourceError, UnavailableError),
                                   (UnavailableError, UnavailableError, SourceError)])  # fmt: skip
async def test_failures_among_holes_make_a_gap_no_shorter_and_tell_no_more_of_it(
    mixed: tuple[type[SourceError], ...],
) -> None:
    source = Hourly(*range(40), error=mixed)

    filled, _, _ = await filled_from(source, until=40)

    assert len(source.asked) == 30
    assert [reason.rpartition(": ")[2] for reason in filled.missing] == [
        "no 39", "no 38", "no 37",
        "27 more could not be had either, 2026-01-15T10:00Z to 2026-01-16T12:00Z",
        "10 more were not asked for",
    ]  # fmt: skip


async def test_what_can_be_had_ends_a_gap_of_failures_and_holes() -> None:
    source = Hourly(*range(25), *range(26, 50), error=(SourceError, SourceError, UnavailableError))

    await filled_from(source, until=50)

    assert source.asked == list(range(49, -1, -1))


async def test_a_last_publication_that_cannot_be_had_leaves_nothing_unasked() -> None:
    filled, _, told = await filled_from(Hourly(0, 1, 2, error=UnavailableError), until=3)

    assert [reason.rpartition(": ")[2] for reason in filled.missing] == ["no 2", "no 1", "no 0"]
    assert told[-1] == 3
