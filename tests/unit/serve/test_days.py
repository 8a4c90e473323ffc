"""Days at the ends of time: look-backs and calendars around them are no days."""

from datetime import datetime

import httpx
import pytest
from fastapi import FastAPI

from gridflex.market.records import registry_event
from gridflex.serve.problems import install_problems
from gridflex.serve.settlement_api import create_settlement_router
from tests.unit.ledger.ledgers import NOON
from tests.unit.market.memory import MemoryLedger
from tests.unit.market.test_desk import PAIR, UNIT
from tests.unit.serve.test_positions_api import RECORDS

ENDS = ["0001-01-01", "0001-01-02", "1900-01-01", "9999-12-30", "9999-12-31"]
GOOD = "2026-07-01"
METER = f"/baselines/meters/{PAIR.import_msid}"

ASKED = [
    ("/positions", "first", {"last": GOOD}),
    ("/positions", "last", {"first": GOOD}),
    ("/deliveries", "day", {}),
    ("/book", "day", {}),
    ("/days", "day", {}),
    ("/half-hours", "day", {}),
    (f"/readings/{PAIR.import_msid}", "day", {}),
    ("/shares", "first", {"last": GOOD, "account": "GRIDFLEX"}),
    ("/shares", "last", {"first": GOOD, "account": "GRIDFLEX"}),
    ("/reconciliation", "first", {"last": GOOD}),
    (f"{METER}/budget", "day", {}),
    (f"{METER}/budget", "planned", {"day": GOOD}),
    (f"{METER}/predictability", "until", {}),
    (f"/baselines/units/{UNIT}/predictability", "day", {}),
    (f"/baselines/units/{UNIT}/held-back", "first", {"last": GOOD}),
    (f"/baselines/units/{UNIT}/held-back", "last", {"first": GOOD}),
]
SENT = [
    (METER, "day", {}),
    (f"{METER}/show", "day", {}),
    (f"{METER}/event-days", "day", {"reason": "outage"}),
    ("/baselines/honesty", "first", {"unit": UNIT, "last": GOOD}),
    ("/baselines/honesty", "last", {"unit": UNIT, "first": GOOD}),
    ("/baselines/rebound", "first", {"unit": UNIT, "last": GOOD}),
    ("/late", "day", {"unit": UNIT, "run": "SF", "reason": "forgotten"}),
]


class Noon:
    """GridFlex time that stands."""

    def now(self) -> datetime:
        return NOON


@pytest.fixture
async def http() -> httpx.AsyncClient:
    ledger = MemoryLedger()
    await ledger.append([registry_event(one) for one in RECORDS], now=NOON)
    app = FastAPI()
    install_problems(app)
    app.include_router(
        create_settlement_router(ledger, None, Noon())  # type: ignore[arg-type]  # no receipts
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://gf.test/settlement")


async def test_a_day_at_the_ends_of_time_is_refused_by_its_name(http: httpx.AsyncClient) -> None:
    for end in ENDS:
        asked = [
            (path, name, await http.get(path, params={**given, name: end}))
            for path, name, given in ASKED
        ]
        sent = [
            (path, name, await http.post(path, json={**given, name: end}))
            for path, name, given in SENT
        ]
        for path, name, answer in asked + sent:
            assert answer.status_code == 400, (path, name, end, answer.text)
            assert name in answer.json()["detail"], (path, name, end, answer.text)
