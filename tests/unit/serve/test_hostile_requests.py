"""What no caller should send to settlement: days at the ends of time and bodies of garbage."""

import json
from datetime import datetime

import httpx
import pytest
from fastapi import FastAPI

from gridflex.market.registry_records import registry_event
from gridflex.serve.problems import install_problems
from gridflex.serve.settlement_api import create_settlement_router
from tests.unit.ledger.ledgers import NOON
from tests.unit.market.memory import MemoryLedger
from tests.unit.market.registered import RECORDS
from tests.unit.market.test_desk import PAIR, UNIT

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

VALUES = [
    "null",
    "NaN",
    "1e999",
    "-1",
    "[]",
    "{}",
    '"' + "x" * 2_000 + '"',
    '"a\\ud800b"',
    '"a\\u0000b"',
    "1" * 5_000,
    "[" * 100_000,
    "[" * 900 + "]" * 900,
]
DEEP = b'{"records":[{"kind":"site","record":{"name":' + b"[" * 900 + b"]" * 900 + b"}}]}"
BODIES = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"{",
    b"NaN",
    b"\xff\xff",
    b"[" * 100_000,
    b'{"a":' * 50_000,
    DEEP,
]
RECORD = {"kind": "site", "record": {"name": "york"}}
WHOLE: list[tuple[str, dict[str, object]]] = [
    (f"/baselines/units/{UNIT}/override", {"until": GOOD, "reason": "first start"}),
    ("/late", {"unit": UNIT, "day": GOOD, "run": "SF", "reason": "forgotten"}),
    ("/baselines/honesty", {"unit": UNIT, "first": GOOD, "last": GOOD}),
    ("/baselines/rebound", {"unit": UNIT, "first": GOOD, "last": GOOD}),
    (f"{METER}/event-days", {"day": GOOD, "reason": "outage"}),
    (f"{METER}/show", {"day": GOOD, "event_start": f"{GOOD}T12:00Z", "rule": "BL01"}),
    ("/registry", {"records": [RECORD]}),
    ("/readings", {"meter": PAIR.import_msid, "readings": []}),
    ("/invoices", {"contract": {}, "month": "2026-07"}),
]


class Noon:
    """GridFlex time that stands."""

    def now(self) -> datetime:
        return NOON


@pytest.fixture
async def app() -> FastAPI:
    ledger = MemoryLedger()
    await ledger.append([registry_event(one) for one in RECORDS], now=NOON)
    app = FastAPI()
    install_problems(app)
    app.include_router(
        create_settlement_router(ledger, None, Noon())  # type: ignore[arg-type]  # no receipts
    )
    return app


@pytest.fixture
async def http(app: FastAPI) -> httpx.AsyncClient:
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


async def test_a_last_day_before_the_first_is_refused(http: httpx.AsyncClient) -> None:
    days = {"first": "2026-07-02", "last": "2026-07-01"}
    asked = [(path, more) for path, name, more in ASKED if name == "first"]
    sent = [(path, more) for path, name, more in SENT if name == "first"]

    answers = [await http.get(path, params=more | days) for path, more in asked]
    answers += [await http.post(path, json=more | days) for path, more in sent]

    assert len(answers) == 6
    told = "last 2026-07-01 is not valid; valid is 2026-07-02, the first, or later"
    assert [(one.status_code, one.json()["detail"]) for one in answers] == [(400, told)] * 6


@pytest.mark.parametrize("index", ["-1", "99999999999999999999"])
async def test_a_place_that_no_ledger_has_is_refused(http: httpx.AsyncClient, index: str) -> None:
    answer = await http.get(f"/ledger/entries/{index}")

    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(f"index: '{index}' is not valid; valid is at ")


async def test_a_rule_is_listed_with_the_others_and_valid_where_it_can_be_used(
    http: httpx.AsyncClient,
) -> None:
    rules = (await http.get("/baselines/rules")).json()
    names = [one["name"] for one in rules]

    shown = await http.post(f"{METER}/show", json={"day": GOOD, "rule": "BL99"})
    gauged = await http.get(f"{METER}/budget", params={"day": GOOD, "rule": names[-1]})

    assert rules[-1]["adjustment"] == "mean of 3 h before the event and 2 h after, 1 h away"
    assert shown.json()["detail"] == f"rule 'BL99' is not valid; valid are {', '.join(names)}"
    assert gauged.json()["detail"] == (
        f"rule 'PJM-same-day-3+2' is not valid; valid are {', '.join(names[:-1])}"
    )


async def test_no_value_of_a_body_is_a_fault_of_ours(http: httpx.AsyncClient) -> None:
    headers = {"content-type": "application/json"}
    for path, good in WHOLE:
        for name in good:
            for value in VALUES:
                body = json.dumps(good | {name: "HERE"}).replace('"HERE"', value)
                answer = await http.post(path, content=body, headers=headers)

                assert answer.status_code < 500, (path, name, value[:40], answer.text)


@pytest.mark.parametrize("media_type", ["application/json", "text/plain", "text/csv"])
async def test_no_body_is_a_fault_of_ours_anywhere(
    http: httpx.AsyncClient, app: FastAPI, media_type: str
) -> None:
    taken = [path for path, methods in app.openapi()["paths"].items() if "post" in methods]
    assert len(taken) > 10
    for path in taken:
        for body in BODIES:
            answer = await http.post(
                path.removeprefix("/settlement"), content=body, headers={"content-type": media_type}
            )

            assert 400 <= answer.status_code < 500, (path, body[:9], answer.text)
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("path", "body", "first"),
    [
        ("/readings", {"meter": PAIR.import_msid, "readings": [1, 1, 1]}, "readings.0"),
        ("/books", {"periods": [1, 1, 1]}, "periods.0"),
        ("/books", {"periods": [{"units": [1, 1, 1]}]}, "periods.0.units.0"),
    ],
)
async def test_of_rows_that_are_wrong_the_first_is_told_as_there_may_be_millions(
    http: httpx.AsyncClient, path: str, body: dict[str, object], first: str
) -> None:
    answer = await http.post(path, json=body)

    told = answer.json()["detail"]
    assert (answer.status_code, f"{first}: 1 is not valid" in told) == (400, True)
    assert told.count(": 1 is not valid") == 1
