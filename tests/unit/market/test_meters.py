"""Meter readings: gaps, versions, substituted values, both clock-change days."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from pydantic import ValidationError

from gridflex.adapters.market.reading_log import record_readings
from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour, periods_in
from gridflex.market.billing.monthly import parse_month
from gridflex.market.meter_files import ReadingsIn, read_csv
from gridflex.market.meters import Evidence, MeterHistory, Reading, check_once
from gridflex.market.registry import Msid
from gridflex.market.volumes import ImportMWh
from gridflex.market.working_days import calendar_around, half_hours_of
from tests.unit.market.memory import MemoryLedger

METER = Msid("1200012345679")
NOON = HalfHour(datetime(2026, 7, 1, 12, tzinfo=UTC))
NEXT_DAY = datetime(2026, 7, 2, 9, tzinfo=UTC)
LATER = NEXT_DAY + timedelta(days=20)


def reading(
    half_hour: HalfHour = NOON,
    kwh: str = "500",
    *,
    at: datetime = NEXT_DAY,
    export: str = "0",
    evidence: Evidence = Evidence.SETTLEMENT,
    is_substituted: bool = False,
) -> Reading:
    return Reading(METER, half_hour, Decimal(kwh), Decimal(export), evidence, is_substituted, at)


def test_net_import_is_import_minus_export_in_mwh() -> None:
    assert reading(kwh="500", export="20").net == ImportMWh(Decimal("0.48"))


@pytest.mark.parametrize(
    ("one", "counts"),
    [
        pytest.param(reading(), True, id="settlement meter"),
        pytest.param(reading(evidence=Evidence.ASSET_METERED), True, id="asset meter"),
        pytest.param(reading(is_substituted=True), False, id="substituted"),
        pytest.param(reading(evidence=Evidence.TELEMETRY), False, id="telemetry"),
        pytest.param(reading(evidence=Evidence.ESTIMATED), False, id="estimated"),
    ],
)
def test_delivery_is_claimed_on_metered_values_only(one: Reading, *, counts: bool) -> None:
    assert one.counts_as_delivery is counts


def test_two_readings_of_one_half_hour_are_refused_together_and_repeats_are_not() -> None:
    with pytest.raises(ContractError, match=rf"{METER} {NOON}: .* 500 kWh .* 510 kWh"):
        check_once([reading(), reading(kwh="510")])

    assert check_once([reading(), reading()]) == (reading(), reading())


def test_a_later_correction_heals_two_readings_that_were_stored_together() -> None:
    stored = [reading(), reading(kwh="510")]

    healed = MeterHistory.of(METER, [*stored, reading(kwh="505", at=LATER)])

    assert healed.at(NOON, known_at=LATER) == reading(kwh="505", at=LATER)
    assert MeterHistory.of(METER, stored).at(NOON, known_at=LATER) == stored[-1]


def test_a_later_version_replaces_an_earlier_one_from_when_it_arrived() -> None:
    history = MeterHistory.of(METER, [reading(), reading(), reading(kwh="510", at=LATER)])

    before, after = (
        history.at(NOON, known_at=moment) for moment in (NEXT_DAY, LATER + timedelta(1))
    )

    assert before is not None
    assert after is not None
    assert (before.import_kwh, after.import_kwh) == (Decimal(500), Decimal(510))
    assert history.at(NOON, known_at=NEXT_DAY - timedelta(1)) is None
    assert len(history.versions[NOON]) == 2


def test_a_correction_stands_that_came_in_while_the_clock_was_set_back() -> None:
    corrected = reading(kwh="9", at=NEXT_DAY - timedelta(minutes=10))

    history = MeterHistory.of(METER, [reading(kwh="2"), corrected])

    assert history.at(NOON, known_at=corrected.received_at) == corrected
    assert history.at(NOON, known_at=LATER) == corrected


async def test_a_reading_is_known_if_it_says_what_the_ledger_says_last() -> None:
    ledger = MemoryLedger()
    first, corrected = reading(kwh="2"), reading(kwh="9", at=NEXT_DAY - timedelta(minutes=10))

    sent = [
        await record_readings(ledger, [one], now=LATER)
        for one in (first, corrected, replace(corrected, received_at=LATER), reading(at=LATER))
    ]

    assert sent == [([0], 1), ([1], 1), ([1], 0), ([2], 1)]


@pytest.mark.parametrize("day", [date(2026, 3, 29), date(2026, 7, 1), date(2026, 10, 25)])
def test_a_day_is_complete_with_as_many_readings_as_it_has_half_hours(day: date) -> None:
    start = HalfHour.from_settlement(day, 1)
    readings = [reading(half_hour) for half_hour in start.span(periods_in(day))]

    whole = MeterHistory.of(METER, readings)
    holed = MeterHistory.of(METER, [*readings[:3], *readings[4:]])

    assert whole.load_mwh(day, known_at=LATER) == (Decimal("0.5"),) * periods_in(day)
    assert holed.load_mwh(day, known_at=LATER)[2:5] == (Decimal("0.5"), None, Decimal("0.5"))


CSV = """\ufeffmeter,settlement_date,settlement_period,start_utc,import_kwh,export_kwh,substituted
1200012345679,2026-10-25,4,2026-10-25T00:30Z,812.5,0,false
1200012345679,2026-10-25,6,2026-10-25T01:30Z,798.25,,TRUE
"""


def test_a_csv_is_read_on_the_long_day() -> None:
    first, second = read_csv(CSV, received_at=NEXT_DAY)

    assert first.half_hour.start == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    assert second.half_hour == first.half_hour + 2
    assert (second.import_kwh, second.is_substituted) == (Decimal("798.25"), True)
    assert first.evidence is Evidence.SETTLEMENT


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("meter,kwh\n", "needs import_kwh, meter", id="columns"),
        pytest.param("", "columns none", id="empty"),
        pytest.param(
            "meter,start_utc,import_kwh,import_kwh\n1200012345679,2026-07-01T12:00Z,5,7\n",
            "column import_kwh more than once",
            id="column twice",
        ),
        pytest.param(
            "meter,start_utc,import_kwh\n1200012345679,2026-07-01T12:00Z,1_000\n",
            "line 2: import_kwh '1_000'",
            id="underscore",
        ),
        pytest.param(
            "meter,start_utc,import_kwh\n1200012345679,2026-07-01T12:00Z,1e-2000000000\n",
            "line 2: import_kwh .* at most 20 decimals",
            id="endless decimals",
        ),
        pytest.param(
            "meter,start_utc,import_kwh\n1200012345679,2026-07-01T12:00Z,\u0667\n",
            "line 2: import_kwh",
            id="other digits",
        ),
        pytest.param(
            "meter,start_utc,import_kwh\n120001234567\u0669,2026-07-01T12:00Z,1\n",
            "line 2: meter",
            id="meter in other digits",
        ),
        pytest.param(
            "meter,settlement_date,settlement_period,import_kwh\n1200012345679,2026-07-01,1_0,1\n",
            "line 2: settlement_period '1_0'",
            id="period with an underscore",
        ),
        pytest.param(
            "meter,start_utc,import_kwh\n12,2026-07-01T12:00Z,1\n", "13 digits", id="meter"
        ),
        pytest.param(
            "meter,start_utc,import_kwh\n1200012345679,2026-07-01T12:00,1\n",
            "line 2: start_utc",
            id="no zone",
        ),
        pytest.param(
            "meter,start_utc,import_kwh\n1200012345679,2026-07-01T12:10Z,1\n",
            "line 2: start_utc '2026-07-01T12:10Z' is not valid; valid is .* at :00 or :30",
            id="grid",
        ),
        pytest.param(
            "meter,start_utc,import_kwh\n1200012345679,0001-01-01T00:00+01:00,1\n",
            "line 2: start_utc",
            id="before the calendar",
        ),
        pytest.param(
            "meter,start_utc,import_kwh\n1200012345679,,1\n", "settlement_date with", id="no time"
        ),
        pytest.param(
            "meter,start_utc,import_kwh\n1200012345679,2026-07-01T12:00Z,-1\n",
            "import_kwh '-1'",
            id="negative",
        ),
        pytest.param(
            "meter,start_utc,import_kwh\n1200012345679,2026-07-01T12:00Z,\n",
            "import_kwh ''",
            id="missing value",
        ),
        pytest.param(
            "meter,start_utc,import_kwh\n1200012345679,2026-07-01T12:00Z,NaN\n", "NaN", id="nan"
        ),
        pytest.param(
            "meter,settlement_date,settlement_period,import_kwh\n1200012345679,2026-03-29,47,1\n",
            "line 2: settlement_period '47' .* 46 settlement periods",
            id="period 47 of a short day",
        ),
        pytest.param(
            "meter,settlement_date,settlement_period,start_utc,import_kwh\n"
            "1200012345679,2026-07-01,1,2026-07-01T00:00Z,1\n",
            "2026-06-30T23:00Z",
            id="the two times disagree",
        ),
        pytest.param(
            "meter,start_utc,import_kwh\n1200012345679,2026-07-01T12:00Z\n", "3 values", id="short"
        ),
        pytest.param(
            "meter,start_utc,import_kwh,evidence\n1200012345679,2026-07-01T12:00Z,1,guess\n",
            "settlement, asset-metered",
            id="evidence",
        ),
    ],
)
def test_a_wrong_csv_is_refused_with_line_and_column(text: str, reason: str) -> None:
    with pytest.raises(ContractError, match=reason):
        list(read_csv(text, received_at=NEXT_DAY))


@pytest.mark.parametrize("day", [date(9999, 12, 31), date(1, 1, 1)])
def test_a_day_beyond_the_calendar_is_refused(day: date) -> None:
    for refused in (half_hours_of, calendar_around):
        with pytest.raises(ContractError, match=f"day {day} is not valid; valid is 1900 to 2200"):
            refused(day)
    with pytest.raises(ContractError, match="is not valid; valid is YYYY-MM, 1900 to 2200"):
        parse_month(f"{day:%Y-%m}".zfill(7))


def test_a_field_of_a_csv_that_is_too_long_is_refused() -> None:
    text = f"meter,start_utc,import_kwh\n{METER},2026-07-01T12:00Z,{'1' * 200_000}\n"
    with pytest.raises(ContractError, match="at most 131072 characters"):
        list(read_csv(text, received_at=NEXT_DAY))


def test_an_api_body_becomes_readings() -> None:
    body = {
        "meter": METER,
        "readings": [{"start_utc": "2026-07-01T13:00+01:00", "import_kwh": "0.1"}],
    }

    (one,) = ReadingsIn.model_validate(body).received(NEXT_DAY)

    assert one == reading(kwh="0.1")


@pytest.mark.parametrize(
    "change",
    [
        {"import_kwh": "-1"},
        {"import_kwh": "2e9"},
        {"import_kwh": "1_000"},
        {"import_kwh": "1e-2000000000"},
        {"import_kwh": True},
        {"start_utc": 1_782_907_200},
        {"start_utc": "1782907200"},
        {"start_utc": "2026-07-01T13:00"},
        {"start_utc": "2026-07-01T13:10Z"},
        {"extra": 1},
    ],
)
def test_a_wrong_api_body_is_refused(change: dict[str, object]) -> None:
    row: dict[str, object] = {"start_utc": "2026-07-01T13:00Z", "import_kwh": "1"}

    with pytest.raises(ValidationError):
        ReadingsIn.model_validate({"meter": METER, "readings": [row | change]})
