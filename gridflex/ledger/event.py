"""What the ledger holds: events, each one entry of canonical JSON.

An event says what happened (``event_type``), about what (``subject``, ``site``, ``half_hour``)
and all that was known (``body``). It carries two times: the one it is about and the one at which
it was recorded. Amounts are text with their unit in the field's name. A correction is a new event
that refers to the old one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.ledger.verify.entries import (
    ENTRY_MAX_BYTES,
    EVENT_SCHEMA,
    canonical_json,
    check_fields,
)
from gridflex.ledger.verify.reading import VerificationError

Entry = Mapping[str, Any]
"""An entry of the ledger, as `gridflex.ledger.verify.entries.parse_entry` returns it."""


class EventType(StrEnum):
    """All that is recorded."""

    ACK_RECEIVED = "ack.received"
    BASELINE_COMPUTED = "baseline.computed"
    CONFIG_CHANGED = "config.changed"
    CONSENT_RECORDED = "consent.recorded"
    CONTRACT_MESSAGE = "contract.message"
    CORRECTION = "correction"
    DVN_SUBMITTED = "dv.notified"
    ECVN_SUBMITTED = "ecvn.submitted"
    ENERGY_RELEASED = "energy.released"
    ENERGY_RESERVED = "energy.reserved"
    INVOICE_ISSUED = "invoice.issued"
    JOB_CHANGED = "job.changed"
    KEY_ROTATED = "key.rotated"
    METER_RECEIVED = "meter.received"
    OVERRIDE_MADE = "override.made"
    PLAN_COMMITTED = "plan.committed"
    RECEIPT_ISSUED = "receipt.issued"
    REPORT_RECEIVED = "report.received"
    SETTLEMENT_RUN = "settlement.run"
    SEV_SUBMITTED = "sev.submitted"
    SITE_REGISTERED = "site.registered"
    WMAN_SUBMITTED = "wman.submitted"


@dataclass(frozen=True, slots=True)
class Event:
    """Something to record.

    Args:
        id: Unique; appending the same event twice under one id records it once.
        event_type: What happened.
        body: All about it that is public to the ledger's readers: JSON without fractions.
        subject: What it is about, such as ``job:train-7`` or ``unit:V__AEXMP001``.
        site: Where, if anywhere.
        half_hour: The half-hour it is about, if one.
        tenant: Whose ledger line it is.
        payload_sha256: Digest of what is kept elsewhere, with at least 128 bits of salt.
        prev_ref: Index of the earlier entry that this one corrects or answers.
        stem: Start of its id that every version of the same thing has; of versions the later
            entry counts, so that one which comes back after another is a new entry. None for
            what happens once. Not part of the entry.
    """

    id: str
    event_type: EventType
    body: Mapping[str, Any]
    subject: str | None = None
    site: str | None = None
    half_hour: HalfHour | None = None
    tenant: str = "gridflex"
    payload_sha256: str | None = None
    prev_ref: int | None = None
    stem: str | None = None

    def entry(self, *, recorded_at: datetime) -> bytes:
        """Return the bytes of this event as recorded at an aware instant.

        Raises:
            ContractError: It is too long, has an empty id or tenant, or holds a fraction.
        """
        if not self.id or not self.tenant:
            raise ContractError(
                f"an event has an id and a tenant, got {self.id!r}, {self.tenant!r}"
            )
        fields = {
            "schema": EVENT_SCHEMA,
            "id": self.id,
            "event_type": self.event_type.value,
            "tenant": self.tenant,
            "site": self.site,
            "subject": self.subject,
            "sp": _settlement_period(self.half_hour),
            "valid_time": instant(self.half_hour.start) if self.half_hour else None,
            "recorded_time": instant(recorded_at),
            "payload_sha256": self.payload_sha256,
            "prev_ref": self.prev_ref,
            "body": dict(self.body),
        }
        try:
            entry = canonical_json(fields)
            check_fields(fields)
        except VerificationError as error:
            raise ContractError(f"event {self.id}: {error}") from error
        if len(entry) > ENTRY_MAX_BYTES:
            raise ContractError(
                f"event {self.id} has {len(entry)} bytes; at most {ENTRY_MAX_BYTES} are valid, "
                "keep its payload elsewhere and record its digest"
            )
        return entry


def instant(moment: datetime) -> str:
    """Return an aware instant as entries write it: UTC, to the microsecond.

    Raises:
        ContractError: ``moment`` is naive.
    """
    if moment.utcoffset() is None:
        raise ContractError(f"an instant needs a time zone, got {moment!r}")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _settlement_period(half_hour: HalfHour | None) -> str | None:
    if half_hour is None:
        return None
    day, period = half_hour.settlement
    return f"{day}/{period}"
