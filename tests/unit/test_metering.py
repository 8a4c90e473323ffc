"""Energy of a run, half-hour by half-hour."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.halfhour import HalfHour
from gridflex.lifecycle import Attempt, AttemptState
from gridflex.metering import MeteredHalfHour, metered

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
RUNNING = Attempt(
    number=1, ray_id="a", site="local", state=AttemptState.RUNNING, decided_at=NOON,
    started_at=NOON + timedelta(minutes=10),
)  # fmt: skip


def six_kw(_begin: datetime, _end: datetime) -> float:
    return 6.0


def minutes_of(attempt: Attempt, *, since: float = 0, until: float) -> dict[float, float]:
    parts = metered(
        attempt,
        mean_kw=six_kw,
        since=NOON + timedelta(minutes=since),
        until=NOON + timedelta(minutes=until),
    )
    first = HalfHour(NOON)
    return {30.0 * first.until(part.half_hour): part.running.seconds / 60 for part in parts}


def ended(minute: float) -> Attempt:
    return replace(RUNNING, state=AttemptState.ENDED, ended_at=NOON + timedelta(minutes=minute))


def test_only_half_hours_that_have_passed_are_metered_while_it_runs() -> None:
    assert minutes_of(RUNNING, until=59) == {0: 20}
    assert minutes_of(RUNNING, until=60) == {0: 20, 30: 30}


def test_the_last_half_hour_is_metered_once_it_has_ended() -> None:
    assert minutes_of(ended(75), until=80) == {0: 20, 30: 30, 60: 15}


def test_an_end_after_the_tick_began_is_metered_whole() -> None:
    assert minutes_of(ended(75), until=50) == {0: 20, 30: 30, 60: 15}


def test_the_half_hour_in_which_metering_goes_on_is_metered_again_from_its_start() -> None:
    assert minutes_of(ended(75), since=40, until=80) == {30: 30, 60: 15}


def test_what_has_not_started_uses_nothing() -> None:
    assert minutes_of(replace(RUNNING, started_at=None), until=90) == {}


def test_an_end_before_the_start_was_seen_uses_nothing() -> None:
    assert minutes_of(ended(5), until=90) == {}


def test_energy_is_power_times_time() -> None:
    (part,) = metered(ended(30), mean_kw=six_kw, since=NOON, until=NOON + timedelta(hours=1))

    assert part.energy_kwh == pytest.approx(2.0)


@given(
    st.integers(0, 200),
    st.integers(0, 200),
    st.lists(st.integers(1, 50), min_size=1, max_size=12),
)
def test_however_often_it_is_metered_each_half_hour_is_the_same_and_all_make_the_whole(
    first: int, ran: int, steps: list[int]
) -> None:
    start, end = NOON + timedelta(minutes=first), NOON + timedelta(minutes=first + ran)
    parts: dict[HalfHour, MeteredHalfHour] = {}
    since, until = NOON, NOON
    for step in [*steps, 600]:
        until += timedelta(minutes=step)
        run = ended(first + ran) if until >= end else RUNNING
        run = replace(run, started_at=start)
        for part in metered(run, mean_kw=six_kw, since=since, until=until):
            assert parts.setdefault(part.half_hour, part) == part
        since = until - timedelta(minutes=30)

    assert sum((part.running for part in parts.values()), timedelta(0)) == end - start
    assert sum(part.energy_kwh for part in parts.values()) == pytest.approx(0.1 * ran)
