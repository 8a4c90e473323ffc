"""Which agents are silent, which are impaired, and what they say about it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gridflex.adapters.tables import AgentRow
from gridflex.agents.roles import BOOKS, ENERGY, GRID, ORCHESTRATOR, TRADING, WORKLOAD
from gridflex.serve.health import degraded_agents, silent_agents
from gridflex.settings import ClockSettings, GridSettings, PlannerSettings, Settings

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
SETTINGS = Settings(grid=GridSettings(poll_s=900.0), planner=PlannerSettings(replan_s=1800.0))
FAST = Settings(
    grid=GridSettings(poll_s=900.0),
    planner=PlannerSettings(replan_s=1800.0),
    clock=ClockSettings(speed=360.0, origin=NOW, origin_wall=NOW),
)


def agent(name: str, *, ago_s: float = 1.0, detail: dict[str, Any] | None = None) -> AgentRow:
    seen = NOW - timedelta(seconds=ago_s)
    return AgentRow(name=name, ticked_at=seen, ticked_wall=seen, detail=detail or {})


def test_agents_that_never_ticked_are_silent() -> None:
    assert silent_agents([], settings=SETTINGS, wall=NOW) == dict.fromkeys(
        (WORKLOAD, GRID, ORCHESTRATOR, BOOKS), "has not ticked yet"
    )


def test_the_desk_is_waited_for_where_there_is_one() -> None:
    market = SETTINGS.market.model_copy(update={"subscriber_id": "gridflex.test"})
    settings = SETTINGS.model_copy(update={"market": market})
    late = agent(TRADING, ago_s=66.0)

    assert TRADING in silent_agents([], settings=settings, wall=NOW)
    assert TRADING in silent_agents([late], settings=settings, wall=NOW)
    assert TRADING not in silent_agents([late], settings=SETTINGS, wall=NOW)


def test_the_seller_is_waited_for_where_energy_is_sold() -> None:
    energy = SETTINGS.energy.model_copy(update={"unit": "V__CGRID001"})
    settings = SETTINGS.model_copy(update={"energy": energy})

    assert ENERGY in silent_agents([], settings=settings, wall=NOW)
    assert ENERGY not in silent_agents([], settings=SETTINGS, wall=NOW)


@pytest.mark.parametrize(
    ("name", "in_time_s", "settings"),
    [
        pytest.param(WORKLOAD, 60.0, SETTINGS, id="workload looks all the time"),
        pytest.param(GRID, 960.0, SETTINGS, id="grid polls every quarter of an hour"),
        pytest.param(ORCHESTRATOR, 1860.0, SETTINGS, id="the plan is looked at every half-hour"),
        pytest.param(GRID, 62.5, FAST, id="grid in a replay"),
        pytest.param(ORCHESTRATOR, 65.0, FAST, id="the plan in a replay"),
        pytest.param(BOOKS, 360.0, SETTINGS, id="the books are kept every five minutes"),
    ],
)
def test_an_agent_is_silent_a_minute_after_it_was_due(
    name: str, in_time_s: float, settings: Settings
) -> None:
    in_time = silent_agents([agent(name, ago_s=in_time_s)], settings=settings, wall=NOW)
    late = silent_agents([agent(name, ago_s=in_time_s + 0.6)], settings=settings, wall=NOW)

    assert name not in in_time
    assert late[name].startswith("last ticked")


def test_an_agent_that_works_is_not_degraded() -> None:
    assert degraded_agents([agent(GRID, detail={"degraded": {}, "saved": 3})]) == {}


def test_what_impairs_an_agent_is_said_for_each_source_site_and_failure() -> None:
    agents = [
        agent(GRID, detail={"degraded": {"elexon/mid": "HTTP 503", "octopus/agile": "late"}}),
        agent(WORKLOAD, detail={"unreachable": {"london": "no answer"}}),
        agent(ORCHESTRATOR, detail={"failed": "nothing is known"}),
    ]

    assert degraded_agents(agents) == {
        GRID: "elexon/mid: HTTP 503; octopus/agile: late",
        WORKLOAD: "london: no answer",
        ORCHESTRATOR: "nothing is known",
    }


def test_jobs_that_could_not_be_acted_on_are_said_too() -> None:
    agents = [agent(WORKLOAD, detail={"failures": {"job-1": "refused"}, "unreachable": {}})]

    assert degraded_agents(agents) == {WORKLOAD: "job-1: refused"}
