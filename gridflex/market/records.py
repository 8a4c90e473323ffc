"""What the market does, as events of the ledger, and back again.

The ledger is where the market's facts are kept: a settlement can be run again, and an invoice
made, from its entries alone. The order of the entries is the order of knowledge, so that of two
versions the later one counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from gridflex.errors import ContractError
from gridflex.faults import faults_text
from gridflex.halfhour import HalfHour
from gridflex.ledger.canonical import canonical_json, digest, without_fractions
from gridflex.ledger.event import Event, EventType
from gridflex.market.attribution import Contribution
from gridflex.market.authority import Authority
from gridflex.market.book import SettlementBook, read_book, settle_book, write_book, write_statement
from gridflex.market.invoice import Document
from gridflex.market.invoice_files import document_json
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
from gridflex.market.reported import Difference, UnitReport, follows, unconfirmed
from gridflex.market.runs import Run
from gridflex.market.settlement import AccountPeriod
from gridflex.market.working_days import WorkingCalendar

Json = Mapping[str, Any]
"""An entry of the ledger, as `gridflex.ledger.verify.entries.parse_entry` returns it."""

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


def readings_of(entries: Iterable[Json]) -> Iterator[Reading]:
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


def event_days_of(entries: Iterable[Json], *, meter: Msid) -> frozenset[date]:
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


def read_record(kind: str, fields: Json) -> RegistryRecord:
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


def registry_of(entries: Iterable[Json], *, calendar: WorkingCalendar) -> Registry:
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


def registered_units(entries: Iterable[Json]) -> frozenset[UnitId]:
    """Return the units among entries of the registry."""
    return frozenset(
        UnitId(entry["body"]["record"]["id"])
        for entry in entries
        if entry["event_type"] == EventType.SITE_REGISTERED and entry["body"]["kind"] == "unit"
    )


def settlement_event(
    period: AccountPeriod,
    *,
    contributions: Iterable[Contribution] = (),
    differences: Iterable[Difference] = (),
) -> Event:
    """Return one account's half-hour in one run: all its inputs, and the digest of the outcome.

    Args:
        period: The inputs.
        contributions: What jobs did.
        differences: Figures of ours that the run's central report does not confirm.
    """
    differs = [one.as_json() for one in differences]
    part = SettlementBook((period,), tuple(contributions))
    statement = settle_book(part)
    (result,) = statement.results
    stem = f"settlement:{period.account}:{period.half_hour}:{period.run}:"
    return Event(
        id=f"{stem}{statement.inputs_sha256[:16]}",
        event_type=EventType.SETTLEMENT_RUN,
        body={
            "inputs": json.loads(write_book(part)),
            "outcome_sha256": digest(write_statement(statement)),
            "delivered_mwh": str(result.credited_mwh),
            "sold_mwh": str(result.sold_mwh),
            "net_gbp": str(result.net_gbp),
            **({"report_differences": differs} if differs else {}),
        },
        subject=f"account:{period.account}",
        half_hour=period.half_hour,
        stem=stem,
    )


def differences_of(entry: Json) -> list[Difference]:
    """Return where a settlement's own figures were off those of the report it follows."""
    at = HalfHour.parse(entry["valid_time"])
    return [
        Difference(at, one["what"], Decimal(one["ours"]), _reported(one["reported"]))
        for one in entry["body"].get("report_differences", ())
    ]


