"""Which model forecasts is what the decisions add up to."""

from datetime import UTC, datetime, timedelta

import pytest

from gridflex.errors import ContractError
from gridflex.forecasting.lineage import (
    Act,
    Decision,
    Standing,
    Training,
    champions,
    rolled_back,
    standing_of,
)
from gridflex.halfhour import HalfHour
from gridflex.signals import Origin

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
TARGET = "intensity_gco2_per_kwh"


def promoted(*model_ids: int) -> list[Decision]:
    return [
        Decision(TARGET, Act.PROMOTE, model_id, "better", NOON + number * timedelta(hours=1))
        for number, model_id in enumerate(model_ids)
    ]


def back(decisions: list[Decision]) -> list[Decision]:
    made = rolled_back(decisions, target=TARGET, reason="worse", at=NOON + timedelta(days=1))
    return [*decisions, made]


def test_the_last_promoted_model_is_the_champion() -> None:
    assert champions(promoted(4, 9)) == [4, 9]


def test_a_rollback_makes_the_champion_before_count_again() -> None:
    decisions = back(promoted(4, 9))

    assert decisions[-1].model_id == 4
    assert champions(decisions) == [4]


def test_promoting_the_champion_again_adds_nothing_to_lead_back_to() -> None:
    assert champions(promoted(4, 9, 9)) == [4, 9]
    assert champions(back(promoted(4, 9, 9))) == [4]
    assert champions(promoted(4, 9, 4)) == [4, 9, 4]


def test_rolling_back_twice_leads_two_champions_back() -> None:
    assert champions(back(back(promoted(4, 9, 12)))) == [4]


def test_before_the_first_champion_there_was_none() -> None:
    decisions = back(promoted(4))

    assert decisions[-1].model_id is None
    assert champions(decisions) == []
    with pytest.raises(ContractError, match=f"{TARGET} has no champion to roll back"):
        back(decisions)


def test_a_promotion_after_a_rollback_stands_on_the_champion_it_led_back_to() -> None:
    decisions = [*back(promoted(4, 9)), *promoted(12)]

    assert champions(decisions) == [4, 12]


def test_a_model_is_retired_once_it_was_the_champion_and_is_no_more() -> None:
    decisions = back(promoted(4, 9))

    standings = {model_id: standing_of(model_id, decisions) for model_id in (4, 9, 10)}

    assert standings == {4: Standing.CHAMPION, 9: Standing.RETIRED, 10: Standing.CHALLENGER}


def test_a_model_that_learnt_from_nothing_is_refused() -> None:
    with pytest.raises(ContractError, match="holds no half-hour"):
        Training(
            target=TARGET, model="lightgbm", settings={}, window_start=HalfHour(NOON),
            window_end=HalfHour(NOON), origin=Origin.LIVE, code_version="1", metrics={},
            trained_at=NOON,
        )  # fmt: skip
