"""The submitted baseline: committed in time, never changed, and honest."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.baselines.submitted import (
    CapChange,
    Commitment,
    HonestyLimits,
    Outcome,
    Verdict,
    explained,
    no_raised_caps,
    plausible,
    same_errors,
    unchanged,
)
from gridflex.market.registry import UnitId
from gridflex.market.volumes import ExportMWh, ImportMWh, Rounding

UNIT = UnitId("V__CGRID001")
SIX = HalfHour(datetime(2026, 7, 1, 17, tzinfo=UTC))
CLOSES = SIX.start - timedelta(hours=1)
LIMITS = HonestyLimits()


def mwh(value: str | float) -> ImportMWh:
    return ImportMWh(Decimal(str(value)))


def commitment(
    expected: str = "10", *, at: datetime = CLOSES - timedelta(minutes=5), index: int = 7
) -> Commitment:
    return Commitment(
        unit=UNIT,
        half_hour=SIX,
        expected=mwh(expected),
        committed_at=at,
        ledger_index=index,
    )


@pytest.mark.parametrize("late", [timedelta(0), timedelta(seconds=1), timedelta(hours=2)])
def test_a_commitment_at_or_after_gate_closure_is_refused(late: timedelta) -> None:
    with pytest.raises(ContractError, match="gate closed at 2026-07-01T16:00Z"):
        commitment(at=CLOSES + late)


def test_a_commitment_just_before_gate_closure_stands() -> None:
    made = commitment(at=CLOSES - timedelta(microseconds=1))

    assert made.submitted(Rounding()) == ExportMWh(Decimal("-10.0000"))


def outcomes(*, inflated_mwh: float, seed: int = 3) -> list[Outcome]:
    """Forty idle and forty activated half-hours; the latter nominated too high by a constant."""
    noise = np.random.default_rng(seed)
    made = []
    for n in range(80):
        active = n % 2 == 0
        need = 10 + float(noise.normal(0, 0.1))
        cut = 3.0 if active else 0.0
        nominated = 10 + (inflated_mwh if active else 0)
        made.append(
            Outcome(
                half_hour=SIX + n,
                expected=mwh(round(nominated, 4)),
                metered=mwh(round(need - cut, 4)),
                explained=mwh(cut),
                is_activated=active,
            )
        )
    return made


@pytest.mark.parametrize(
    ("inflated_mwh", "verdict"),
    [
        pytest.param(0.0, Verdict.PASSED, id="honest"),
        pytest.param(0.5, Verdict.FAILED, id="inflated by 5 %"),
    ],
)
def test_nominating_more_in_activated_half_hours_is_noticed(
    inflated_mwh: float, verdict: Verdict
) -> None:
    finding = same_errors(outcomes(inflated_mwh=inflated_mwh), limits=LIMITS)

    assert finding.verdict is verdict, finding.detail


def test_too_few_half_hours_give_no_verdict() -> None:
    finding = same_errors(outcomes(inflated_mwh=0.5)[:30], limits=LIMITS)

    assert finding.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("made", "sent", "verdict"),
    [
        pytest.param([commitment("10")], "-10", Verdict.PASSED, id="as committed"),
        pytest.param([commitment("10")], "-10.5", Verdict.FAILED, id="other value sent"),
        pytest.param([], "-10", Verdict.FAILED, id="nothing committed"),
        pytest.param(
            [commitment("9", at=CLOSES - timedelta(hours=2)), commitment("10")],
            "-10",
            Verdict.PASSED,
            id="revised before sending",
        ),
        pytest.param(
            [commitment("10"), commitment("11", at=CLOSES - timedelta(seconds=30))],
            "-10",
            Verdict.FAILED,
            id="revised after sending",
        ),
        pytest.param(
            [commitment("10"), commitment("10", at=CLOSES - timedelta(seconds=30))],
            "-10",
            Verdict.PASSED,
            id="repeated after sending",
        ),
    ],
)
def test_the_value_sent_is_the_committed_one(
    made: Sequence[Commitment], sent: str, verdict: Verdict
) -> None:
    finding = unchanged(
        made,
        sent=ExportMWh(Decimal(sent)),
        sent_at=CLOSES - timedelta(minutes=1),
        rounding=Rounding(),
    )

    assert finding.verdict is verdict, finding.detail


@pytest.mark.parametrize(
    ("expected", "connection_mw", "past", "verdict"),
    [
        pytest.param("4", "8", [], Verdict.PASSED, id="at the connection"),
        pytest.param("4.1", "8", [], Verdict.FAILED, id="above the connection"),
        pytest.param("3", "8", range(1, 101), Verdict.PASSED, id="within history"),
        pytest.param("99", "1000", range(1, 101), Verdict.PASSED, id="at the 99th of 100"),
        pytest.param("99.5", "1000", range(1, 101), Verdict.FAILED, id="above the 99th of 100"),
    ],
)
def test_a_nominated_value_stays_within_connection_and_history(
    expected: str, connection_mw: str, past: Sequence[int], verdict: Verdict
) -> None:
    finding = plausible(
        commitment(expected),
        connection_mw=Decimal(connection_mw),
        history=[mwh(value) for value in past],
        limits=LIMITS,
    )

    assert finding.verdict is verdict, finding.detail


@pytest.mark.parametrize(
    ("before", "to_kw", "verdict"),
    [
        pytest.param(timedelta(hours=1), 400.0, Verdict.FAILED, id="raised in the window"),
        pytest.param(timedelta(hours=1), 200.0, Verdict.PASSED, id="lowered in the window"),
        pytest.param(timedelta(hours=4), 400.0, Verdict.PASSED, id="raised long before"),
        pytest.param(timedelta(0), 400.0, Verdict.PASSED, id="raised at the activation itself"),
    ],
)
def test_raising_caps_before_an_activation_is_flagged(
    before: timedelta, to_kw: float, verdict: Verdict
) -> None:
    change = CapChange(SIX.start - before, "job-1", 300.0, to_kw)

    finding = no_raised_caps([change], activation=SIX.start, limits=LIMITS)

    assert finding.verdict is verdict, finding.detail


@pytest.mark.parametrize(
    ("metered", "verdict"),
    [
        pytest.param("7.2", Verdict.PASSED, id="2.8 metered, 3 explained"),
        pytest.param("6.0", Verdict.FAILED, id="4 metered, 3 explained"),
        pytest.param("9.0", Verdict.FAILED, id="1 metered, 3 explained"),
    ],
)
def test_actions_explain_the_reduction(metered: str, verdict: Verdict) -> None:
    one = Outcome(SIX, mwh("10"), mwh(metered), mwh("3"), is_activated=True)

    assert explained([one], limits=LIMITS).verdict is verdict
