"""What settlement takes only after a half-hour, and what only before its end; and a whole day."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from gridflex.halfhour import HalfHour
from gridflex.ledger.event import Event
from gridflex.market.baselines.commitments import Committed, commitment_event
from gridflex.market.meters import Evidence, Reading
from gridflex.market.registry_records import reading_event, registry_event
from gridflex.market.volumes import ImportMWh
from gridflex.market.working_days import half_hours_of
from tests.unit.ledger.ledgers import NOON
from tests.unit.market.memory import MemoryLedger
from tests.unit.market.registered import RECORDS
from tests.unit.market.test_desk import PAIR, SIX, UNIT
from tests.unit.market.test_registration import client
from tests.unit.serve.test_hostile_requests import Noon

METER = PAIR.import_msid
RUNNING = HalfHour.containing(NOON)
WANTED = {
    "meter": METER,
    "start": str(RUNNING),
    "product": "dfs",
    "mwh": "0.8",
    "contract": "DFS-7",
    "flexible_mwh": "1.0",
}


async def send(http: httpx.AsyncClient, at: HalfHour, *, as_csv: bool) -> httpx.Response:
    if as_csv:
        csv = f"meter,start_utc,import_kwh\n{METER},{at},5\n"
        return await http.post("/readings.csv", content=csv, headers={"content-type": "text/csv"})
    row = {"start_utc": str(at), "import_kwh": "5"}
    return await http.post("/readings", json={"meter": METER, "readings": [row]})


@pytest.mark.parametrize("as_csv", [False, True], ids=["json", "csv"])
async def test_a_reading_is_evidence_once_its_half_hour_is_over(*, as_csv: bool) -> None:
    ledger = MemoryLedger()
    http = client(ledger)

    early = [await send(http, at, as_csv=as_csv) for at in (RUNNING, RUNNING + 48 * 330)]
    entries = len(ledger.logged)
    last = await send(http, RUNNING - 1, as_csv=as_csv)

    assert [one.status_code for one in early] == [400, 400]
    assert (
        f"meter {METER}: start_utc {RUNNING} is not valid; valid is a half-hour that is over, and "
        f"it was {NOON:%Y-%m-%dT%H:%MZ} when it came in"
    ) == early[0].json()["detail"]
    assert (entries, last.status_code) == (0, 200)


async def test_a_start_that_no_half_hour_has_is_told_by_its_field() -> None:
    row = {"start_utc": "2026-07-01T11:10Z", "import_kwh": "5"}

    answer = await client(MemoryLedger()).post(
        "/readings", json={"meter": METER, "readings": [row]}
    )

    assert answer.status_code == 400
    told = "no half-hour starts then; valid is a half-hour's start, at :00 or :30"
    assert answer.json()["detail"] == f"readings.0.start_utc: '2026-07-01T11:10Z': {told}"


@pytest.mark.parametrize("later", [NOON, NOON + timedelta(days=1)], ids=["before", "after"])
async def test_a_contract_that_holds_energy_holds_no_other_amount(
    monkeypatch: pytest.MonkeyPatch, later: datetime
) -> None:
    ledger = MemoryLedger()
    http = client(ledger)
    first = await http.post("/reservations", json=WANTED)
    monkeypatch.setattr(Noon, "now", lambda _self: later)

    again = [
        await http.post("/reservations", json=WANTED | change)
        for change in ({}, {"mwh": "0.80"}, {"flexible_mwh": "2"}, {"flexible_mwh": "0.1"})
    ]
    other = await http.post("/reservations", json=WANTED | {"mwh": "0.3"})

    assert [one.json() for one in again] == [first.json()] * 4
    assert other.status_code == 409
    told = "mwh 0.3 is not valid; valid is 0.8, which it holds by entry 0"
    assert f"DFS-7 (dfs) of {RUNNING}: {told}" in other.json()["detail"]
    assert len(ledger.logged) == 1


@pytest.mark.parametrize("start", ["9999-12-31T23:30:00Z", "0001-01-01T00:00:00Z"])
async def test_no_half_hour_at_an_end_of_the_calendar_is_reserved(start: str) -> None:
    answer = await client(MemoryLedger()).post("/reservations", json=WANTED | {"start": start})

    assert answer.status_code == 400
    (wrong,) = answer.json()["errors"]
    assert wrong["field"] == "start"
    assert "valid is an instant with its time zone, from 0001-01-02" in wrong["valid"]


@pytest.mark.parametrize(
    ("method", "path", "sent", "field"),
    [
        ("GET", "/reservations", {"params": {"meter": METER, "start": "soon"}}, "start"),
        ("POST", "/reservations", {"json": WANTED | {"start": "soon"}}, "start"),
        (
            "POST",
            f"/baselines/meters/{METER}",
            {"json": {"day": "2026-07-01", "event_start": "soon"}},
            "event_start",
        ),
    ],
)
async def test_what_is_no_half_hour_is_told_by_its_field(
    method: str, path: str, sent: dict[str, Any], field: str
) -> None:
    answer = await client(MemoryLedger()).request(method, path, **sent)

    assert answer.status_code == 400
    told = "'soon' is no half-hour; valid is 2026-07-01T12:30Z"
    assert answer.json()["errors"] == [{"field": field, "value": "soon", "valid": told}]


async def test_nothing_is_reserved_of_a_half_hour_that_is_over() -> None:
    ledger = MemoryLedger()

    answer = await client(ledger).post("/reservations", json=WANTED | {"start": str(RUNNING - 1)})

    assert (answer.status_code, ledger.logged) == (400, [])
    told = f"start {RUNNING - 1} is not valid; valid is a half-hour that is not over, and it is "
    assert answer.json()["detail"] == f"{told}{NOON:%Y-%m-%dT%H:%MZ}"


def committed(at: HalfHour) -> Event:
    """2 MWh expected; at six one of them is sold."""
    planned = ImportMWh(Decimal(1 if at == SIX else 2))
    made = Committed(ImportMWh(Decimal(2)), planned, Decimal(1), is_traded=at == SIX)
    return commitment_event(made, UNIT, at)


def metered(at: HalfHour) -> Event:
    return reading_event(
        Reading(
            meter=METER,
            half_hour=at,
            import_kwh=Decimal(1500),
            export_kwh=Decimal(0),
            evidence=Evidence.SETTLEMENT,
            is_substituted=False,
            received_at=NOON,
        )
    )


async def test_the_rebound_says_of_how_many_half_hours_nothing_is_known() -> None:
    day = SIX.settlement[0]
    rest = [at for at in half_hours_of(day) if at not in {SIX, SIX + 1}]
    ledger = MemoryLedger()
    registered = [registry_event(one) for one in RECORDS]

    async def told_after(*events: Event) -> list[Any]:
        await ledger.append(events, now=NOON)
        asked = {"unit": UNIT, "first": str(day), "last": str(day)}
        found = (await client(ledger).post("/baselines/rebound", json=asked)).json()
        names = ("half_hours", "without_reading", "without_commitment", "is_covered")
        return [found[name] for name in names]

    sold = await told_after(*registered, *map(committed, (SIX, SIX + 1)), metered(SIX))
    uncommitted = await told_after(metered(SIX + 1), metered(SIX + 2))
    whole = await told_after(*map(committed, rest), *map(metered, rest))

    assert sold == [1, 47, 0, False]
    assert uncommitted == [2, 45, 1, False]
    assert whole == [48, 0, 0, True]
