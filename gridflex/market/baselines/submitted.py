"""The submitted baseline: what the plan without flexibility would have used, committed in time.

Whoever says himself what he would have used must show that he said it before gate closure and
said it honestly. A commitment is made once per unit and half-hour version, in the ledger, and
five tests compare commitments with what was metered and done.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from math import ceil
from statistics import fmean

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.baselines.commitments import submitted_volume
from gridflex.market.registry import UnitId
from gridflex.market.volumes import HOURS_PER_HALF_HOUR, ZERO, ExportMWh, ImportMWh, Rounding
from gridflex.market.working_days import gate_closure


@dataclass(frozen=True, slots=True)
class Commitment:
    """The expected import of a unit in one half-hour, without flexibility.

    Args:
        unit: Which unit.
        half_hour: When.
        expected: Import at the meter.
        committed_at: When; before gate closure.
        ledger_index: Position of the entry in the ledger.
        line_loss_factor: Scales the meter to the grid supply point, where volumes are submitted.

    Raises:
        ContractError: It was made at or after gate closure.
    """

    unit: UnitId
    half_hour: HalfHour
    expected: ImportMWh
    committed_at: datetime
    ledger_index: int
    line_loss_factor: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        closes = gate_closure(self.half_hour)
        if self.committed_at >= closes:
            raise ContractError(
                f"{self.unit} {self.half_hour}: gate closed at {closes:%Y-%m-%dT%H:%MZ}, a "
                f"commitment at {self.committed_at:%Y-%m-%dT%H:%M:%SZ} is refused"
            )

    def submitted(self, rounding: Rounding) -> ExportMWh:
        """Return the value as the expected-volume message carries it."""
        return submitted_volume(
            self.expected, line_loss_factor=self.line_loss_factor, rounding=rounding
        )


class Verdict(StrEnum):
    """Outcome of a test."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class Finding:
    """What one honesty test found.

    Args:
        test: Its name.
        verdict: Passed, failed, or too little to say.
        detail: What was compared with what, with units.
    """

    test: str
    verdict: Verdict
    detail: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """One half-hour after the fact.

    Args:
        half_hour: When.
        expected: As committed.
        metered: As settled.
        explained: Reduction that the logged actions should have made; zero without any.
        is_activated: Whether flexibility was used.
    """

    half_hour: HalfHour
    expected: ImportMWh
    metered: ImportMWh
    explained: ImportMWh
    is_activated: bool

    @property
    def reduction(self) -> ImportMWh:
        """What was used less than expected."""
        return self.expected - self.metered

    @property
    def error(self) -> ImportMWh:
        """Part of the reduction that no logged action explains."""
        return self.reduction - self.explained


@dataclass(frozen=True, slots=True)
class CapChange:
    """A change of a job's power cap.

    Args:
        at: When.
        job: Which job.
        from_kw: Before.
        to_kw: After.
    """

    at: datetime
    job: str
    from_kw: float
    to_kw: float


@dataclass(frozen=True, slots=True)
class HonestyLimits:
    """How strict the tests are.

    Args:
        significance: Least probability that both error samples are of one kind.
        sample: Fewest half-hours of each kind for a verdict.
        quantile: Share of history that a nominated value may reach.
        watch: How long before an activation caps may not rise.
        tolerance: Part of a reduction that may stay unexplained, 0 to 1.
    """

    significance: float = 0.01
    sample: int = 20
    quantile: Decimal = Decimal("0.99")
    watch: timedelta = timedelta(hours=3)
    tolerance: Decimal = Decimal("0.15")


def same_errors(outcomes: Sequence[Outcome], *, limits: HonestyLimits) -> Finding:
    """Test that activated half-hours are forecast no worse than the others.

    Two-sample Kolmogorov-Smirnov test on the absolute errors, the modelled effect of logged
    actions taken out. Neighbouring half-hours are alike, so the test errs towards suspicion.
    """
    name = "same errors"
    active, idle = (
        [abs(float(one.error.mwh)) for one in outcomes if one.is_activated is kind]
        for kind in (True, False)
    )
    if min(len(active), len(idle)) < limits.sample:
        detail = f"{len(active)} activated and {len(idle)} other half-hours, {limits.sample} needed"
        return Finding(name, Verdict.INCONCLUSIVE, detail)
    from scipy.stats import ks_2samp  # noqa: PLC0415 - slow to import, and every process would

    p = float(ks_2samp(active, idle).pvalue)
    verdict = Verdict.PASSED if p >= limits.significance else Verdict.FAILED
    detail = (
        f"mean absolute error {fmean(active):.4f} MWh activated, {fmean(idle):.4f} MWh otherwise, "
        f"p = {p:.4f} against {limits.significance}"
    )
    return Finding(name, verdict, detail)


