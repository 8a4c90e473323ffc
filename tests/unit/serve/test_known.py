"""Settlement refuses meters, units, accounts and parties that it does not know."""

import asyncio
from datetime import datetime
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI

from gridflex.adapters.market.receipt_store import ReceiptStore
from gridflex.errors import ContractError
from gridflex.ledger.event import EventType
from gridflex.market.registry_records import registry_event
from gridflex.market.settlement.records import settlement_event
from gridflex.market.settlement.s0142 import read_s0142
from gridflex.market.settlement.s0142_report import report_json
from gridflex.serve.settlement_api import create_settlement_router
from tests.unit.market.memory import MemoryLedger
from tests.unit.market.registered import RECORDS
from tests.unit.market.test_desk import EARLY, PAIR, UNIT
from tests.unit.market.test_s0142 import text
from tests.unit.market.test_settlement import EXAMPLE

METER, OTHER_METER = PAIR.import_msid, "1200012345688"
DAY, DAYS = {"day": "2026-07-01"}, {"first": "2026-07-01", "last": "2026-07-01"}


class Served:
    """The settlement API over a ledger with the registry of one unit."""

    def __init__(self) -> None:
        self.ledger = MemoryLedger()
        app = FastAPI()
        receipts = cast("ReceiptStore", None)  # nobody asks for one
        app.include_router(create_settlement_router(self.ledger, receipts, self))
        self._http = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://x/settlement"
        )

    async def register(self) -> None:
        await self.ledger.append([registry_event(one) for one in RECORDS], now=EARLY)

    def now(self) -> datetime:
        return EARLY

    async def ask(self, method: str, path: str, **sent: Any) -> Any:  # noqa: ANN401 - JSON
        answer = await self._http.request(method, path, **sent)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def served() -> Served:
    """Return one for all tests that leave the names in it as they are."""
    made = Served()
    asyncio.run(made.register())
    return made


ABOUT_METERS = [
    pytest.param("GET", "/readings/{}", {"params": DAY}, id="readings"),
    pytest.param("POST", "/baselines/meters/{}/show", {"json": DAY}, id="show"),
    pytest.param("POST", "/baselines/meters/{}", {"json": DAY}, id="record"),
    pytest.param(
        "POST", "/baselines/meters/{}/event-days", {"json": DAY | {"reason": "x"}}, id="declare"
    ),
    pytest.param("GET", "/baselines/meters/{}/budget", {"params": DAY}, id="budget"),
    pytest.param(
        "GET", "/baselines/meters/{}/predictability", {"params": {"until": DAY["day"]}},
        id="predict",
    ),
]  # fmt: skip
ABOUT_UNITS = [
    pytest.param("GET", "/baselines/units/{}/held-back", {"params": DAYS}, id="held back"),
    pytest.param("GET", "/baselines/units/{}/predictability", {}, id="judge"),
    pytest.param("POST", "/baselines/honesty", {"json": DAYS | {"unit": "{}"}}, id="honesty"),
    pytest.param("POST", "/baselines/rebound", {"json": DAYS | {"unit": "{}"}}, id="rebound"),
    pytest.param("GET", "/positions", {"params": DAYS | {"unit": "{}"}}, id="positions"),
]
ABOUT_ACCOUNTS = [
    pytest.param("GET", "/shares", {"params": DAYS | {"account": "{}"}}, id="shares"),
    pytest.param("GET", "/true-ups", {"params": {"account": "{}"}}, id="true-ups"),
]


def named(sent: dict[str, Any], name: str) -> dict[str, Any]:
    return {
        kind: {key: value.replace("{}", name) for key, value in body.items()}
        for kind, body in sent.items()
    }


@pytest.mark.parametrize(("method", "path", "sent"), ABOUT_METERS)
async def test_a_meter_that_nobody_knows_is_refused(
    served: Served, method: str, path: str, sent: dict[str, Any]
) -> None:
    before = await served.ledger.size()

    with pytest.raises(
        ContractError, match=f"meter {OTHER_METER} is not registered; valid is {METER}"
    ):
        await served.ask(method, path.format(OTHER_METER), **sent)

    assert await served.ledger.size() == before


@pytest.mark.parametrize(("method", "path", "sent"), ABOUT_METERS)
async def test_a_registered_meter_is_answered(
    served: Served, method: str, path: str, sent: dict[str, Any]
) -> None:
    assert await served.ask(method, path.format(METER), **sent)


async def test_a_meter_with_readings_need_not_be_registered() -> None:
    served = Served()
    await served.register()
    csv = f"meter,start_utc,import_kwh\n{OTHER_METER},2026-07-01T07:30Z,100\n"
    await served.ask("POST", "/readings.csv", content=csv, headers={"content-type": "text/csv"})

    rows = await served.ask("GET", f"/readings/{OTHER_METER}", params=DAY)

    assert [one["net_import_mwh"] for one in rows if one["versions"]] == ["0.1"]


@pytest.mark.parametrize(("method", "path", "sent"), ABOUT_UNITS)
async def test_a_unit_that_is_not_registered_is_refused(
    served: Served, method: str, path: str, sent: dict[str, Any]
) -> None:
    with pytest.raises(ContractError, match=f"unit V__CGRID009 is not registered; valid is {UNIT}"):
        await served.ask(method, path.format("V__CGRID009"), **named(sent, "V__CGRID009"))

    await served.ask(method, path.format(UNIT), **named(sent, UNIT))


@pytest.mark.parametrize(("method", "path", "sent"), ABOUT_ACCOUNTS)
async def test_an_account_that_nothing_is_known_of_is_refused(
    served: Served, method: str, path: str, sent: dict[str, Any]
) -> None:
    with pytest.raises(
        ContractError, match="account GRIDFLOX has no unit and no settlement; valid is GRIDFLEX"
    ):
        await served.ask(method, path, **named(sent, "GRIDFLOX"))

    await served.ask(method, path, **named(sent, "GRIDFLEX"))


async def test_an_account_with_settlements_needs_no_registered_unit() -> None:
    served = Served()
    await served.ledger.append([settlement_event(EXAMPLE)], now=EARLY)

    shares = await served.ask("GET", "/shares", params=DAYS | {"account": EXAMPLE.account})

    assert shares["total_gbp"] == "378.00"


async def test_before_anything_is_registered_that_is_said() -> None:
    with pytest.raises(ContractError, match="valid is a registered one, of which there is none"):
        await Served().ask("GET", f"/readings/{METER}", params=DAY)


async def test_a_report_answers_one_party_and_refuses_one_that_it_does_not_have(
    served: Served,
) -> None:
    sent = {"content": text(), "headers": {"content-type": "text/plain"}}

    all_ = await served.ask("POST", "/reports", **sent)
    one = await served.ask("POST", "/reports", params={"party": "SUPPLIER"}, **sent)
    entries = await served.ledger.size()
    with pytest.raises(
        ContractError, match="party OTHER has no row in the report; valid is GRIDFLEX, SUPPLIER"
    ):
        await served.ask("POST", "/reports", params={"party": "OTHER"}, **sent)

    assert {row["party"] for row in all_["report"]["units"]} == {"GRIDFLEX", "SUPPLIER"}
    assert {row["party"] for row in one["report"]["units"]} == {"SUPPLIER"}
    assert all_["recorded"] == one["recorded"] != []
    assert await served.ledger.size() == entries
    assert len(await served.ledger.find(EventType.REPORT_RECEIVED)) == 1


def test_a_party_without_rows_of_its_own_is_refused_without_a_server_too() -> None:
    with pytest.raises(ContractError, match="party OTHER has no row"):
        report_json(read_s0142(text()), party="OTHER")
