"""What is refused when it is registered, and read all the same where a ledger has it already."""

import json
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from gridflex.market.baselines.commitments import Committed, commitment_event
from gridflex.market.registry import Validity, pair_key
from gridflex.market.registry_records import RegistryRecord, registry_event
from gridflex.market.volumes import ImportMWh
from gridflex.serve.problems import install_problems
from gridflex.serve.settlement_api import create_settlement_router
from tests.unit.market.memory import MemoryLedger
from tests.unit.market.registered import RECORDS, SITE
from tests.unit.market.test_desk import PAIR, SIX, UNIT
from tests.unit.serve.test_hostile_requests import Noon

TODAY = Noon().now().date()
YESTERDAY, TOMORROW = TODAY - timedelta(1), TODAY + timedelta(1)
YORK = {
    "name": "york (north)",
    "gsp_group": "C",
    "pairs": [{"import_msid": "2000050773706"}],
    "connection_mw": "5.5",
    "supplier": "SUPPLY",
}
SIGNED = {
    "site": "york (north)",
    "signed_on": f"{TODAY}",
    "document_sha256": "0" * 64,
    "validity": {"start": f"{TODAY}"},
}
NINE = ImportMWh(Decimal(9))
NO_CAPACITY = "valid; valid is a number of MW above 0 and at most 2000"


def client(ledger: MemoryLedger) -> httpx.AsyncClient:
    app = FastAPI()
    install_problems(app)
    app.include_router(
        create_settlement_router(ledger, None, Noon())  # type: ignore[arg-type]  # no receipts
    )
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://gf.test/settlement")


async def register(ledger: MemoryLedger, kind: str, record: dict[str, Any]) -> httpx.Response:
    body = json.dumps({"records": [{"kind": kind, "record": record}]})
    headers = {"content-type": "application/json"}
    return await client(ledger).post("/registry", content=body, headers=headers)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"connection_mw": "NaN"}, f"site york (north): connection_mw nan is not {NO_CAPACITY}"),
        ({"connection_mw": -5}, f"connection_mw -5.0 is not {NO_CAPACITY}"),
        ({"connection_mw": 0}, f"connection_mw 0.0 is not {NO_CAPACITY}"),
        ({"connection_mw": "1e400"}, f"connection_mw inf is not {NO_CAPACITY}"),
        ({"connection_mw": 5500}, f"connection_mw 5500.0 is not {NO_CAPACITY}"),
        ({"pairs": []}, "site york (north): pairs [] is not valid; valid is at least one pair"),
        ({"name": ""}, "site: name '' is not valid; valid is text without blanks around it"),
        ({"name": " york"}, "site: name ' york' is not valid"),
        ({"name": "yo\nrk"}, "site: name 'yo\\nrk' is not valid"),
    ],
)  # fmt: skip
async def test_a_site_that_nothing_can_be_settled_by_is_refused(
    change: dict[str, Any], told: str
) -> None:
    ledger = MemoryLedger()

    answer = await register(ledger, "site", YORK | change)

    assert (answer.status_code, ledger.logged) == (400, [])
    assert told in answer.json()["detail"]


@pytest.mark.parametrize(
    ("signed_on", "start", "latest"),
    [
        pytest.param(TODAY, YESTERDAY, f"{YESTERDAY}, its first day", id="late"),
        pytest.param(TOMORROW, date(2036, 12, 1), f"{TODAY}, today", id="to come"),
    ],
)
async def test_a_consent_is_signed_before_it_counts_and_before_it_is_told(
    signed_on: date, start: date, latest: str
) -> None:
    ledger = MemoryLedger()
    record = SIGNED | {"signed_on": f"{signed_on}", "validity": {"start": f"{start}"}}

    answer = await register(ledger, "consent", record)

    assert (answer.status_code, ledger.logged) == (400, [])
    told = f"signed_on {signed_on} is not valid; valid is {latest}, or earlier"
    assert answer.json()["detail"] == f"consent of york (north): {told}"


async def test_an_allocation_is_not_entered_in_the_future() -> None:
    ledger = MemoryLedger()
    await ledger.append([registry_event(one) for one in RECORDS[:3]], now=Noon().now())
    allocation = replace(RECORDS[3], registered_on=TOMORROW, validity=Validity(date(2036, 12, 1)))

    answer = await register(ledger, **registry_event(allocation).body)

    assert (answer.status_code, len(ledger.logged)) == (400, 3)
    told = f"registered_on {TOMORROW} is not valid; valid is {TODAY}, today, or earlier"
    assert answer.json()["detail"] == f"allocation of {pair_key(PAIR)}: {told}"


async def test_a_consent_is_of_a_site_that_is_registered() -> None:
    ledger = MemoryLedger()
    await register(ledger, "site", YORK)

    answer = await register(ledger, "consent", SIGNED | {"site": "yorck"})

    assert (answer.status_code, len(ledger.logged)) == (400, 1)
    told = "site 'yorck' is not registered; valid is york (north)"
    assert answer.json()["detail"] == told


async def test_what_can_be_settled_by_is_registered() -> None:
    ledger = MemoryLedger()

    for kind, record in (("site", YORK | {"connection_mw": 2000}), ("consent", SIGNED)):
        answer = await register(ledger, kind, record)
        assert answer.status_code == 200, answer.text

    assert len(ledger.logged) == 2


@pytest.mark.parametrize("mw", [float("nan"), float("inf"), -5.0])
async def test_a_ledger_with_a_figure_that_is_no_capacity_is_read_and_passes_no_test_by_it(
    mw: float,
) -> None:
    ledger = MemoryLedger()
    old: list[RegistryRecord] = [replace(SITE, connection_mw=mw), *RECORDS[1:]]
    made = Committed(NINE, NINE, Decimal(1), is_traded=False)
    early = SIX.start - timedelta(hours=9)
    await ledger.append(
        [*(registry_event(one) for one in old), commitment_event(made, UNIT, SIX)], now=early
    )
    asked = {"unit": UNIT, "first": "2026-07-01", "last": "2026-07-01"}

    answer = await client(ledger).post("/baselines/honesty", json=asked)

    (plausible,) = [one for one in answer.json() if one["test"] == "plausible"]
    assert plausible["verdict"] == "inconclusive"
    assert f"connection_mw is not {NO_CAPACITY}" in plausible["detail"]
    assert (await client(ledger).get(f"/readings/{PAIR.import_msid}?day=2026-07-01")).is_success
