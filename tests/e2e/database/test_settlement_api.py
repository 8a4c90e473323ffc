"""``/v1/settlement`` over ASGI, on real PostgreSQL."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.ledger.key import LedgerKey
from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.market.receipt_store import ReceiptStore
from gridflex.agents.energy.ports import interest_of
from gridflex.energy_settings import EnergySettings
from gridflex.ledger.verify.receipts import verify_receipt
from gridflex.market.billing.receipts import draft_receipt
from gridflex.market.settlement.book import SettlementBook, write_book
from gridflex.market.settlement.runs import Run
from gridflex.serve.problems import install_problems
from gridflex.serve.settlement_api import create_settlement_router
from tests.unit.ledger.ledgers import NOON, ORIGIN
from tests.unit.market.test_receipts import RECORD
from tests.unit.market.test_settlement import EXAMPLE

METER = "1200012345679"
SITE = {
    "name": "london",
    "gsp_group": "C",
    "pairs": [{"import_msid": METER, "export_msid": None}],
    "connection_mw": "5.5",
    "supplier": "SUPPLY",
}


RATES = [
    {"start": "2026-08-25", "fraction_per_year": "0.0365"},
    {"start": "2026-08-01", "fraction_per_year": "1"},
]


class Clock:
    """An evening when the example's month is billed, and a second later each time."""

    def __init__(self) -> None:
        self._now = datetime(2026, 9, 2, 20, tzinfo=UTC)

    def now(self) -> datetime:
        self._now += timedelta(seconds=1)
        return self._now


