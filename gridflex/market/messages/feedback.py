"""What central systems say about our messages, read from their files.

Acceptance of an expected volume names the unit and nothing else; an activity notice has no
acceptance at all, only a rejection; a receipt is neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final, cast

from gridflex.halfhour import HalfHour
from gridflex.market.messages.artefacts import ArtefactKind
from gridflex.market.messages.flows import FLOWS
from gridflex.market.messages.idd import Record, read, read_header
from gridflex.market.messages.idd_items import FileError, Response
from gridflex.market.registry import Msid, UnitId


@dataclass(frozen=True, slots=True)
class Feedback:
    """One statement about one message of ours.

    Args:
        kind: What the message was.
        is_accepted: Accepted or rejected.
        reason: Why it was rejected, or a warning.
        half_hours: Which half-hours it is about; empty for all of the message.
        unit: Which unit, where it says so.
        meter: Which import meter, where it says so.
        reference: Reference of a contract notice.
        day: Settlement day, where it says so.
    """

    kind: ArtefactKind
    is_accepted: bool
    reason: str = ""
    half_hours: tuple[HalfHour, ...] = ()
    unit: UnitId | None = None
    meter: Msid | None = None
    reference: str | None = None
    day: date | None = None


def read_feedback(payload: bytes) -> tuple[Feedback, ...]:
    """Return what a feedback file says.

    Raises:
        FileError: The file breaks the format or is of another flow.
    """
    flow = read_header(payload).file_type
    if flow not in _READERS:
        known = ", ".join(sorted(_READERS))
        raise FileError(f"{flow} is not feedback; known are {known}", Response.FILE_TYPE)
    _, records = read(payload, layouts=FLOWS[flow])
    return tuple(item for record in records for item in _READERS[flow](record))


def _contract_accepted(record: Record) -> list[Feedback]:
    return [
        Feedback(
            ArtefactKind.ECVN,
            is_accepted=True,
            half_hours=_contract_half_hours(record, "CD9"),
            reference=_text(record, "reference"),
            day=_day(record, "effective_from"),
        )
    ]


def _contract_rejected(record: Record) -> list[Feedback]:
    return [
        Feedback(
            ArtefactKind.ECVN,
            is_accepted=False,
            reason=_text(record, "rejection_reason"),
            half_hours=_contract_half_hours(record, "CD2"),
            reference=_text(record, "reference"),
            day=_day(record, "effective_from"),
        )
    ]


def _activity_rejected(record: Record) -> list[Feedback]:
    """Read a rejection of the whole half-hour, or of the units named below it."""
    at = _half_hour(record, _day(record, "settlement_date"))
    units = record.below("WMJ")
    if not units:
        reason = _text(record, "rejection_reason") if "rejection_reason" in record.values else ""
        return [Feedback(ArtefactKind.WMAN, is_accepted=False, reason=reason, half_hours=(at,))]
    return [
        Feedback(
            ArtefactKind.WMAN,
            is_accepted=False,
            reason=_text(unit, "rejection_reason"),
            half_hours=(at,),
            unit=UnitId(_text(unit, "bm_unit_id")),
        )
        for unit in units
    ]


def _expected_accepted(record: Record) -> list[Feedback]:
    unit = UnitId(_text(record, "bm_unit_id"))
    return [Feedback(ArtefactKind.SEV, is_accepted=True, unit=unit)]


def _expected_rejected(record: Record) -> list[Feedback]:
    day = cast(date | None, record.values.get("effective_from"))
    return [
        Feedback(
            ArtefactKind.SEV,
            is_accepted=False,
            reason=_text(record, "rejection_reason"),
            half_hours=_maybe_half_hour(record, day),
            unit=_maybe_unit(record),
            day=day,
        )
    ]


def _expected_warned(record: Record) -> list[Feedback]:
    day = _day(record, "settlement_date")
    return [
        Feedback(
            ArtefactKind.SEV,
            is_accepted=True,
            reason=_text(warning, "warning_reason"),
            half_hours=(_half_hour(warning, day),),
            unit=_maybe_unit(record),
            day=day,
        )
        for warning in record.below("BSW")
    ]


def _delivered_confirmed(record: Record) -> list[Feedback]:
    day = _day(record, "settlement_date")
    return [Feedback(ArtefactKind.DVN, is_accepted=True, day=day)]


def _delivered_rejected(record: Record) -> list[Feedback]:
    day = cast(date | None, record.values.get("settlement_date"))
    meter = record.values.get("import_amsid", record.values.get("import_msid"))
    return [
        Feedback(
            ArtefactKind.DVN,
            is_accepted=False,
            reason=_text(record, "rejection_reason"),
            half_hours=_maybe_half_hour(record, day),
            unit=_maybe_unit(record),
            meter=None if meter is None else Msid(f"{meter:013d}"),
            day=day,
        )
    ]


_READERS: Final = {
    "E0281001": _contract_accepted,
    "E0091001": _contract_rejected,
    "E0521001": _activity_rejected,
    "P0330001": _expected_accepted,
    "P0329001": _expected_rejected,
    "P0331001": _expected_warned,
    "P0284001": _delivered_confirmed,
    "P0283002": _delivered_rejected,
}


def contract_volumes(record: Record, *, tag: str, day: date) -> dict[HalfHour, Decimal]:
    """Return the MWh per half-hour below a contract record."""
    return {
        _half_hour(period, day): cast(Decimal, period.values["contract_volume"])
        for period in record.below(tag)
        if "contract_volume" in period.values
    }


def _contract_half_hours(record: Record, tag: str) -> tuple[HalfHour, ...]:
    day = _day(record, "effective_from")
    return tuple(_half_hour(period, day) for period in record.below(tag))


def _text(record: Record, item: str) -> str:
    return str(record.values[item])


def _day(record: Record, item: str) -> date:
    return cast(date, record.values[item])


def _half_hour(record: Record, day: date) -> HalfHour:
    return HalfHour.from_settlement(day, cast(int, record.values["settlement_period"]))


def _maybe_half_hour(record: Record, day: date | None) -> tuple[HalfHour, ...]:
    if day is None or "settlement_period" not in record.values:
        return ()
    return (_half_hour(record, day),)


def _maybe_unit(record: Record) -> UnitId | None:
    return UnitId(_text(record, "bm_unit_id")) if "bm_unit_id" in record.values else None