def _reported(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def newest_of_run(entries: Iterable[Json], run: Run) -> list[Json]:
    """Return the last settlement of each account and half-hour in one run."""
    last = {(entry["subject"], entry["valid_time"]): entry for entry in _of_run(entries, run)}
    return list(last.values())


def _of_run(entries: Iterable[Json], run: Run) -> Iterator[Json]:
    return (one for one in entries if settlement_inputs(one).periods[0].run is run)


def settled_differences(
    entries: Iterable[Json], reports: Mapping[UnitId, UnitReport], authority: Authority
) -> list[Difference]:
    """Return what reports do not confirm of the settlements of their day and run.

    Where one follows its reports already, what it was off them is kept with it.

    Args:
        entries: Settlements, each account and half-hour once.
        reports: Of one day and run.
        authority: Which of their figures count, and how far ours may be off.
    """
    found: list[Difference] = []
    for entry in entries:
        (period,) = settlement_inputs(entry).periods
        now = unconfirmed(period, reports, authority)
        said = [reports[one.unit] for one in period.units if one.unit in reports]
        is_followed = bool(said) and all(follows(period, one, authority.counts) for one in said)
        kept = differences_of(entry) if is_followed else []
        found += {one.what: one for one in (*now, *kept)}.values()
    return found


def contributions_of(book: SettlementBook, half_hour: HalfHour) -> tuple[Contribution, ...]:
    """Return what jobs did in one half-hour of a book."""
    return tuple(one for one in book.contributions if one.half_hour == half_hour)


def book_of(entries: Iterable[Json]) -> SettlementBook:
    """Return the settlement inputs that entries hold; of two versions the later one counts.

    What jobs did in a half-hour is what the newest run of each account says.
    """
    parts: dict[tuple[str, HalfHour, Run], SettlementBook] = {}
    for entry in entries:
        if entry["event_type"] == EventType.SETTLEMENT_RUN:
            part = settlement_inputs(entry)
            (period,) = part.periods
            parts[period.account, period.half_hour, period.run] = part
    newest = {key[:2]: parts[key] for key in sorted(parts, key=_order)}
    jobs: dict[tuple[HalfHour, str, str | None], Contribution] = {}
    for part in newest.values():
        jobs |= {(one.half_hour, one.job, one.contract): one for one in part.contributions}
    return SettlementBook(
        periods=tuple(parts[key].periods[0] for key in sorted(parts, key=_order)),
        contributions=tuple(jobs[key] for key in sorted(jobs, key=str)),
    )


@dataclass(frozen=True, slots=True)
class Replay:
    """One settlement that was run again from its entry.

    Args:
        entry: Id of the event.
        logged_sha256: Digest of the outcome as it was recorded.
        again_sha256: Digest of the outcome now.
    """

    entry: str
    logged_sha256: str
    again_sha256: str

    @property
    def is_same(self) -> bool:
        """Whether the same inputs gave the same bytes."""
        return self.logged_sha256 == self.again_sha256


def replay(entries: Iterable[Json]) -> Iterator[Replay]:
    """Run every settlement among entries again and yield how it came out."""
    for entry in entries:
        if entry["event_type"] == EventType.SETTLEMENT_RUN:
            again = digest(write_statement(settle_book(settlement_inputs(entry))))
            yield Replay(entry["id"], entry["body"]["outcome_sha256"], again)


def invoice_event(document: Document, *, account: str | None = None) -> Event:
    """Return an invoice or credit note: its figures, and the digest of the whole document.

    Args:
        document: The invoice or credit note.
        account: Whose revenue it charges for.
    """
    payload = document_json(document)
    lines = [
        {"settlement_month": one.settlement_month, "amount_gbp": str(one.amount_gbp)}
        for one in document.lines
    ]
    return Event(
        id=f"invoice:{document.number}",
        event_type=EventType.INVOICE_ISSUED,
        body={
            "number": document.number,
            "kind": document.kind.value,
            "issued_on": document.issued_on.isoformat(),
            "month": str(document.month),
            "lines": lines,
            "net_gbp": str(document.net_gbp),
            "vat_gbp": str(document.vat_gbp),
            "gross_gbp": str(document.gross_gbp),
            "corrects": list(document.corrects),
            "statement_sha256": document.evidence_sha256,
            "document_sha256": digest(payload),
            **({"account": account} if account else {}),
        },
        subject=f"invoice:{document.number}",
    )


def settlement_inputs(entry: Json) -> SettlementBook:
    """Return the inputs of a settlement from its entry: one half-hour of one account and run."""
    return read_book(canonical_json(entry["body"]["inputs"]))


def _order(key: tuple[str, HalfHour, Run]) -> tuple[str, HalfHour, int]:
    account, half_hour, run = key
    return account, half_hour, run.position


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
