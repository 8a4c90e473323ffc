"""The five honesty tests of a submitted baseline, on what the ledger holds.

What was expected, planned and sent comes from its entries, what was metered from its readings.
A test that has too little to judge by says so; it never passes for want of data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from gridflex.halfhour import HalfHour
from gridflex.ledger.event import EventType
from gridflex.lifecycle import CAP_CHANGED
from gridflex.market.baselines.commitments import Committed, is_commitment, read_commitment
from gridflex.market.baselines.submitted import (
    CapChange,
    Commitment,
    Finding,
    HonestyLimits,
    Outcome,
    Verdict,
    explained,
    no_raised_caps,
    plausible,
    same_errors,
    unchanged,
)
from gridflex.market.messages.artefacts import ExpectedVolumes
from gridflex.market.messages.drafts import read_draft
from gridflex.market.registration import VALID_CONNECTION
from gridflex.market.registry import UnitId
from gridflex.market.volumes import ExportMWh, ImportMWh, Rounding
from gridflex.market.working_days import gate_closure


@dataclass(frozen=True, slots=True)
class Facts:
    """What the tests judge.

    Args:
        unit: Which unit.
        entries: Of the ledger, with their index: its baselines and expected volumes.
        metered: Net import of the unit, per half-hour.
        connection_mw: Agreed import capacity of its sites; None where one has no usable figure.
        history: Net import in half-hours before.
        cap_changes: Changes of power caps; None where nobody logged them.
    """

    unit: UnitId
    entries: Sequence[tuple[int, Mapping[str, Any]]]
    metered: Mapping[HalfHour, ImportMWh]
    connection_mw: Decimal | None
    history: Sequence[ImportMWh]
    cap_changes: Sequence[CapChange] | None


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of a window can be judged.

    Args:
        window_half_hours: All there are in it.
        without_reading: Those in which no meter said anything, past or to come.
        without_commitment: Those with a reading in which nobody said what was expected.
    """

    window_half_hours: int
    without_reading: int
    without_commitment: int

    @property
    def is_whole(self) -> bool:
        """Whether every half-hour of it can be judged."""
        return not self.without_reading and not self.without_commitment


def honesty(facts: Facts, *, limits: HonestyLimits, rounding: Rounding) -> list[Finding]:
    """Return what the five tests find, in their order."""
    made = dict(_committed(facts))
    happened = outcomes(facts)
    commitments = list(_commitments(facts.unit, made))
    sent = dict(_sent(facts))
    activations = [at.start for at, (_, _, one) in made.items() if one.is_traded]
    return [
        same_errors(happened, limits=limits),
        _worst(
            "unchanged",
            (
                unchanged(
                    [one for one in commitments if one.half_hour == at],
                    sent=volume,
                    sent_at=moment,
                    rounding=rounding,
                )
                for at, (volume, moment) in sent.items()
            ),
        ),
        _plausible(facts, commitments, limits),
        _caps(facts, activations, limits),
        explained(happened, limits=limits),
    ]


def outcomes(facts: Facts) -> list[Outcome]:
    """Return every half-hour with a commitment and a reading, sold or not."""
    return [
        Outcome(
            half_hour=at,
            expected=one.expected,
            metered=facts.metered[at],
            explained=one.expected - one.planned,
            is_activated=one.is_traded,
        )
        for at, (_, _, one) in _committed(facts)
        if at in facts.metered
    ]


def coverage(facts: Facts, *, first: HalfHour, last: HalfHour) -> Coverage:
    """Return of how many half-hours from ``first`` to ``last`` something can be said."""
    half_hours = first.until(last) + 1
    read = {at for at in facts.metered if first <= at <= last}
    committed = {at for at, _ in _committed(facts)}
    return Coverage(half_hours, half_hours - len(read), len(read - committed))


def _worst(test: str, findings: Iterable[Finding]) -> Finding:
    """Return the first failure, or how many half-hours passed."""
    found = list(findings)
    failed = [one for one in found if one.verdict is Verdict.FAILED]
    if failed:
        detail = f"{len(failed)} of {len(found)} half-hours: {failed[0].detail}"
        return Finding(test, Verdict.FAILED, detail)
    if not found:
        return Finding(test, Verdict.INCONCLUSIVE, "no half-hour to judge by")
    return Finding(test, Verdict.PASSED, f"{len(found)} half-hours: {found[-1].detail}")


def _plausible(facts: Facts, made: Iterable[Commitment], limits: HonestyLimits) -> Finding:
    connection_mw = facts.connection_mw
    if connection_mw is None:
        detail = f"a site's connection_mw is not valid; valid is {VALID_CONNECTION}"
        return Finding("plausible", Verdict.INCONCLUSIVE, detail)
    return _worst(
        "plausible",
        (
            plausible(one, connection_mw=connection_mw, history=facts.history, limits=limits)
            for one in made
        ),
    )


def _caps(facts: Facts, activations: Sequence[datetime], limits: HonestyLimits) -> Finding:
    changes = facts.cap_changes
    if changes is None:
        return Finding("no raised caps", Verdict.INCONCLUSIVE, "no log of power caps was given")
    return _worst(
        "no raised caps",
        (no_raised_caps(changes, activation=at, limits=limits) for at in activations),
    )


def cap_changes_of(entries: Iterable[Mapping[str, Any]]) -> list[CapChange] | None:
    """Return the changes of power caps among what happened to jobs; None if nothing is logged."""
    logged = [one for one in entries if one["event_type"] == EventType.JOB_CHANGED]
    if not logged:
        return None
    return [
        CapChange(
            at=datetime.fromisoformat(one["body"]["at"]),
            job=one["subject"].removeprefix("job:"),
            from_kw=float(one["body"]["detail"]["from_kw"]),
            to_kw=float(one["body"]["detail"]["to_kw"]),
        )
        for one in logged
        if one["body"]["kind"] == CAP_CHANGED
    ]


def _committed(facts: Facts) -> Iterable[tuple[HalfHour, tuple[int, datetime, Committed]]]:
    for index, entry in facts.entries:
        if is_commitment(entry):
            recorded = datetime.fromisoformat(entry["recorded_time"])
            committed = read_commitment(entry["body"])
            yield HalfHour.parse(entry["valid_time"]), (index, recorded, committed)


def _commitments(
    unit: UnitId, made: Mapping[HalfHour, tuple[int, datetime, Committed]]
) -> Iterable[Commitment]:
    for at, (index, recorded, one) in made.items():
        if recorded < gate_closure(at):
            yield Commitment(
                unit=unit,
                half_hour=at,
                expected=one.expected,
                committed_at=recorded,
                ledger_index=index,
                line_loss_factor=one.line_loss_factor,
            )


def _sent(facts: Facts) -> Iterable[tuple[HalfHour, tuple[ExportMWh, datetime]]]:
    for _, entry in facts.entries:
        if entry["event_type"] != EventType.SEV_SUBMITTED:
            continue
        artefact, _ = read_draft(entry["body"])
        if isinstance(artefact, ExpectedVolumes):
            moment = datetime.fromisoformat(entry["recorded_time"])
            for at, volume in artefact.volumes.get(facts.unit, {}).items():
                yield at, (volume, moment)
