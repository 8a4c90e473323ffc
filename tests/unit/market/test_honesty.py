"""The five honesty tests over what the ledger holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from gridflex.halfhour import HalfHour
from gridflex.ledger.event import Event
from gridflex.ledger.verify.entries import parse_entry
from gridflex.market.baselines.commitments import Committed, commitment_event
from gridflex.market.baselines.honesty import Facts, honesty
from gridflex.market.baselines.submitted import CapChange, HonestyLimits
from gridflex.market.messages.artefacts import ArtefactKind, Channel, ExpectedVolumes
from gridflex.market.registry import UnitId
from gridflex.market.trading.desk import TradingDesk
from gridflex.market.trading.records import artefact_event
from gridflex.market.trading.restoring import opened_by
from gridflex.market.volumes import ExportMWh, ImportMWh, Rounding
from tests.unit.market.days import CALENDAR
from tests.unit.market.test_desk import SIX, UNIT

EXPECTED, PLANNED = Decimal("2.0"), Decimal("1.5")
HALF_HOURS = [SIX + 2 * i for i in range(60)]


def mwh(value: Decimal | str) -> ImportMWh:
    return ImportMWh(Decimal(value))


def entry(event: Event, *, about: HalfHour, hours: float = 2) -> dict[str, Any]:
    return parse_entry(event.entry(recorded_at=about.start - timedelta(hours=hours)))


def committed(at: HalfHour, *, is_traded: bool, expected: Decimal = EXPECTED) -> dict[str, Any]:
    planned = PLANNED if is_traded else expected
    made = Committed(mwh(expected), mwh(planned), Decimal("0.8"), is_traded)
    return entry(commitment_event(made, UNIT, at), about=at)


def sent(at: HalfHour, volume: Decimal = EXPECTED) -> dict[str, Any]:
    channel = Channel("VP", "GRIDFLEX", "SV", "SVAA")
    committed = Committed(mwh(EXPECTED), mwh(PLANNED), Decimal(1))
    position = opened_by(committed, UnitId(UNIT), at)
    desk = TradingDesk([position], channels={ArtefactKind.SEV: channel}, keys={}, calendar=CALENDAR)
    artefact = ExpectedVolumes({UnitId(UNIT): {at: ExportMWh(-volume)}})
    early = at.start - timedelta(hours=2)
    return entry(artefact_event(desk.draft(artefact, now=early)), about=at, hours=1.5)


def facts(**changed: Any) -> Facts:  # noqa: ANN401
    """Sixty half-hours, every other one traded and delivered as planned."""
    traded = HALF_HOURS[::2]
    entries = [committed(at, is_traded=at in traded) for at in HALF_HOURS]
    entries += [sent(at) for at in traded]
    made = Facts(
        unit=UNIT,
        entries=list(enumerate(entries)),
        metered={at: mwh(PLANNED if at in traded else EXPECTED) for at in HALF_HOURS},
        connection_mw=Decimal(6),
        history=[mwh("2.1")] * 200,
        cap_changes=[],
    )
    return replace(made, **changed)


def verdicts(given: Facts) -> dict[str, str]:
    found = honesty(given, limits=HonestyLimits(), rounding=Rounding())
    return {one.test: one.verdict.value for one in found}


ALL_PASSED = dict.fromkeys(
    ("same errors", "unchanged", "plausible", "no raised caps", "explained"), "passed"
)


def test_an_honest_baseline_passes_all_five() -> None:
    assert verdicts(facts()) == ALL_PASSED


def test_a_baseline_inflated_where_something_is_sold_is_seen() -> None:
    less = PLANNED - Decimal("0.4")
    metered = {at: mwh(EXPECTED if i % 2 else less) for i, at in enumerate(HALF_HOURS)}

    found = verdicts(facts(metered=metered))

    assert (found["same errors"], found["explained"]) == ("failed", "failed")


def test_another_value_than_the_committed_one_is_seen() -> None:
    honest = facts()
    false = [*honest.entries, (999, sent(HALF_HOURS[0], Decimal("2.5")))]

    assert verdicts(replace(honest, entries=false)) == ALL_PASSED | {"unchanged": "failed"}


def test_more_than_history_is_seen() -> None:
    found = verdicts(facts(history=[mwh("1.9")] * 200))

    assert found == ALL_PASSED | {"plausible": "failed"}


def test_a_cap_raised_before_a_sale_is_seen() -> None:
    raised = CapChange(HALF_HOURS[4].start - timedelta(hours=1), "train-7", 4.0, 5.6)

    assert verdicts(facts(cap_changes=[raised])) == ALL_PASSED | {"no raised caps": "failed"}


def test_nothing_passes_for_want_of_data() -> None:
    nothing = facts(entries=[], metered={}, cap_changes=None)

    assert verdicts(nothing) == dict.fromkeys(ALL_PASSED, "inconclusive")


def test_without_a_log_of_caps_there_is_no_verdict_on_them() -> None:
    assert verdicts(facts(cap_changes=None))["no raised caps"] == "inconclusive"
