"""Bills under ``/v1/settlement/invoices``, from settlements in the ledger, on real PostgreSQL."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.market.settlement.book import SettlementBook, write_book
from gridflex.market.settlement.runs import Run
from tests.e2e.database.test_settlement_api import Served
from tests.unit.market.test_settlement import EXAMPLE

CONTRACT = {
    "seller": {"name": "GridFlex Ltd", "address": ["London"]},
    "customer": {"name": "Data Centre Ltd", "address": ["Slough"]},
    "account": "GRIDFLEX",
    "gpus": {"2026-07": 499},
}


@pytest.fixture
def served(engine: AsyncEngine, tmp_path: Path) -> Served:
    return Served(engine, tmp_path / "key")


async def test_a_month_is_billed_from_the_ledger_and_the_invoice_recorded(served: Served) -> None:
    await served.http.post("/books", content=write_book(SettlementBook((EXAMPLE,))))
    sent = {"contract": CONTRACT, "month": "2026-07", "known_on": "2026-09-01"}

    answer = await served.http.post("/invoices", json=sent)

    (invoice,) = answer.json()
    assert [line["amount_gbp"] for line in invoice["lines"]] == ["2000.00", "75.60"]
    (kept,) = await served.get("/invoices")
    assert (kept["number"], kept["gross_gbp"]) == (invoice["number"], "2490.72")
    assert "Slough" not in json.dumps(kept)


async def test_what_is_settled_and_not_billed_is_told_without_recording(served: Served) -> None:
    books = [replace(EXAMPLE, run=run) for run in (Run.II, Run.SF, Run.R1)]
    await served.http.post("/books", content=write_book(SettlementBook(tuple(books))))
    row = {"settlement_date": "2026-07-01", "run": "R1", "paid_on": "2026-09-10"}
    sent = {"contract": CONTRACT | {"settlement_calendar": [row]}, "month": "2026-07"}

    answer = await served.http.post("/invoices/unbilled", json=sent)

    (one,) = answer.json()
    assert (one["run"], one["paid_on"], one["in_bill_of"]) == ("R1", "2026-09-10", "2026-09")
    assert await served.get("/invoices") == []


async def test_a_bill_counts_runs_by_the_calendar_of_the_settings(served: Served) -> None:
    """SF of 1 July is published for 30 July; by the usual lags it would pay on the 23rd."""
    await served.http.post("/books", content=write_book(SettlementBook((EXAMPLE,))))
    sent = {"contract": CONTRACT, "month": "2026-07", "known_on": "2026-07-29"}

    (one,) = (await served.http.post("/invoices/unbilled", json=sent)).json()
    (invoice,) = (await served.http.post("/invoices", json=sent)).json()

    assert (one["paid_on"], one["is_published"]) == ("2026-07-30", True)
    assert [line["amount_gbp"] for line in invoice["lines"]] == ["2000.00"]


@pytest.mark.parametrize("path", ["/invoices", "/invoices/unbilled"])
async def test_a_contract_that_contradicts_the_calendar_of_the_settings_is_refused(
    served: Served, path: str
) -> None:
    await served.http.post("/books", content=write_book(SettlementBook((EXAMPLE,))))
    row = {"settlement_date": "2026-07-01", "run": "SF", "paid_on": "2026-07-31"}
    sent = {"contract": CONTRACT | {"settlement_calendar": [row]}, "month": "2026-07"}

    answer = await served.http.post(path, json=sent)

    assert answer.status_code == 400
    assert (
        "2026-07-01 SF pays on 2026-07-31 by the billing contract and on 2026-07-30 by the "
        "settings (energy.settlement_calendar)" in answer.json()["detail"]
    )


async def test_a_month_is_not_charged_twice(served: Served) -> None:
    await served.http.post("/books", content=write_book(SettlementBook((EXAMPLE,))))
    sent = {"contract": CONTRACT, "month": "2026-07", "known_on": "2026-09-01"}
    first = await served.http.post("/invoices", json=sent)
    (number,) = [one["number"] for one in first.json()]

    same = await served.http.post("/invoices", json=sent)
    again = await served.http.post(
        "/invoices", json=sent | {"contract": CONTRACT | {"next_number": 2}}
    )
    row = {"settlement_month": "2026-07", "commission_gbp": "75.60", "documents": [number]}
    twice = await served.http.post(
        "/invoices", json=sent | {"contract": CONTRACT | {"billed": [row, row]}}
    )

    assert same.json() == first.json()
    assert (again.status_code, twice.status_code) == (409, 400)
    assert f"the fee of 2026-07 of account GRIDFLEX was charged with {number}" in again.text
    assert "2026-07 is there twice" in twice.json()["detail"]
    assert len(await served.get("/invoices")) == 1


async def test_a_contract_must_state_what_the_documents_charged(served: Served) -> None:
    later = replace(EXAMPLE, run=Run.R1, fees_gbp=Decimal(8))
    await served.http.post("/books", content=write_book(SettlementBook((EXAMPLE, later))))
    sent = {"contract": CONTRACT, "month": "2026-07", "known_on": "2026-08-01"}
    (first,) = (await served.http.post("/invoices", json=sent)).json()
    row = {"settlement_month": "2026-07", "commission_gbp": "75.60", "documents": [first["number"]]}
    second = {"month": "2026-08", "known_on": "2026-09-01"}
    contract = CONTRACT | {"gpus": {"2026-07": 499, "2026-08": 499}, "next_number": 20}

    wrong = await served.http.post(
        "/invoices",
        json=second | {"contract": contract | {"billed": [row | {"commission_gbp": "70.00"}]}},
    )
    right = await served.http.post(
        "/invoices", json=second | {"contract": contract | {"billed": [row]}}
    )
    (note,) = [one for one in right.json() if one["kind"] == "credit-note"]
    both = row | {"commission_gbp": "74.00", "documents": [first["number"], note["number"]]}
    after = await served.http.post(
        "/invoices",
        json={"month": "2026-08", "known_on": "2026-09-02"}
        | {"contract": contract | {"billed": [both], "next_number": 30}},
    )

    assert wrong.status_code == 409
    assert "is 70.00, its documents" in wrong.json()["detail"]
    assert note["net_gbp"] == "1.60"
    assert "the fee of 2026-08" in after.json()["detail"]  # the fee alone, not the commission


async def test_an_issued_invoice_is_printed_and_no_other(served: Served) -> None:
    await served.http.post("/books", content=write_book(SettlementBook((EXAMPLE,))))
    sent = {"contract": CONTRACT, "month": "2026-07", "known_on": "2026-09-01"}
    (invoice,) = (await served.http.post("/invoices", json=sent)).json()

    printed = await served.http.post("/invoices.pdf", json=invoice)
    altered = await served.http.post("/invoices.pdf", json=invoice | {"gross_gbp": "1.00"})
    unknown = await served.http.post("/invoices.pdf", json=invoice | {"number": "GF-2026-99999"})

    assert printed.headers["content-type"] == "application/pdf"
    assert printed.content.startswith(b"%PDF-")
    assert invoice["number"] in printed.headers["content-disposition"]
    assert (altered.status_code, unknown.status_code) == (400, 400)
    assert "was not issued with this content" in altered.json()["detail"]


async def test_a_number_stands_for_one_invoice(served: Served) -> None:
    await served.http.post("/books", content=write_book(SettlementBook((EXAMPLE,))))
    sent = {"contract": CONTRACT, "month": "2026-07", "known_on": "2026-09-01"}
    await served.http.post("/invoices", json=sent)

    other = await served.http.post(
        "/invoices", json=sent | {"contract": CONTRACT | {"gpus": {"2026-07": 500}}}
    )

    assert other.status_code == 409
    assert other.json()["detail"] == (
        "GF-2026-00001 was issued with other content: set next_number: 2 in the contract and list "
        'it under billed: {settlement_month: 2026-07, commission_gbp: "75.60", '
        "documents: [GF-2026-00001]}; what changed since is in a later bill"
    )


async def test_a_contract_that_lacks_an_earlier_bill_is_told_its_row(served: Served) -> None:
    await served.http.post("/books", content=write_book(SettlementBook((EXAMPLE,))))
    sent = {"contract": CONTRACT, "month": "2026-07", "known_on": "2026-08-01"}
    await served.http.post("/invoices", json=sent)
    contract = CONTRACT | {"gpus": {"2026-08": 499}, "next_number": 2}
    second = {"month": "2026-08", "known_on": "2026-09-01"}

    refused = await served.http.post("/invoices", json=second | {"contract": contract})
    said = refused.json()["detail"]
    row = yaml.safe_load(said.partition("under billed in the contract: ")[2])
    taken = await served.http.post(
        "/invoices", json=second | {"contract": contract | {"billed": [row]}}
    )

    assert refused.status_code == 409
    assert said.startswith("2026-07 of account GRIDFLEX was charged with GF-2026-00001; ")
    assert [one["number"] for one in taken.json()] == ["GF-2026-00002"]


async def test_no_bill_is_issued_before_its_date(served: Served) -> None:
    await served.http.post("/books", content=write_book(SettlementBook((EXAMPLE,))))
    contract = CONTRACT | {"gpus": {"2026-09": 499}}

    answer = await served.http.post("/invoices", json={"contract": contract, "month": "2026-09"})

    assert answer.status_code == 400
    assert "known_on 2026-10-01" in answer.json()["detail"]
    assert "valid is 2026-09-02 or before" in answer.json()["detail"]
    assert await served.get("/invoices") == []


@pytest.mark.parametrize("path", ["/invoices", "/invoices/unbilled"])
async def test_a_contract_of_an_account_that_nobody_has_is_refused(
    served: Served, path: str
) -> None:
    await served.http.post("/books", content=write_book(SettlementBook((EXAMPLE,))))
    sent = {"contract": CONTRACT | {"account": "GRIDFLOX"}, "month": "2026-07"}

    answer = await served.http.post(path, json=sent)

    assert answer.status_code == 400
    assert "contract: account GRIDFLOX has no unit and no settlement" in answer.json()["detail"]
    assert await served.get("/invoices") == []


async def test_an_account_without_a_settlement_yet_is_billed_the_fee(served: Served) -> None:
    always = {"start": "2026-01-01", "until": None}
    unit = {"id": "V__CGRID001", "party": "NEWCOMER", "validity": always}
    await served.http.post("/registry", json={"records": [{"kind": "unit", "record": unit}]})
    sent = {"contract": CONTRACT | {"account": "NEWCOMER"}, "month": "2026-07"}

    (invoice,) = (await served.http.post("/invoices", json=sent)).json()

    assert invoice["net_gbp"] == "2000.00"