class Served:
    """The API with what is behind it."""

    def __init__(self, engine: AsyncEngine, folder: Path) -> None:
        self.key = LedgerKey(folder, origin=ORIGIN)
        self.ledger = LedgerStore(engine, key=self.key)
        self.receipts = ReceiptStore(engine, ledger=self.ledger)
        app = FastAPI()
        install_problems(app)
        app.include_router(
            create_settlement_router(
                self.ledger,
                self.receipts,
                Clock(),
                published={(date(2026, 7, 1), Run.SF): date(2026, 7, 30)},
                interest=interest_of(EnergySettings.model_validate({"interest": RATES})),
            ),
            prefix="/v1",
        )
        transport = httpx.ASGITransport(app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://x/v1/settlement")

    async def get(self, path: str, **options: Any) -> Any:  # noqa: ANN401 - JSON
        answer = await self.http.get(path, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture
def served(engine: AsyncEngine, tmp_path: Path) -> Served:
    return Served(engine, tmp_path / "key")


async def test_a_book_is_settled_recorded_and_read_back(served: Served) -> None:
    book = write_book(SettlementBook((EXAMPLE,)))

    first = await served.http.post("/books", content=book)
    again = await served.http.post("/books", content=book)

    assert first.json() == again.json() == {"indexes": [0]}
    assert (await served.http.get("/book")).content == book
    (day,) = await served.get("/days", params={"day": "2026-07-01", "run": "SF"})
    assert Decimal(day["net_gbp"]) == 378
    (half_hour,) = await served.get("/half-hours", params={"day": "2026-07-01"})
    assert half_hour["units"][0]["deviation"] == {"mwh": "2.8000"}
    assert await served.get("/days", params={"run": "RF"}) == []
    assert await served.get("/days", params={"day": "2026-07-02"}) == []


async def test_an_earlier_value_that_comes_back_counts_again(served: Served) -> None:
    dearer = replace(EXAMPLE, fees_gbp=Decimal(100))
    sent = [write_book(SettlementBook((one,))) for one in (EXAMPLE, dearer, EXAMPLE, EXAMPLE)]

    indexes = [(await served.http.post("/books", content=one)).json()["indexes"] for one in sent]

    assert indexes == [[0], [1], [2], [2]]
    (day,) = await served.get("/days")
    assert Decimal(day["net_gbp"]) == 378
    assert [one.event["prev_ref"] for one in await served.ledger.find()] == [None, None, 1]


async def test_a_site_is_corrected_back_and_forth(served: Served) -> None:
    indexes = []
    for mw in ("5.5", "9.0", "5.5", "9.0", "9.0"):
        record = {"kind": "site", "record": SITE | {"connection_mw": mw}}
        answer = await served.http.post("/registry", json={"records": [record]})
        indexes += answer.json()["indexes"]

    assert indexes == [0, 1, 2, 3, 3]
    assert (await served.get("/registry"))[-1]["record"]["connection_mw"] == "9.0"


async def test_of_two_registrations_at_once_that_do_not_agree_one_is_refused(
    served: Served,
) -> None:
    await served.http.post("/registry", json={"records": unallocated()})

    answers = await asyncio.gather(
        served.http.post("/registry", json={"records": [allocated("V__CGRID001", "2026-07-01")]}),
        served.http.post("/registry", json={"records": [allocated("V__CGRID002", "2026-07-02")]}),
    )

    assert sorted(one.status_code for one in answers) in ([200, 400], [200, 409])
    assert len(await served.get("/registry")) == 5
    assert (
        await served.get("/positions", params={"first": "2026-07-01", "last": "2026-07-01"}) == []
    )


def unallocated() -> list[dict[str, Any]]:
    """The site with its consent, and two units that it may be allocated to."""
    always = {"start": "2026-01-01", "until": None}
    units = [
        {"kind": "unit", "record": {"id": unit, "party": "GRIDFLEX", "validity": always}}
        for unit in ("V__CGRID001", "V__CGRID002")
    ]
    signed = {"site": "london", "signed_on": "2026-01-01", "document_sha256": "0" * 64}
    consent = {"kind": "consent", "record": signed | {"validity": always}}
    return [{"kind": "site", "record": SITE}, *units, consent]


def allocated(unit: str, start: str) -> dict[str, Any]:
    """The meter's allocation to a unit from a day on."""
    record = {
        "pair": {"import_msid": METER, "export_msid": None},
        "unit": unit,
        "type": "T",
        "indicator": "S",
        "registered_on": "2026-05-01",
        "validity": {"start": start, "until": None},
    }
    return {"kind": "allocation", "record": record}


async def test_two_readings_of_a_half_hour_in_one_upload_are_refused(served: Served) -> None:
    at = "2026-07-01T12:00Z"
    rows = [{"start_utc": at, "import_kwh": kwh} for kwh in ("100", "200")]

    sent = await served.http.post("/readings", json={"meter": METER, "readings": rows})
    uploaded = await served.http.post(
        "/readings.csv",
        content=f"meter,start_utc,import_kwh\n{METER},{at},100\n{METER},{at},200\n",
        headers={"Content-Type": "text/csv"},
    )

    for answer in (sent, uploaded):
        assert answer.status_code == 400
        assert all(one in answer.json()["detail"] for one in (METER, at, "100 kWh", "200 kWh"))
    assert await served.ledger.size() == 0


async def test_later_runs_are_shown_as_differences(served: Served) -> None:
    later = replace(EXAMPLE, run=Run.R1, fees_gbp=Decimal(8))
    await served.http.post("/books", content=write_book(SettlementBook((EXAMPLE, later))))

    first, second = await served.get("/true-ups", params={"account": "GRIDFLEX"})

    assert (first["run"], Decimal(first["difference_gbp"])) == ("SF", Decimal(378))
    assert first["paid_on"] == "2026-07-30"  # as it is published
    assert (second["since"], Decimal(second["difference_gbp"])) == ("SF", Decimal(-8))
    assert second["paid_on"] == "2026-08-25"  # 39 working days after 1 July
    assert Decimal(first["interest_gbp"]) == 0
    assert Decimal(second["interest_gbp"]) == Decimal("-0.0208")  # 26 days at 3.65 % a year
    unknown = await served.http.get("/true-ups", params={"account": "OTHER"})
    assert (unknown.status_code, "account OTHER" in unknown.json()["detail"]) == (400, True)


async def test_the_registry_takes_records_that_agree(served: Served) -> None:
    records = [{"kind": "site", "record": SITE}]

    answer = await served.http.post("/registry", json={"records": records})

    assert answer.json() == {"indexes": [0]}
    assert await served.get("/registry") == records


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"kind": "site", "record": SITE | {"gsp_group": "Z"}}, "gsp_group 'Z'"),
        ({"kind": "site", "record": {"name": "x"}}, "gsp_group is missing"),
        ({"kind": "planet", "record": SITE}, "valid are site, unit, consent, allocation"),
        (
            {
                "kind": "site",
                "record": SITE | {"pairs": [{"import_msid": "1", "export_msid": None}]},
            },
            "MSID '1'",
        ),
    ],
)
async def test_a_record_that_is_not_valid_is_refused(
    served: Served, record: dict[str, Any], problem: str
) -> None:
    answer = await served.http.post("/registry", json={"records": [record]})

    assert answer.status_code == 400
    assert problem in answer.json()["detail"]
    assert await served.ledger.size() == 0


