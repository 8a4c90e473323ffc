"""What a traded half-hour is settled by, worked by hand from what was committed and read.

10 MWh were committed for the half-hour; 7 are metered.
"""

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from gridflex.adapters.market.position_book import TrackedPosition
from gridflex.agents.energy.settlement_rules import Rules, account_period
from gridflex.agents.energy.traded_sites import TradedSite
from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.baselines.commitments import Committed
from gridflex.market.messages.artefacts import ArtefactKind
from gridflex.market.meters import Evidence, Reading
from gridflex.market.settlement.account import AccountPeriod, settle
from gridflex.market.settlement.compensation import MutualisedP511, ReferencePrice
from gridflex.market.settlement.losses import Losses, LossFactors
from gridflex.market.settlement.records import replay, settlement_event
from gridflex.market.trading.position import Status, Track
from gridflex.market.trading.restoring import opened_by
from gridflex.market.volumes import ExportMWh, ImportMWh
from tests.unit.market.test_desk import EARLY, PAIR, SIX, UNIT

SITE = TradedSite("GRIDFLEX", UNIT, PAIR, "C", "SUPPLY", "AUTH000001")
READ = Reading(
    PAIR.import_msid, SIX, Decimal(7000), Decimal(0), Evidence.SETTLEMENT,
    is_substituted=False, received_at=SIX.end,
)  # fmt: skip
RULES = Rules(MutualisedP511(), ReferencePrice(Decimal(90), is_official=False))


def period(reading: Reading = READ, rules: Rules = RULES, factor: str = "1") -> AccountPeriod:
    committed = Committed(
        ImportMWh(Decimal("10.0000")),
        ImportMWh(Decimal("7.0000")),
        Decimal(1),
        line_loss_factor=Decimal(factor),
    )
    position = opened_by(committed, UNIT, SIX)
    tracks = dict.fromkeys(ArtefactKind, Track(status=Status.ACCEPTED, stands=True))
    tracked = TrackedPosition(
        replace(position, tracks=tracks), committed.expected, committed.submitted, None, reading
    )
    return account_period(SITE, tracked, reading, system_gbp_per_mwh=Decimal(200), rules=rules)


def test_a_substituted_reading_stays_marked() -> None:
    (unit,) = settle(period(replace(READ, is_substituted=True))).units

    assert unit.notes == (f"meter {PAIR.import_msid}: reading was substituted",)
    assert settle(period()).units[0].notes == ()


def test_losses_scale_the_meter_and_what_was_committed_for_it() -> None:
    losses = Losses([(SIX, LossFactors(Decimal("1.02"), Decimal("1.01")))])

    made = period(rules=replace(RULES, losses=losses), factor="1.02")

    (unit,) = settle(made).units
    assert unit.expected == ExportMWh(Decimal("-10.2"))
    assert unit.metered == ExportMWh(Decimal("-7.14"))
    assert unit.credited_mwh == Decimal("3.06") * Decimal("1.01")
    assert settle(made).net_gbp == unit.credited_mwh * 200


def test_the_inputs_carry_losses_and_threshold_so_that_a_second_run_gives_the_same_bytes() -> None:
    rules = replace(
        RULES,
        policy=MutualisedP511(ExportMWh(Decimal("0.5"))),
        losses=Losses([(SIX, LossFactors(Decimal("1.02"), Decimal("1.01")))]),
        largest_export=ExportMWh(Decimal("0.4")),
    )
    event = settlement_event(period(rules=rules))

    (again,) = replay([json.loads(event.entry(recorded_at=EARLY))])

    assert again.is_same
    (inputs,) = event.body["inputs"]["periods"]
    (unit,) = inputs["units"]
    (pair,) = unit["pairs"]
    assert (unit["transmission_multiplier"], pair["line_loss_factor"]) == ("1.01", "1.02")
    assert (inputs["policy"]["threshold"], pair["largest_export"]) == (
        {"mwh": "0.5"},
        {"mwh": "0.4"},
    )


@pytest.mark.parametrize(
    ("largest", "read_kwh", "counts"),
    [
        pytest.param("0", 0, "0", id="no export"),
        pytest.param("0.4", 0, "0.4", id="known of the meter"),
        pytest.param("0.4", 600, "0.6", id="the reading says more"),
    ],
)
def test_the_largest_export_that_is_known_counts(largest: str, read_kwh: int, counts: str) -> None:
    made = period(
        replace(READ, export_kwh=Decimal(read_kwh)),
        replace(RULES, largest_export=ExportMWh(Decimal(largest))),
    )

    assert made.units[0].pairs[0].largest_export == ExportMWh(Decimal(counts))


def test_an_exporting_meter_is_settled_once_the_threshold_is_given() -> None:
    exported = replace(READ, export_kwh=Decimal(100))
    with pytest.raises(ContractError, match="threshold is not set"):
        settle(period(exported))

    known: dict[str, Any] = {"policy": MutualisedP511(ExportMWh(Decimal("0.2")))}

    assert settle(period(exported, replace(RULES, **known))).net_gbp == Decimal("3.1") * 200


def test_a_half_hour_whose_losses_are_not_known_is_not_settled() -> None:
    later = Losses([(HalfHour(SIX.start) + 1, LossFactors())])

    with pytest.raises(ContractError, match="losses: nothing is in force"):
        period(rules=replace(RULES, losses=later))
