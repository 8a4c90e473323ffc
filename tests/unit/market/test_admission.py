"""Whether a unit may be sold: by what the ledger holds, once a day, over an override."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import ValidationError

from gridflex.adapters.ledger.store import Logged
from gridflex.adapters.market.baseline_facts import BaselineFacts
from gridflex.agents.energy.admission import Admissions
from gridflex.agents.energy.ports import predictability_limits
from gridflex.energy_settings import EnergySettings
from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import Event, EventType
from gridflex.market.baselines.commitments import Committed, commitment_event
from gridflex.market.baselines.waivers import Waiver, waiver_event
from gridflex.market.meters import Evidence, Reading
from gridflex.market.registry import UnitId
from gridflex.market.registry_records import reading_event, registry_event
from gridflex.market.volumes import ImportMWh
from gridflex.serve.baselines_api import create_baselines_router
from tests.unit.market.memory import MemoryLedger
from tests.unit.market.registered import RECORDS
from tests.unit.market.test_desk import PAIR, UNIT

NOON = datetime(2026, 7, 20, 11, tzinfo=UTC)
TODAY = date(2026, 7, 20)
DAYS = 10
HELD_BACK = "baseline is not known to predict the meter: 9 days to judge by, 10 needed"

WAY_OUT = (
    "to sell all the same: gridflex settle baseline allow V__CGRID001 --until YYYY-MM-DD "
    "--reason WHY"
)


class Counted(MemoryLedger):
    """Counts how often baselines were asked for."""

    asked = 0

    async def find(self, *event_types: EventType, **options: Any) -> list[Logged]:  # noqa: ANN401
        self.asked += EventType.BASELINE_COMPUTED in event_types
        return await super().find(*event_types, **options)


async def history(
    days: int = DAYS, *, kwh: int = 1000, evidence: Evidence = Evidence.SETTLEMENT
) -> Counted:
    """One half-hour a day with 1 MWh expected, none of it sold, and its reading."""
    ledger = Counted()
    await ledger.append([registry_event(one) for one in RECORDS], now=NOON)
    for back in range(1, days + 1):
        await ledger.append(metered(back, kwh=kwh, evidence=evidence), now=NOON)
    return ledger


def metered(back: int, *, kwh: int = 1000, evidence: Evidence = Evidence.SETTLEMENT) -> list[Event]:
    """Half-hour ``back`` days ago: 1 MWh expected, none of it sold, and its reading."""
    at = HalfHour(NOON - timedelta(days=back))
    expected = ImportMWh(Decimal(1))
    made = Committed(expected, expected, Decimal(1), is_traded=False)
    read = Reading(
        PAIR.import_msid, at, Decimal(kwh), Decimal(0), evidence,
        is_substituted=False, received_at=NOON - timedelta(hours=1),
    )  # fmt: skip
    return [commitment_event(made, UNIT, at), reading_event(read)]


def allowed(until: date, reason: str = "first start, agreed by operations") -> Waiver:
    return Waiver(UNIT, until, reason)


@pytest.mark.parametrize(
    ("given", "held_back"),
    [
        pytest.param({}, None, id="met"),
        pytest.param({"days": 9}, HELD_BACK, id="too few days"),
        pytest.param({"kwh": 1250}, "bias +20.0% is beyond 10.0%", id="biased"),
        pytest.param({"evidence": Evidence.TELEMETRY}, "0 days to judge by", id="no meter"),
    ],
)
async def test_a_unit_is_sold_only_if_its_baseline_met_its_meter(
    given: dict[str, Any], held_back: str | None
) -> None:
    ledger = await history(**given)

    found = await Admissions(BaselineFacts(ledger)).of(UNIT, day=TODAY, now=NOON)

    assert (found.held_back is None) == (held_back is None)
    assert held_back is None or held_back in str(found.held_back)
    assert str(found.held_back).startswith(found.said) or "bias +0.0%, error 0.0%" in found.said


async def test_it_is_judged_once_a_day() -> None:
    ledger = await history()
    admissions = Admissions(BaselineFacts(ledger))
    for minutes in range(0, 60, 10):
        await admissions.of(UNIT, day=TODAY, now=NOON + timedelta(minutes=minutes))
    today = ledger.asked

    await admissions.of(UNIT, day=TODAY, now=NOON + timedelta(hours=12))  # past midnight in London

    assert (today, ledger.asked) == (1, 2)


async def test_it_is_judged_again_when_readings_came_in_while_it_is_held_back() -> None:
    """A first start imports its history; without news nothing is read again."""
    ledger = await history(9)
    admissions = Admissions(BaselineFacts(ledger))
    before = [await admissions.of(UNIT, day=TODAY, now=NOON) for _ in range(3)]
    asked = ledger.asked
    await ledger.append(metered(10), now=NOON)

    after = await admissions.of(UNIT, day=TODAY, now=NOON + timedelta(minutes=1))

    assert all(one.held_back for one in before)
    assert (asked, ledger.asked) == (1, 2)
    assert after.held_back is None


async def test_an_override_counts_at_once_and_until_its_day() -> None:
    ledger = await history(9)
    admissions = Admissions(BaselineFacts(ledger))
    before = await admissions.of(UNIT, day=TODAY, now=NOON)
    await ledger.append([waiver_event(allowed(date(2026, 7, 21)))], now=NOON)

    today = await admissions.of(UNIT, day=TODAY, now=NOON)
    tomorrow = await admissions.of(UNIT, day=date(2026, 7, 21), now=NOON)

    assert before.held_back == tomorrow.held_back == f"{HELD_BACK}; {WAY_OUT}"
    assert today.held_back is None
    assert today.said.endswith(
        "sold all the same until 2026-07-21: first start, agreed by operations"
    )


@pytest.mark.parametrize(
    ("until", "days", "told"),
    [
        pytest.param(date(2026, 8, 3), 9, True, id="in two weeks"),
        pytest.param(date(2026, 8, 4), 9, False, id="later"),
        pytest.param(date(2026, 8, 3), 10, False, id="it will be sold by its baseline"),
    ],
)
async def test_before_an_override_ends_it_is_told_that_nothing_will_be_sold(
    until: date, days: int, told: bool
) -> None:
    ledger = await history(days)
    await ledger.append([waiver_event(allowed(until))], now=NOON)

    found = await Admissions(BaselineFacts(ledger)).of(UNIT, day=TODAY, now=NOON)

    said = f"from {until} on, when the override ends: {HELD_BACK}"
    assert found.ends == (said if told else None)
    assert found.held_back is None


async def test_an_override_is_ended_by_a_later_one() -> None:
    ledger = await history(9)
    for until in (date(2026, 8, 1), TODAY):
        await ledger.append([waiver_event(allowed(until))], now=NOON)

    assert (await Admissions(BaselineFacts(ledger)).of(UNIT, day=TODAY, now=NOON)).held_back


async def test_a_unit_without_meters_is_not_sold() -> None:
    found = await Admissions(BaselineFacts(MemoryLedger())).of(UNIT, day=TODAY, now=NOON)

    assert "0 days to judge by" in str(found.held_back)


def test_an_override_needs_a_reason() -> None:
    with pytest.raises(ContractError, match="reason is empty"):
        allowed(TODAY, " ")


def test_the_settings_say_from_when_on_what_is_good_enough() -> None:
    rows = [{"start": "2026-07-01", "bias_fraction": 0.3, "sample_days": 5, "source": "contract"}]
    limits = predictability_limits(EnergySettings.model_validate({"predictability": rows}))

    june, july = limits.on(date(2026, 6, 30)), limits.on(TODAY)

    assert (june.bias_fraction, june.sample_days) == (0.10, 10)
    assert (july.bias_fraction, july.sample_days, july.source) == (0.3, 5, "contract")
    with pytest.raises(ValidationError, match="sample_days"):
        EnergySettings.model_validate({"predictability": [rows[0] | {"sample_days": 0}]})


class Clock:
    """Noon."""

    def now(self) -> datetime:
        return NOON


class Served:
    """The paths over a ledger."""

    def __init__(self, ledger: MemoryLedger) -> None:
        app = FastAPI()
        app.include_router(create_baselines_router(ledger, Clock()))
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url=f"http://x/baselines/units/{UNIT}"
        )

    async def get(self, path: str, **asked: str) -> Any:  # noqa: ANN401 - JSON
        answer = await self.http.get(path, params=asked)
        assert answer.status_code == 200, answer.text
        return answer.json()


async def test_what_the_seller_asks_is_answered_by_the_api() -> None:
    ledger = await history(9)
    served = Served(ledger)
    before = await served.get("/predictability")

    sent = {"until": "2026-07-22", "reason": "first start"}
    recorded = await served.http.post("/override", json=sent)
    after = await served.get("/predictability", day="2026-07-21")
    later = await served.get("/predictability", day="2026-07-22")
    ended = await served.http.post("/override", json=sent | {"until": str(TODAY)})

    assert (before["may_trade"], before["is_sold"], before["override"]) == (False, False, None)
    assert before["reason"] == "9 days to judge by, 10 needed"
    assert (before["bias_fraction"], before["rrmse_fraction"]) == (None, None)
    assert before["limits"]["bias_fraction"] == 0.10
    assert (after["is_sold"], after["override"]) == (True, sent)
    assert (later["is_sold"], later["days"]) == (False, 9)
    entry, _ = await ledger.find(EventType.OVERRIDE_MADE)
    assert (recorded.json()["holds"], ended.json()["holds"]) == (True, False)
    assert (entry.index, entry.event["body"]["reason"]) == (recorded.json()["index"], "first start")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/units/V__CGRID009/predictability", "unit V__CGRID009 is not registered"),
        ("/meters/123/predictability?until=2026-07-20", "meter 123 is not registered"),
    ],
)
async def test_what_nobody_registered_is_not_judged(path: str, says: str) -> None:
    served = Served(await history())

    with pytest.raises(ContractError, match=says):
        await served.http.get(f"http://x/baselines{path}")


async def test_what_was_held_back_is_listed_with_its_reason() -> None:
    ledger = MemoryLedger()
    await ledger.append([registry_event(one) for one in RECORDS], now=NOON)
    rows: Sequence[tuple[int, str | None]] = [(0, "too few days"), (1, None)]
    for number, reason in rows:
        made = Committed(
            ImportMWh(Decimal(2)),
            ImportMWh(Decimal("0.5")),
            Decimal(1),
            is_traded=False,
            held_back=reason,
        )
        await ledger.append(
            [commitment_event(made, UnitId(UNIT), HalfHour(NOON) + number)], now=NOON
        )

    found = await Served(ledger).get("/held-back", first="2026-07-20", last="2026-07-20")

    assert found == [{"start": "2026-07-20T11:00Z", "free_mwh": "1.5", "reason": "too few days"}]
