"""``/v1/settlement/baselines`` and the checks against the market, over ASGI, on PostgreSQL."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.halfhour import HalfHour
from gridflex.ledger.event import Event, EventType, instant
from gridflex.lifecycle import CAP_CHANGED
from gridflex.market.baselines.commitments import Committed, commitment_event
from gridflex.market.registry import SecondaryBmUnit, UnitId, Validity
from gridflex.market.registry_records import registry_event
from gridflex.market.settlement.attribution import Contribution
from gridflex.market.settlement.authority import AUTHORITY, Figures
from gridflex.market.settlement.book import SettlementBook, write_book
from gridflex.market.settlement.records import settlement_event
from gridflex.market.settlement.reported import as_reported, differences, unit_reports
from gridflex.market.settlement.s0142 import read_s0142
from gridflex.market.trading.reconciliation import Trade
from gridflex.market.trading.records import trade_event
from gridflex.market.volumes import ImportMWh
from gridflex.market.working_days import half_hours_of
from tests.e2e.database.test_settlement_api import METER, SITE, Served
from tests.unit.market.test_baseline import wh
from tests.unit.market.test_s0142 import text
from tests.unit.market.test_settlement import EXAMPLE, SIX
from tests.unit.market.test_tariff import tariff_text

D = date(2023, 4, 12)
UNIT = "V__CGRID001"


@pytest.fixture
def served(engine: AsyncEngine, tmp_path: Path) -> Served:
    return Served(engine, tmp_path / "key")


async def fill(served: Served, *, last: date = D, days: int = 62) -> None:
    """Readings of the golden series, one kWh for each Wh of it."""
    rows = [f"{METER},{at},{wh(day, i + 1)}" for day in _days(last, days) for i, at in _starts(day)]
    csv = "\n".join(["meter,start_utc,import_kwh", *rows])
    answer = await served.http.post(
        "/readings.csv", content=csv, headers={"content-type": "text/csv"}
    )
    assert answer.status_code == 200, answer.text


def _days(last: date, count: int) -> list[date]:
    return [last - timedelta(days=back) for back in range(count)]


def _starts(day: date) -> list[tuple[int, HalfHour]]:
    return list(enumerate(half_hours_of(day)))


async def post(served: Served, path: str, body: object) -> Any:  # noqa: ANN401 - JSON
    answer = await served.http.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_the_golden_baseline_comes_out_of_imported_readings(served: Served) -> None:
    await fill(served)
    event = str(HalfHour.from_settlement(D, 36))
    asked = {"day": str(D), "event_start": event, "event_half_hours": 3}

    plain = await post(served, f"/baselines/meters/{METER}/show", asked)
    adjusted = await post(served, f"/baselines/meters/{METER}", asked | {"trigger": "acceptance"})

    values = [row["baseline_mwh"] for row in plain["half_hours"][35:38]]
    assert values == ["1.2515", "1.3034", "1.3608"]
    assert plain["half_hours"][35]["metered_mwh"] == "1.26"
    assert plain["selected"][:3] == ["2023-04-11", "2023-04-06", "2023-04-05"]
    assert adjusted["half_hours"][35]["baseline_mwh"] == "1.2604"  # 1.2515 + 133/15000
    (entry,) = await served.ledger.find(EventType.BASELINE_COMPUTED)
    assert entry.index == adjusted["index"]
    assert entry.event["body"]["half_hours"] == adjusted["half_hours"]
    assert entry.event["subject"] == f"meter:{METER}"


async def test_a_declared_event_day_counts_no_longer(served: Served) -> None:
    await fill(served)
    for day in ("2023-04-11", "2023-04-05"):
        body = {"day": day, "reason": "wholesale trading, file 12"}
        await post(served, f"/baselines/meters/{METER}/event-days", body)

    shown = await post(served, f"/baselines/meters/{METER}/show", {"day": str(D)})
    gauge = await served.get(f"/baselines/meters/{METER}/budget", params={"day": str(D)})

    assert shown["excluded"] == {
        "2023-04-11": "event day",
        "2023-04-05": "event day",
    }
    assert (gauge["alike_days"], gauge["eligible"], gauge["minimum"]) == (40, 38, 5)
    assert (gauge["spare_days"], gauge["is_exhausted"]) == (33, False)


async def test_without_history_the_budget_is_exhausted(served: Served) -> None:
    await post(served, "/registry", {"records": [{"kind": "site", "record": SITE}]})

    gauge = await served.get(f"/baselines/meters/{METER}/budget", params={"day": str(D)})

    assert (gauge["is_exhausted"], gauge["exhausted_on"]) == (True, str(D))


async def test_a_meter_that_predicts_itself_may_be_traded_on(served: Served) -> None:
    await fill(served, days=121)
    await post(served, "/registry", {"records": [{"kind": "site", "record": SITE}]})

    found = await served.get(f"/baselines/meters/{METER}/predictability", params={"until": str(D)})
    strict = await served.get(
        f"/baselines/meters/{METER}/predictability",
        params={"until": str(D), "rrmse_fraction": 0.001},
    )

    assert found["may_trade"] is True
    assert abs(found["bias_fraction"]) < 0.02
    # only 11 x ((o s) mod 5) is left: 0 to 44 of about 1,350 kWh
    assert 0.005 < found["rrmse_fraction"] < 0.02
    assert (strict["may_trade"], strict["limits"]["rrmse_fraction"]) == (False, 0.001)


async def test_every_rule_says_how_far_it_is_confirmed(served: Served) -> None:
    await post(served, "/registry", {"records": [{"kind": "site", "record": SITE}]})

    rules = await served.get("/baselines/rules")

    assert "BL01" in [one["name"] for one in rules]
    assert all(one["source"] for one in rules)
    answer = await served.http.post(
        f"/baselines/meters/{METER}/show", json={"day": str(D), "rule": "BL99"}
    )
    assert answer.status_code == 400
    assert "'BL99' is not valid; valid are BL01" in answer.json()["detail"]


async def test_the_same_day_rule_holds_in_the_event_only(served: Served) -> None:
    await fill(served, days=2)
    asked = {
        "day": str(D),
        "rule": "PJM-same-day-3+2",
        "event_start": str(HalfHour.from_settlement(D, 25)),
        "event_half_hours": 10,
    }

    shown = await post(served, f"/baselines/meters/{METER}/show", asked)

    counted = [wh(D, period) for period in (*range(17, 23), *range(37, 41))]
    expected = (sum(counted, Decimal(0)) / len(counted) / 1000).quantize(Decimal("0.0001"))
    values = [Decimal(row["baseline_mwh"]) for row in shown["half_hours"]]
    assert set(values[24:34]) == {expected}
    assert values[23] == wh(D, 24) / 1000


TODAY = date(2026, 7, 1)


async def allocate(served: Served) -> None:
    pair = {"import_msid": METER, "export_msid": None}
    validity = {"start": "2026-01-05"}
    records = [
        {"kind": "site", "record": SITE},
        {"kind": "unit", "record": {"id": UNIT, "party": "GRIDFLEX", "validity": validity}},
        {
            "kind": "consent",
            "record": {
                "site": "london",
                "signed_on": "2025-12-01",
                "document_sha256": "ab" * 32,
                "validity": validity,
            },
        },
        {
            "kind": "allocation",
            "record": {
                "pair": pair,
                "unit": UNIT,
                "type": "T",
                "indicator": "S",
                "registered_on": "2025-12-01",
                "validity": validity,
            },
        },
    ]
    await post(served, "/registry", {"records": records})


async def test_the_honesty_tests_judge_what_is_in_the_ledger(served: Served) -> None:
    at = HalfHour.from_settlement(TODAY, 30)
    expected = ImportMWh(wh(TODAY, 30) / 1000 + 1)
    made = Committed(expected, expected - ImportMWh(Decimal(1)), Decimal("0.8"))
    early = datetime(2026, 7, 1, 4, tzinfo=UTC)
    await served.ledger.append([commitment_event(made, UnitId(UNIT), at)], now=early)
    await allocate(served)
    await fill(served, last=TODAY, days=3)
    asked = {"unit": UNIT, "first": str(TODAY), "last": str(TODAY)}

    found = {one["test"]: one for one in await post(served, "/baselines/honesty", asked)}

    back = await post(served, "/baselines/rebound", asked)

    assert (Decimal(back["delivered_mwh"]), back["half_hours"]) == (Decimal(1), 1)
    assert (Decimal(back["rebound_mwh"]), back["rebound_fraction"]) == (Decimal(0), 0.0)
    assert found["explained"]["verdict"] == "passed"  # 1 MWh less, as the plan says
    assert found["plausible"]["verdict"] == "failed"  # 1 MWh above all of history
    assert found["no raised caps"]["verdict"] == "inconclusive"
    raised = Event(
        id="job-event:1",
        event_type=EventType.JOB_CHANGED,
        body={
            "kind": CAP_CHANGED,
            "at": instant(at.start - timedelta(hours=1)),
            "detail": {"attempt": 2, "from_kw": "2.5", "to_kw": "4.0"},
        },
        subject="job:train-7",
    )
    await served.ledger.append([raised], now=datetime(2026, 9, 2, 21, tzinfo=UTC))
    logged = {one["test"]: one for one in await post(served, "/baselines/honesty", asked)}
    assert logged["no raised caps"]["verdict"] == "failed"
    assert "train-7 2.5 to 4 kW" in logged["no raised caps"]["detail"]
    refused = await served.http.post("/baselines/honesty", json=asked | {"unit": "V__CGRID009"})
    assert refused.status_code == 400


async def test_a_central_report_is_compared_with_our_settlement(served: Served) -> None:
    await served.http.post("/books", content=write_book(SettlementBook((EXAMPLE,))))
    headers = {"content-type": "text/plain"}

    same = await served.http.post("/reports", content=text(), headers=headers)
    other = await served.http.post(
        "/reports", content=text().replace("2.800|", "2.700|"), headers=headers
    )

    assert (same.json()["compared"], same.json()["differences"]) == (1, [])
    assert same.json()["recorded"] == []  # no unit is registered
    assert other.json()["differences"] == [
        {
            "start": str(SIX),
            "what": f"deviation MWh of {UNIT}",
            "ours": "2.8000",
            "reported": "2.700",
        }
    ]


async def test_a_report_that_was_followed_is_still_told_to_differ(served: Served) -> None:
    off = text().replace("2.800|", "2.700|").replace("210.", "200.")
    (said,) = unit_reports(read_s0142(off), units=[UnitId(UNIT)], file_sha256="ab" * 32)
    followed = settlement_event(
        as_reported(EXAMPLE, said, set(Figures)),
        differences=differences(EXAMPLE, said, AUTHORITY),
    )
    await served.http.post("/books", content=write_book(SettlementBook((EXAMPLE,))))
    headers = {"content-type": "text/plain"}
    before = (await served.http.post("/reports", content=off, headers=headers)).json()
    await served.ledger.append([followed], now=datetime(2026, 9, 2, 20, 0, 3, tzinfo=UTC))

    after = (await served.http.post("/reports", content=off, headers=headers)).json()

    assert [one["what"] for one in before["differences"]] == [
        f"deviation MWh of {UNIT}",
        "system price GBP/MWh",
    ]
    assert (after["compared"], after["differences"]) == (1, before["differences"])


async def test_a_central_report_is_recorded_for_a_registered_unit(served: Served) -> None:
    unit = SecondaryBmUnit(UnitId("V__CGRID001"), "GRIDFLEX", Validity(TODAY))
    await served.ledger.append([registry_event(unit)], now=datetime(2026, 7, 1, 20, tzinfo=UTC))
    headers = {"content-type": "text/plain"}

    (index,) = (await served.http.post("/reports", content=text(), headers=headers)).json()[
        "recorded"
    ]
    again = await served.http.post("/reports", content=text(), headers=headers)

    (entry,) = await served.ledger.find(EventType.REPORT_RECEIVED, subject="unit:V__CGRID001")
    assert (entry.index, again.json()["recorded"]) == (index, [index])
    assert (entry.event["body"]["run"], entry.event["sp"]) == ("SF", "2026-07-01/1")


async def test_a_sale_without_a_notice_does_not_reconcile(served: Served) -> None:
    at = HalfHour.from_settlement(TODAY, 30)
    trade = Trade("T1", "BUYER", at, 1, Decimal(6), Decimal(140))
    await served.ledger.append([trade_event(trade)], now=datetime(2026, 7, 1, 4, tzinfo=UTC))

    asked = {"first": str(TODAY), "last": str(TODAY)}
    (found,) = await served.get("/reconciliation", params=asked)
    tomorrow = {"first": "2026-07-02", "last": "2026-07-02"}

    assert (found["start"], found["why"]) == (str(at), "not notified")
    assert await served.get("/reconciliation", params=tomorrow) == []


async def test_dfs_and_delivered_cost_are_computed(served: Served) -> None:
    paid = await post(
        served, "/dfs", {"contracted_mw": "30", "price_gbp_per_mwh": "300", "delivered_mwh": "15"}
    )
    poor = await post(
        served,
        "/dfs",
        {
            "contracted_mw": "30",
            "price_gbp_per_mwh": "300",
            "delivered_mwh": "1",
            "factors": ["0.1"] * 4,
        },
    )
    (cost,) = await post(
        served,
        "/delivered-cost",
        {
            "tariff": yaml.safe_load(tariff_text()),
            "wholesale_gbp_per_mwh": {"2026-07-01T16:00Z": "100"},
        },
    )

    assert (Decimal(paid["payment_gbp"]), paid["risks_deregistration"]) == (Decimal(4500), False)
    assert poor["risks_deregistration"] is True
    assert Decimal(cost["delivered_gbp_per_mwh"]) == Decimal("240.405")


async def test_energy_is_promised_once(served: Served) -> None:
    wanted = {
        "meter": METER,
        "start": "2026-09-03T17:00Z",
        "product": "dfs",
        "mwh": "0.8",
        "contract": "DFS-7",
        "flexible_mwh": "1.0",
    }
    first = await post(served, "/reservations", wanted)
    again = await post(served, "/reservations", wanted)
    other = await served.http.post(
        "/reservations", json=wanted | {"product": "p415", "mwh": "0.1", "contract": "C2"}
    )

    await served.http.post("/reservations", json=wanted | {"mwh": "0.9", "contract": "C3"})
    repeated = await served.http.post(
        "/reservations", json=wanted | {"product": "p415", "mwh": "0.1", "contract": "C2"}
    )

    held = await served.get("/reservations", params={"meter": METER, "start": wanted["start"]})

    assert first == again == held[0]
    assert len(held) == 1
    assert other.status_code == 409
    assert "C2 (p415) is refused, entry 1: " in other.json()["detail"]
    assert "promised to dfs, which excludes p415" in other.json()["detail"]
    assert repeated.json()["detail"] == other.json()["detail"]


async def test_how_much_to_sell_comes_with_what_it_brings(served: Served) -> None:
    sent = {
        "delivery_mwh": ["0.5", "1.0"],
        "system_price_gbp_per_mwh": ["100"],
        "sale_price_gbp_per_mwh": "140",
        "sale_fraction": "0.8",
    }

    made = await post(served, "/sale", sent)

    # above every system price all that may be sold is: 0.8 of 0.75; (0.6 x 140 + 0.15 x 100)
    assert Decimal(made["mwh"]) == Decimal("0.600")
    assert Decimal(made["expected_net_gbp"]) == 99
    assert Decimal(made["nothing_sold_gbp"]) == 75
    assert made["is_worthwhile"] is True


async def test_the_net_is_spread_over_jobs_and_teams(served: Served) -> None:
    parts = (
        Contribution(EXAMPLE.half_hour, "job-1", "vision", "C1", Decimal("2.0")),
        Contribution(EXAMPLE.half_hour, "job-2", "language", None, Decimal("0.8")),
    )
    await served.http.post("/books", content=write_book(SettlementBook((EXAMPLE,), parts)))
    asked = {"account": "GRIDFLEX", "first": "2026-07-01", "last": "2026-07-01"}

    made = await served.get("/shares", params=asked)

    assert Decimal(made["total_gbp"]) == 378
    assert {name: Decimal(gbp) for name, gbp in made["by_team_gbp"].items()} == {
        "vision": 270,
        "language": 108,
    }
    assert set(made["by_contract_gbp"]) == {"C1", "portfolio"}
