"""Simulated central agents, who take our files and answer them.

Everything here is *simulated* and says so. The agents speak the real file formats, keep their
own books and their own clock-based rules, and can be told to lose, garble, reject or leave
unanswered what they get, so that the sender's behaviour can be shown.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import cast

from gridflex.halfhour import HalfHour
from gridflex.market.messages.artefacts import FLOW_OF, ArtefactKind
from gridflex.market.messages.deadlines import deadline, default_expected_volume_deadline
from gridflex.market.messages.feedback import contract_volumes
from gridflex.market.messages.flows import FLOWS
from gridflex.market.messages.idd import (
    Header,
    Receipt,
    Record,
    file_name,
    read,
    write,
    write_receipt,
)
from gridflex.market.messages.idd_items import FileError, Response, Value
from gridflex.market.registry import UnitId
from gridflex.market.volumes import ZERO, ExportMWh
from gridflex.market.working_days import WorkingCalendar


class Mishap(StrEnum):
    """What goes wrong with one file."""

    LOSE = "lose"
    GARBLE = "garble"
    MUTE = "mute"
    REJECT = "reject"


@dataclass(slots=True)
class AgentBook:
    """What the agents hold to be in force.

    Args:
        active: Per half-hour and unit, whether it trades.
        expected: Per half-hour and unit.
        default_expected: Per unit, from which day which half-hours of a day.
        contracts: Per reference and day, MWh per half-hour.
        delivered: Per half-hour and import meter.
        units: Unit of each import meter, as delivered volumes name it.
        party: Who sends activity notices; empty as long as nobody did.
    """

    active: dict[tuple[HalfHour, UnitId], bool] = field(default_factory=dict)
    expected: dict[tuple[HalfHour, UnitId], ExportMWh] = field(default_factory=dict)
    default_expected: dict[UnitId, tuple[date, dict[int, ExportMWh]]] = field(default_factory=dict)
    contracts: dict[tuple[str, date], dict[HalfHour, Decimal]] = field(default_factory=dict)
    delivered: dict[tuple[HalfHour, int], ExportMWh] = field(default_factory=dict)
    units: dict[int, UnitId] = field(default_factory=dict)
    party: str = ""

    def is_active(self, half_hour: HalfHour, unit: UnitId) -> bool:
        """Return whether a deviation is measured."""
        return self.active.get((half_hour, unit), False)

    def expected_of(self, half_hour: HalfHour, unit: UnitId) -> ExportMWh | None:
        """Return the submitted expected volume in force, the default included."""
        if (half_hour, unit) in self.expected:
            return self.expected[half_hour, unit]
        since, volumes = self.default_expected.get(unit, (None, {}))
        day, period = half_hour.settlement
        return volumes.get(period) if since is not None and since <= day else None

    def contracted_mwh(self, half_hour: HalfHour) -> Decimal:
        """Return what was sold according to the notices."""
        return sum((volumes.get(half_hour, ZERO) for volumes in self.contracts.values()), ZERO)


class SimulatedAgents:
    """Contract notification and supplier volume agents behind one mailbox.

    Args:
        units: Units they know.
        keys: Credential per contract authorisation.
        meters: Import ids of the meters allocated to the units; None takes any.
        calendar: Working days.
        mishaps: What goes wrong, per kind of message, in the order in which files arrive; after
            the last one all goes well.
    """

    def __init__(
        self,
        *,
        units: Iterable[UnitId],
        keys: Mapping[str, str],
        meters: Iterable[int] | None,
        calendar: WorkingCalendar,
        mishaps: Mapping[ArtefactKind, Iterable[Mishap | None]] | None = None,
    ) -> None:
        self.book = AgentBook()
        self._units = frozenset(units)
        self._keys = dict(keys)
        self._meters = None if meters is None else frozenset(meters)
        self._calendar = calendar
        self._mishaps = {kind: deque(some) for kind, some in (mishaps or {}).items()}
        self._next_in: defaultdict[tuple[str, str], int] = defaultdict(lambda: 1)
        self._next_out = 1

    def next_mishap(self, payload: bytes) -> Mishap | None:
        """Return what is to go wrong with a file now, and strike it off the list."""
        kind = _kind_of(payload)
        queue = self._mishaps.get(kind) if kind else None
        return queue.popleft() if queue else None

    def deliver(self, payload: bytes, *, now: datetime) -> tuple[bytes, ...]:
        """Take one file and return the files that come back, the receipt first.

        Args:
            payload: The file.
            now: When it arrives; aware UTC.
        """
        return self.deliver_so(payload, self.next_mishap(payload), now=now)

    def deliver_so(
        self, payload: bytes, mishap: Mishap | None, *, now: datetime
    ) -> tuple[bytes, ...]:
        """Take one file as `deliver` does, with this mishap."""
        kind = _kind_of(payload)
        if mishap is Mishap.LOSE:
            return ()
        if mishap is Mishap.GARBLE:
            payload = payload.replace(b"|D|", b"|D |", 1)
        return self._take(payload, kind, now, mishap)

    def _take(
        self, payload: bytes, kind: ArtefactKind | None, now: datetime, mishap: Mishap | None
    ) -> tuple[bytes, ...]:
        try:
            if kind is None:
                raise FileError("unexpected file type", Response.FILE_TYPE)  # noqa: TRY301
            header, records = read(payload, layouts=FLOWS[FLOW_OF[kind]])
            self._check_sequence(header)
        except FileError as error:
            return self._refusal(payload, now, error)
        receipt = write_receipt(header, Receipt(file_name(header), now, Response.RECEIVED))
        if mishap is Mishap.REJECT:
            answers = self._reject_all(header, records[0], "rejected by simulation")
        else:
            answers = self._answers(header, records[0], now)
        return () if mishap is Mishap.MUTE else (receipt, *answers)

    def _refusal(self, payload: bytes, now: datetime, error: FileError) -> tuple[bytes, ...]:
        """Return a receipt that says what is wrong; a file without a header gets none."""
        fields = payload.split(b"\n", 1)[0].decode("ascii", "replace").split("|")
        if len(fields) < 10 or not fields[8].isdigit():  # noqa: PLR2004 - items of a header
            return ()
        header = Header(
            file_type=fields[1],
            created_at=now,
            from_role=fields[4],
            from_party=fields[5],
            to_role=fields[6],
            to_party=fields[7],
            sequence=int(fields[8]),
        )
        detail = "".join(one for one in str(error) if one not in "|'`<>~$")[:80].strip()
        return (write_receipt(header, Receipt(file_name(header), now, error.response, detail)),)

    def _check_sequence(self, header: Header) -> None:
        sender = (header.from_role, header.from_party)
        expected = self._next_in[sender]
        if header.sequence != expected:
            raise FileError(
                f"sequence number {header.sequence}, expected {expected}", Response.SEQUENCE
            )
        self._next_in[sender] = expected + 1

    def _answers(self, header: Header, record: Record, now: datetime) -> list[bytes]:
        match record.tag:
            case "SDP":
                return self._activity(header, record, now)
            case "BSD":
                return self._expected(header, record, now)
            case "EDN":
                return self._contract(header, record, now)
            case _:
                return self._delivered(header, record, now)

    def _activity(self, header: Header, record: Record, now: datetime) -> list[bytes]:
        self.book.party = header.from_party
        at = _half_hour(record, _day(record, "settlement_date"))
        if self._is_late(ArtefactKind.WMAN, at, now):
            values = record.values | {"rejection_reason": "after gate closure"}
            return [self._file("E0521001", header, Record("WMR", values))]
        unknown = []
        for one in record.below("WMA"):
            unit = UnitId(str(one.values["bm_unit_id"]))
            if unit in self._units:
                self.book.active[at, unit] = bool(one.values["is_active"])
            else:
                reason = {"bm_unit_id": unit, "rejection_reason": "unknown unit"}
                unknown.append(Record("WMJ", dict(reason)))
        if not unknown:
            return []
        return [self._file("E0521001", header, Record("WMR", record.values, tuple(unknown)))]

    def _expected(self, header: Header, record: Record, now: datetime) -> list[bytes]:
        day = _day(record, "effective_from")
        is_default = "effective_to" not in record.values
        accepted: list[Record] = []
        rejected: list[Record] = []
        for below in record.below("BSB"):
            unit = UnitId(str(below.values["bm_unit_id"]))
            reason = "" if unit in self._units else "unknown unit"
            if is_default and now > default_expected_volume_deadline(day):
                reason = "default after 23:59 of the day before"
            late = [] if is_default else self._late_periods(below, day, now)
            wrong: list[dict[str, Value]] = [{"settlement_period": one} for one in late]
            for values in [{}] if reason else wrong:
                why: dict[str, Value] = {
                    "bm_unit_id": unit,
                    "effective_from": day,
                    "rejection_reason": reason or "after gate closure",
                }
                rejected.append(Record("BSR", why | values))
            if not reason:
                self._expect(below, unit, day, late, is_default=is_default)
                accepted.append(Record("BSA", {"bm_unit_id": unit}))
        files = [("P0330001", accepted if not rejected else []), ("P0329001", rejected)]
        return [self._file(flow, header, *records) for flow, records in files if records]

    def _late_periods(self, below: Record, day: date, now: datetime) -> list[int]:
        return [
            cast(int, one.values["settlement_period"])
            for one in below.below("BSP")
            if self._is_late(ArtefactKind.SEV, _half_hour(one, day), now)
        ]

    def _expect(
        self, below: Record, unit: UnitId, day: date, late: list[int], *, is_default: bool
    ) -> None:
        volumes = {
            cast(int, one.values["settlement_period"]): ExportMWh(
                cast(Decimal, one.values["expected_volume"])
            )
            for one in below.below("BSP")
        }
        if is_default:
            self.book.default_expected[unit] = (day, volumes)
            return
        for period, volume in volumes.items():
            if period not in late:
                self.book.expected[HalfHour.from_settlement(day, period), unit] = volume

    def _contract(self, header: Header, record: Record, now: datetime) -> list[bytes]:
        day = _day(record, "effective_from")
        volumes = contract_volumes(record, tag="CD9", day=day)
        key = self._keys.get(str(record.values["ecvnaa_id"]))
        if key is None or key != record.values["ecvnaa_key"]:
            return self._reject_all(header, record, "authorisation or key unknown")
        if any(self._is_late(ArtefactKind.ECVN, one, now) for one in volumes):
            return self._reject_all(header, record, "after gate closure")
        self.book.contracts[str(record.values["reference"]), day] = volumes
        values: dict[str, Value] = _authorisation(header, record) | {
            "first_effective_period": min((one.settlement[1] for one in volumes), default=1),
            "file_name": file_name(header),
            "sequence": header.sequence,
            "transaction": self._next_out,
        }
        return [self._file("E0281001", header, Record("EDA", values, record.below("CD9")))]

    def _delivered(self, header: Header, record: Record, now: datetime) -> list[bytes]:
        day = _day(record, "settlement_date")
        first = HalfHour.from_settlement(day, 1)
        if now > deadline(ArtefactKind.DVN, half_hour=first, calendar=self._calendar):
            return self._reject_all(header, record, "after the first working day")
        rejected = []
        for unit, meter, periods in _meters(record):
            if self._meters is not None and meter not in self._meters:
                why: dict[str, Value] = {
                    "settlement_date": day,
                    "import_msid": meter,
                    "rejection_reason": "not allocated",
                }
                rejected.append(Record("MSR", why))
                continue
            self.book.units[meter] = unit
            for one in periods:
                volume = ExportMWh(cast(Decimal, one.values["delivered_volume"]))
                self.book.delivered[_half_hour(one, day), meter] = volume
        if rejected:
            return [self._file("P0283002", header, *rejected)]
        return [self._file("P0284001", header, Record("MSF", {"settlement_date": day}))]

    def _reject_all(self, header: Header, record: Record, reason: str) -> list[bytes]:
        why: dict[str, Value] = {"rejection_reason": reason}
        match record.tag:
            case "SDP":
                return [self._file("E0521001", header, Record("WMR", record.values | why))]
            case "BSD":
                units = [{"bm_unit_id": one.values["bm_unit_id"]} for one in record.below("BSB")]
                rejected = [Record("BSR", why | one) for one in units]
                return [self._file("P0329001", header, *rejected)]
            case "EDN":
                values = _authorisation(header, record) | why
                return [self._file("E0091001", header, Record("EDX", values))]
            case _:
                day: dict[str, Value] = {"settlement_date": record.values["settlement_date"]}
                return [self._file("P0283002", header, Record("MSR", day | why))]

    def _is_late(self, kind: ArtefactKind, half_hour: HalfHour, now: datetime) -> bool:
        return now >= deadline(kind, half_hour=half_hour, calendar=self._calendar)

    def _file(self, flow: str, received: Header, *records: Record) -> bytes:
        header = Header(
            file_type=flow,
            created_at=received.created_at,
            from_role=received.to_role,
            from_party=received.to_party,
            to_role=received.from_role,
            to_party=received.from_party,
            sequence=self._next_out,
            phase=received.phase,
        )
        self._next_out += 1
        return write(header, layouts=FLOWS[flow], body=records)


def _kind_of(payload: bytes) -> ArtefactKind | None:
    flow = payload.split(b"|", 2)[1].decode("ascii", "replace") if b"|" in payload else ""
    return next((kind for kind, name in FLOW_OF.items() if name == flow), None)


def _authorisation(header: Header, record: Record) -> dict[str, Value]:
    kept = ("ecvnaa_id", "ecvn_ecvnaa_id", "reference", "effective_from", "effective_to")
    values = {name: record.values[name] for name in kept if name in record.values}
    return {"ecvna_id": header.from_party, **values}


def _meters(record: Record) -> Iterable[tuple[UnitId, int, tuple[Record, ...]]]:
    for group in record.below("MSB"):
        for one in group.below("MSC"):
            unit = UnitId(str(one.values["bm_unit_id"]))
            for pair in one.below("MSJ"):
                yield unit, cast(int, pair.values["import_msid"]), pair.below("MSP")
                for asset in pair.below("ASJ"):
                    yield unit, cast(int, asset.values["import_amsid"]), asset.below("ASP")


def _day(record: Record, item: str) -> date:
    return cast(date, record.values[item])


def _half_hour(record: Record, day: date) -> HalfHour:
    return HalfHour.from_settlement(day, cast(int, record.values["settlement_period"]))
