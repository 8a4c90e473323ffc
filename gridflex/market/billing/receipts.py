"""Receipts: what one job was promised, what became of it, and what that was worth.

A receipt is an entry of the ledger with the totals, and details beside it whose digest the entry
holds: every half-hour, and the entries it rests on. Whoever has it can check it offline
(`gridflex.ledger.verify`). Every figure says its unit and whether it was measured, modelled or
assumed. What a job used is metered at the cluster; what it would have used, had it run at once,
is always modelled. Location-based emissions, the change at average intensity and the change at
marginal intensity answer different questions and are never added up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.ledger.canonical import canonical_json, digest
from gridflex.ledger.event import Event, EventType
from gridflex.ledger.verify.receipts import DELIVERED, RECEIPT_SCHEMA, totals
from gridflex.lifecycle import Job
from gridflex.report import pauses


class Basis(StrEnum):
    """What a figure rests on, strongest first."""

    MEASURED = "measured"
    MODELLED = "modelled"
    ASSUMED = "assumed"


FLOAT_PLACES: Final = 6
"""Decimals of what was computed with floats: 1 mWh, far below any meter."""

OPTIONAL: Final = frozenset(
    {"delivered_cost_gbp", "run_now_delivered_cost_gbp", "delivered_saved_gbp"}
)
"""Figures that only a receipt of a site with a tariff has; a tariff is a model of a bill."""

_WEAKEST: Final = (Basis.ASSUMED, Basis.MODELLED, Basis.MEASURED)


@dataclass(frozen=True, slots=True)
class Evidence:
    """One entry of the ledger that a receipt rests on.

    Args:
        index: Its place.
        leaf_sha256: Its leaf hash, in hexadecimal.
    """

    index: int
    leaf_sha256: str


@dataclass(frozen=True, slots=True)
class HalfHourUse:
    """One half-hour of a job, as it ran and as it would have run at once.

    Args:
        half_hour: When.
        used_kwh: As metered; 0 where it only would have run.
        run_now_kwh: Had it started when it was submitted, or when enough GPUs were free.
        price_gbp_per_mwh: Wholesale price.
        average_gco2_per_kwh: Average carbon intensity where it ran.
        marginal_gco2_per_kwh: Marginal carbon intensity; None where nobody publishes it.
        delivered_gbp_per_mwh: What energy costs at the meter, networks and levies included; None
            where the site has no tariff.
    """

    half_hour: HalfHour
    used_kwh: float
    run_now_kwh: float
    price_gbp_per_mwh: float
    average_gco2_per_kwh: float
    marginal_gco2_per_kwh: float | None = None
    delivered_gbp_per_mwh: float | None = None

    def row(self) -> dict[str, Any]:
        """Return it as a row of the details, numbers as text."""
        marginal, delivered = self.marginal_gco2_per_kwh, self.delivered_gbp_per_mwh
        return {
            "start": str(self.half_hour),
            "used_kwh": exact(self.used_kwh),
            "run_now_kwh": exact(self.run_now_kwh),
            "price_gbp_per_mwh": exact(self.price_gbp_per_mwh),
            "average_gco2_per_kwh": exact(self.average_gco2_per_kwh),
            "marginal_gco2_per_kwh": None if marginal is None else exact(marginal),
            **({} if delivered is None else {DELIVERED: exact(delivered)}),
        }


@dataclass(frozen=True, slots=True)
class JobRecord:
    """All that a receipt is made from.

    Args:
        job: With its attempts; it has ended.
        half_hours: In which it ran or would have run, in order.
        redone: Run time spent again or on starting again, beyond one unbroken run.
        energy: What its energy rests on.
        grid: What prices and intensities rest on.
        grid_origin: Where they come from: live, recorded or simulated.
        evidence: Plans and readings in the ledger.
        unbroken: What the length of one unbroken run rests on.
    """

    job: Job
    half_hours: tuple[HalfHourUse, ...]
    redone: timedelta
    energy: Basis
    grid: Basis
    grid_origin: str
    evidence: tuple[Evidence, ...] = ()
    unbroken: Basis = Basis.MODELLED


@dataclass(frozen=True, slots=True)
class DraftReceipt:
    """A receipt before it is in the ledger.

    Args:
        event: To be appended.
        details: To be kept beside it.
    """

    event: Event
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class IssuedReceipt:
    """A receipt that is in the ledger, under a checkpoint that covers it.

    Args:
        index: Of its entry.
        entry: What the entry says.
        details: Half-hours and evidence.
        inclusion: Proof that the entry is under the checkpoint.
        checkpoint: As signed.
    """

    index: int
    entry: Mapping[str, Any]
    details: Mapping[str, Any]
    inclusion: Sequence[str]
    checkpoint: str

    def as_json(self) -> dict[str, Any]:
        """Return the receipt as it is handed out and verified."""
        return {
            "schema": RECEIPT_SCHEMA,
            "index": self.index,
            "entry": dict(self.entry),
            "details": dict(self.details),
            "inclusion": list(self.inclusion),
            "checkpoint": self.checkpoint,
        }


def draft_receipt(record: JobRecord) -> DraftReceipt:
    """Return the receipt of a job that ended; the same record gives the same receipt.

    What it earned is not settled yet; see `gridflex.market.billing.earnings`.

    Raises:
        ContractError: The job has not ended.
    """
    job = record.job
    if job.ended_at is None:
        raise ContractError(f"job {job.id} has not ended; it is {job.state}")
    details = {
        "half_hours": [one.row() for one in record.half_hours],
        "evidence": [{"index": e.index, "leaf_sha256": e.leaf_sha256} for e in record.evidence],
    }
    body = {
        "job": str(job.id),
        "promised": _promised(job),
        "done": _done(job, job.ended_at),
        "work_lost": {
            "redone_s": exact(record.redone.total_seconds()),
            "redone_gpu_hours": exact(record.redone / timedelta(hours=1) * job.flexibility.gpus),
            "basis": record.unbroken.value,
        },
        "figures": _figures(record, details["half_hours"]),
        "grid_origin": record.grid_origin,
        "details_sha256": digest(canonical_json(details)),
    }
    event = Event(
        id=f"receipt:{job.id}:{digest(canonical_json(body))[:16]}",
        event_type=EventType.RECEIPT_ISSUED,
        body=body,
        subject=f"job:{job.id}",
        site=next((attempt.site for attempt in job.attempts), None),
    )
    return DraftReceipt(event, details)


def weakest(bases: Iterable[Basis]) -> Basis:
    """Return what a sum rests on: the weakest of its parts; measured for none."""
    found = set(bases)
    return next((one for one in _WEAKEST if one in found), Basis.MEASURED)


def exact(number: float | Decimal) -> str:
    """Return a number as plain decimal text; a float to the sixth decimal, a `Decimal` as it is."""
    whole = number if isinstance(number, Decimal) else Decimal(str(round(number, FLOAT_PLACES)))
    return format(whole + 0, "f")


def _promised(job: Job) -> dict[str, Any]:
    asked = job.flexibility
    cap = asked.carbon_cap_gco2_per_kwh
    return {
        "submitted_at": _instant(job.submitted_at),
        "tier": asked.tier.value,
        "deadline": _instant(asked.deadline),
        "duration_s": exact(asked.duration.total_seconds()),
        "duration_is_declared": asked.duration_is_declared,
        "interruptible": asked.interruptible,
        "gpus": asked.gpus,
        "sites": list(asked.sites),
        "carbon_cap_gco2_per_kwh": None if cap is None else exact(cap),
        "premium_gbp_per_kwh": exact(asked.premium_gbp_per_kwh),
        "team": asked.team,
        "project": asked.project,
    }


def _done(job: Job, ended_at: datetime) -> dict[str, Any]:
    return {
        "state": job.state.value,
        "ended_at": _instant(ended_at),
        "was_late": ended_at > job.flexibility.deadline,
        "run_time_s": exact(job.run_time(ended_at).total_seconds()),
        "pauses": pauses(job),
        "attempts": [
            {
                "number": one.number,
                "site": one.site,
                "started_at": _instant(one.started_at) if one.started_at else None,
                "ended_at": _instant(one.ended_at) if one.ended_at else None,
                "outcome": one.outcome.value if one.outcome else None,
            }
            for one in job.attempts
        ],
    }


def _figures(record: JobRecord, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    ran = weakest((record.energy, record.grid))
    compared = weakest((ran, Basis.MODELLED))
    marginal = weakest((compared, Basis.MODELLED))
    said: dict[str, tuple[str, Basis]] = {
        "used_kwh": ("kWh", record.energy),
        "run_now_kwh": ("kWh", weakest((Basis.MODELLED, record.energy))),
        "energy_change_kwh": ("kWh", weakest((Basis.MODELLED, record.energy))),
        "location_based_gco2": ("gCO2", ran),
        "average_change_gco2": ("gCO2", compared),
        "marginal_change_gco2": ("gCO2", marginal),
        "cost_gbp": ("GBP", ran),
        "run_now_cost_gbp": ("GBP", compared),
        "saved_gbp": ("GBP", compared),
        "delivered_cost_gbp": ("GBP", compared),
        "run_now_delivered_cost_gbp": ("GBP", compared),
        "delivered_saved_gbp": ("GBP", compared),
    }
    figures: dict[str, Any] = {
        name: None if value is None else _figure(value, *said[name])
        for name, value in totals(rows).items()
        if value is not None or name not in OPTIONAL
    }
    return figures | {"earned_gbp": None}


def _figure(value: Decimal, unit: str, basis: Basis) -> dict[str, Any]:
    return {"value": exact(value), "unit": unit, "basis": basis.value}


def _instant(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
