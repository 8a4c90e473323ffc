"""Wall time, or a day in minutes."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gridflex.adapters.clock import Clock
from gridflex.settings import ClockSettings

ORIGIN = datetime(2026, 1, 15, tzinfo=UTC)
BEGAN = datetime(2026, 7, 1, 12, tzinfo=UTC)
YEAR = timedelta(days=365)


def replay(speed: float = 360.0) -> Clock:
    return Clock(ClockSettings(speed=speed, origin=ORIGIN, origin_wall=BEGAN))


def test_without_a_replay_gridflex_time_is_wall_time() -> None:
    clock = Clock(ClockSettings())

    assert clock.at(BEGAN) == clock.wall(BEGAN) == BEGAN
    assert clock.wall_s(90.0) == 90.0
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)


def test_in_a_replay_a_minute_is_six_hours() -> None:
    clock = replay()

    assert clock.at(BEGAN + timedelta(minutes=1)) == ORIGIN + timedelta(hours=6)
    assert clock.wall(ORIGIN + timedelta(hours=6)) == BEGAN + timedelta(minutes=1)
    assert clock.wall_s(1800.0) == 5.0
    assert clock.speed == 360.0


@given(st.timedeltas(-YEAR, YEAR), st.sampled_from([0.5, 1.0, 60.0, 360.0]))
def test_there_and_back_is_the_same_wall_time(since: timedelta, speed: float) -> None:
    clock, wall = replay(speed), BEGAN + since

    assert abs(clock.wall(clock.at(wall)) - wall) <= timedelta(milliseconds=1)


async def test_nobody_sleeps_a_negative_time() -> None:
    await replay().sleep(-5.0)
