from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import Event, EventType, instant
from tests.unit.ledger.ledgers import NOON, event


def test_an_entry_has_these_bytes() -> None:
    entry = event(1).entry(recorded_at=NOON + timedelta(microseconds=5))

    assert entry.decode() == (
        '{"body":{"import_kwh":"101.5"},"event_type":"meter.received","id":"meter:1",'
        '"payload_sha256":null,"prev_ref":null,"recorded_time":"2026-07-01T12:00:00.000005Z",'
        '"schema":"gridflex-event/1","site":"london","sp":"2026-07-01/28",'
        '"subject":"meter:1200000000001","tenant":"gridflex",'
        '"valid_time":"2026-07-01T12:30:00.000000Z"}'
    )


def test_the_settlement_period_is_that_of_the_clock_in_london() -> None:
    after = HalfHour(datetime.fromisoformat("2026-10-25T01:30Z"))  # 01:30 happens twice

    entry = event(0, half_hour=after).entry(recorded_at=NOON)

    assert b'"sp":"2026-10-25/6"' in entry


def test_an_event_may_be_about_no_half_hour() -> None:
    entry = Event("x", EventType.CONFIG_CHANGED, {}).entry(recorded_at=NOON)

    assert b'"sp":null' in entry
    assert b'"valid_time":null' in entry


def test_an_instant_is_written_in_utc_to_the_microsecond() -> None:
    summer = timezone(timedelta(hours=1))

    assert instant(NOON.astimezone(summer)) == "2026-07-01T12:00:00.000000Z"
    with pytest.raises(ContractError, match="time zone"):
        instant(NOON.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"id": ""}, "an id and a tenant"),
        ({"tenant": ""}, "an id and a tenant"),
        ({"body": {"kwh": 0.5}}, "holds only text"),
        ({"body": {"n": 2**53}}, "holds only text"),
        ({"body": {"when": NOON}}, "holds only text"),
        ({"body": {1: "x"}}, "keys of an entry are text"),
        ({"body": {"half": "\ud800"}}, "surrogate"),
        ({"body": {"long": "x" * 65_536}}, "at most 65535"),
        ({"site": 7}, "site of an entry is malformed"),
        ({"prev_ref": True}, "prev_ref of an entry is malformed"),
    ],
)
def test_what_an_entry_cannot_hold_is_refused(changed: dict[str, Any], problem: str) -> None:
    with pytest.raises(ContractError, match=problem):
        event(0, **changed).entry(recorded_at=NOON)