def unchanged(
    commitments: Iterable[Commitment], *, sent: ExportMWh, sent_at: datetime, rounding: Rounding
) -> Finding:
    """Test that the value sent for one half-hour is the committed one and was never changed.

    Args:
        commitments: All that were made for the unit and half-hour.
        sent: As transmitted.
        sent_at: When.
        rounding: How volumes are rounded.
    """
    made = sorted(commitments, key=lambda one: (one.committed_at, one.ledger_index))
    before = [one for one in made if one.committed_at <= sent_at]
    if not before:
        return Finding("unchanged", Verdict.FAILED, "sent without a commitment")
    promised = before[-1].submitted(rounding)
    if promised != sent:
        detail = f"committed {promised.mwh} MWh, sent {sent.mwh} MWh (export positive)"
        return Finding("unchanged", Verdict.FAILED, detail)
    later = [one for one in made if one.committed_at > sent_at]
    if any(one.submitted(rounding) != sent for one in later):
        detail = f"{len(later)} commitments were made after {sent.mwh} MWh had been sent"
        return Finding("unchanged", Verdict.FAILED, detail)
    detail = f"{sent.mwh} MWh as committed, {len(before) - 1} earlier versions"
    return Finding("unchanged", Verdict.PASSED, detail)


def plausible(
    commitment: Commitment,
    *,
    connection_mw: Decimal,
    history: Sequence[ImportMWh],
    limits: HonestyLimits,
) -> Finding:
    """Test that the expected import exceeds neither the connection nor nearly all of history.

    Args:
        commitment: What is nominated.
        connection_mw: Agreed import capacity of the sites in the unit.
        history: Metered imports of the unit in comparable half-hours.
        limits: Which quantile of history is the bound.
    """
    bound = connection_mw * HOURS_PER_HALF_HOUR
    why = "connection"
    if history:
        ranked = sorted(one.mwh for one in history)
        usual = ranked[ceil(limits.quantile * len(ranked)) - 1]
        if usual < bound:
            bound, why = usual, f"{limits.quantile} quantile of {len(history)} half-hours"
    verdict = Verdict.PASSED if commitment.expected.mwh <= bound else Verdict.FAILED
    detail = f"{commitment.expected.mwh} MWh nominated, bound {bound} MWh ({why})"
    return Finding("plausible", verdict, detail)


def no_raised_caps(
    changes: Iterable[CapChange], *, activation: datetime, limits: HonestyLimits
) -> Finding:
    """Test that no job's power cap was raised shortly before an activation."""
    since = activation - limits.watch
    raised = [one for one in changes if since <= one.at < activation and one.to_kw > one.from_kw]
    if raised:
        jobs = ", ".join(f"{one.job} {one.from_kw:g} to {one.to_kw:g} kW" for one in raised)
        return Finding("no raised caps", Verdict.FAILED, f"raised before {activation}: {jobs}")
    return Finding("no raised caps", Verdict.PASSED, f"none within {limits.watch}")


def explained(outcomes: Sequence[Outcome], *, limits: HonestyLimits) -> Finding:
    """Test that logged actions explain the metered reduction of the activated half-hours."""
    active = [one for one in outcomes if one.is_activated]
    if not active:
        return Finding("explained", Verdict.INCONCLUSIVE, "no half-hour was activated")
    reduction = sum((one.reduction.mwh for one in active), ZERO)
    modelled = sum((one.explained.mwh for one in active), ZERO)
    allowed = limits.tolerance * max(abs(reduction), abs(modelled))
    verdict = Verdict.PASSED if abs(reduction - modelled) <= allowed else Verdict.FAILED
    detail = f"{reduction} MWh metered, {modelled} MWh explained, {allowed} MWh may differ"
    return Finding("explained", verdict, detail)
