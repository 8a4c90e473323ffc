"""When old records are removed."""

from datetime import datetime

from gridflex.agents.cleaning import Retention
from gridflex.errors import SourceError
from tests.unit.lifecycles import HOUR, NOON


async def test_a_database_that_is_away_is_tried_again_the_next_day() -> None:
    asked = []

    async def forget(*, before: datetime) -> int:
        asked.append(before)
        raise SourceError("away")

    retention = Retention("records", forget, kept_days=1.0)

    assert [await retention.tick(NOON + hours * HOUR) for hours in (0, 1, 24)] == [0, 0, 0]
    assert asked == [NOON - 24 * HOUR, NOON]


async def test_what_is_kept_for_good_is_never_removed() -> None:
    async def forget(*, before: datetime) -> int:
        raise AssertionError(before)

    assert await Retention("records", forget, kept_days=None).tick(NOON) == 0