async def test_readings_come_in_by_json_and_csv_and_gaps_are_shown(served: Served) -> None:
    one = {"start_utc": "2026-07-01T17:00:00Z", "import_kwh": "7200.5", "evidence": "telemetry"}
    await served.http.post("/readings", json={"meter": METER, "readings": [one]})
    csv = f"meter,start_utc,import_kwh\n{METER},2026-07-01T17:00Z,7200\n"
    answer = await served.http.post(
        "/readings.csv", content=csv, headers={"content-type": "text/csv"}
    )
    assert answer.json() == {"indexes": [1], "new": 1, "known": 0, "unallocated": [METER]}

    day = await served.get(f"/readings/{METER}", params={"day": "2026-07-01"})

    assert len(day) == 48
    assert [one for one in day if one["versions"]] == [
        {
            "half_hour": "2026-07-01T17:00Z",
            "net_import_mwh": "7.2",
            "evidence": "settlement",
            "is_substituted": False,
            "versions": 2,
        }
    ]


async def test_what_is_sent_again_and_meters_that_nobody_registered_are_told(
    served: Served,
) -> None:
    records = [*unallocated(), allocated("V__CGRID001", "2026-07-01")]
    await served.http.post("/registry", json={"records": records})
    rows = [f"{meter},2026-07-01T17:00Z,7" for meter in (METER, "1200099999999")]
    csv = "\n".join(["meter,start_utc,import_kwh", *rows])

    sent = [(await served.http.post("/readings.csv", content=csv)).json() for _ in range(2)]

    assert [(one["new"], one["known"]) for one in sent] == [(2, 0), (0, 2)]
    assert [one["unallocated"] for one in sent] == [["1200099999999"]] * 2
    assert sent[0]["indexes"] == sent[1]["indexes"]


async def test_a_reading_that_was_corrected_and_comes_back_is_new_again(served: Served) -> None:
    sent = [
        await served.http.post(
            "/readings",
            json={
                "meter": METER,
                "readings": [{"start_utc": "2026-07-01T17:00:00Z", "import_kwh": kwh}],
            },
        )
        for kwh in ("7", "8", "7", "7.0")
    ]

    assert [one.json()["new"] for one in sent] == [1, 1, 1, 0]
    assert [one.json()["indexes"] for one in sent] == [[0], [1], [2], [2]]


async def test_a_clock_change_day_has_its_own_number_of_readings(served: Served) -> None:
    await served.http.post("/registry", json={"records": [{"kind": "site", "record": SITE}]})

    assert len(await served.get(f"/readings/{METER}", params={"day": "2026-10-25"})) == 50
    assert len(await served.get(f"/readings/{METER}", params={"day": "2026-03-29"})) == 46


async def test_a_bad_row_of_a_csv_is_named_and_nothing_is_recorded(served: Served) -> None:
    csv = f"meter,start_utc,import_kwh\n{METER},2026-07-01T17:00Z,1\n{METER},2026-07-01T17:30Z,-1\n"

    answer = await served.http.post(
        "/readings.csv", content=csv, headers={"content-type": "text/csv"}
    )

    assert answer.status_code == 400
    assert "line 3" in answer.json()["detail"]
    assert await served.ledger.size() == 0


async def test_a_receipt_is_served_for_machines_and_for_people(served: Served) -> None:
    draft = draft_receipt(RECORD)
    await served.receipts.issue(draft, now=NOON + timedelta(days=1))
    unsigned = await served.http.get("/receipts/train-7")
    await served.ledger.sign(now=NOON + timedelta(days=1))

    receipt = await served.get("/receipts/train-7")
    shown = await served.http.get("/receipts/train-7", headers={"accept": "text/html,*/*"})

    assert verify_receipt(json.dumps(receipt), keys=[served.key.signer.key]).index == 0
    assert "Receipt for job train-7" in shown.text
    assert shown.headers["content-type"].startswith("text/html")
    assert await served.get("/receipts") == ["train-7"]
    unknown = await served.http.get("/receipts/other")
    assert (unsigned.status_code, unknown.status_code) == (404, 404)
    assert unsigned.json()["detail"] == (
        "job train-7 has no signed receipt yet: it comes an hour after the job's end, when its "
        "last reading and prices are known"
    )
    assert unknown.json()["detail"] == "job other does not exist, or is not flexible"
