"""Readings, event days and the registry, as events of the ledger, and back again.

The order of the entries is the order of knowledge, so that of two versions the later one counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from gridflex.errors import ContractError
from gridflex.faults import faults_text
from gridflex.ledger.canonical import canonical_json, digest, without_fractions
from gridflex.ledger.event import Entry, Event, EventType
from gridflex.market.meters import Reading
from gridflex.market.registry import (
    Allocation,
    Consent,
    MeteredSite,
    Msid,
    Registry,
    SecondaryBmUnit,
    UnitId,
    pair_key,
)
from gridflex.market.working_days import WorkingCalendar

RegistryRecord = MeteredSite | SecondaryBmUnit | Consent | Allocation

_READING: Final = TypeAdapter(Reading)

_RECORDS: Final[dict[str, TypeAdapter[Any]]] = {
    "site": TypeAdapter(MeteredSite),
    "unit": TypeAdapter(SecondaryBmUnit),
    "consent": TypeAdapter(Consent),
    "allocation": TypeAdapter(Allocation),
}


def reading_event(reading: Reading) -> Event:
    """Return a meter reading; another version of it is another event."""
    body = _READING.dump_python(reading, mode="json")
    return Event(
        id=f"meter:{reading.meter}:{reading.half_hour}:{digest(canonical_json(body))[:16]}",
        event_type=EventType.METER_RECEIVED,
        body=body,
        subject=f"meter:{reading.meter}",
        half_hour=reading.half_hour,
    )


def readings_of(entries: Iterable[Entry]) -> Iterator[Reading]:
    """Yield the meter readings among entries; telemetry of jobs is passed over."""
    for entry in entries:
        if entry["event_type"] == EventType.METER_RECEIVED and "meter" in entry["body"]:
            yield _READING.validate_python(entry["body"])


def event_day_event(meter: Msid, day: date, *, reason: str) -> Event:
    """Return the declaration of an event day, which counts no longer as history of a meter."""
    return Event(
        id=f"event-day:{meter}:{day}",
        event_type=EventType.CONFIG_CHANGED,
        body={"kind": "event-day", "meter": meter, "day": day.isoformat(), "reason": reason},
        subject=f"meter:{meter}",
    )


def event_days_of(entries: Iterable[Entry], *, meter: Msid) -> frozenset[date]:
    """Return the declared event days of a meter among entries."""
    return frozenset(
        date.fromisoformat(entry["body"]["day"])
        for entry in entries
        if entry["event_type"] == EventType.CONFIG_CHANGED
        and entry["body"].get("kind") == "event-day"
        and entry["body"]["meter"] == meter
    )


def registry_event(record: RegistryRecord) -> Event:
    """Return a site, unit, consent or allocation."""
    kind, name = _named(record)
    fields = _RECORDS[kind].dump_python(record, mode="json")
    body = {"kind": kind, "record": without_fractions(fields)}
    is_consent = isinstance(record, Consent)
    stem = f"{kind}:{name}:"
    return Event(
        id=f"{stem}{digest(canonical_json(body))[:16]}",
        event_type=EventType.CONSENT_RECORDED if is_consent else EventType.SITE_REGISTERED,
        body=body,
        subject=f"{kind}:{name}",
        stem=stem,
    )


def read_record(kind: str, fields: Entry) -> RegistryRecord:
    """Return a record of the registry from its fields.

    Raises:
        ContractError: The kind or a field is not valid; the message names each.
    """
    if kind not in _RECORDS:
        raise ContractError(f"kind {kind!r} is not valid; valid are {', '.join(_RECORDS)}")
    try:
        record: RegistryRecord = _RECORDS[kind].validate_python(fields)
    except ValidationError as error:
        raise ContractError(f"{kind}: {faults_text(error, whole='record')}") from error
    return record


def registry_of(entries: Iterable[Entry], *, calendar: WorkingCalendar) -> Registry:
    """Return the registry as entries have it; of two versions the later one counts.

    Raises:
        ContractError: Its records do not agree with each other.
    """
    newest: dict[tuple[str, str], RegistryRecord] = {}
    for entry in entries:
        if entry["event_type"] in {EventType.SITE_REGISTERED, EventType.CONSENT_RECORDED}:
            body = entry["body"]
            record = read_record(body["kind"], body["record"])
            newest[_named(record)] = record
    records = list(newest.values())
    return Registry(
        sites=tuple(one for one in records if isinstance(one, MeteredSite)),
        units=tuple(one for one in records if isinstance(one, SecondaryBmUnit)),
        consents=tuple(one for one in records if isinstance(one, Consent)),
        allocations=tuple(one for one in records if isinstance(one, Allocation)),
        calendar=calendar,
    )


def registered_units(entries: Iterable[Entry]) -> frozenset[UnitId]:
    """Return the units among entries of the registry."""
    return frozenset(
        UnitId(entry["body"]["record"]["id"])
        for entry in entries
        if entry["event_type"] == EventType.SITE_REGISTERED and entry["body"]["kind"] == "unit"
    )


def _named(record: RegistryRecord) -> tuple[str, str]:
    match record:
        case MeteredSite():
            return "site", record.name
        case SecondaryBmUnit():
            return "unit", record.id
        case Consent():
            return "consent", f"{record.site}:{record.validity.start}"
        case Allocation():
            return "allocation", f"{pair_key(record.pair)}:{record.validity.start}"
