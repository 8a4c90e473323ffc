"""Claims, rebound and who earned what."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.baselines.submitted import Outcome
from gridflex.market.meters import Evidence, Reading
from gridflex.market.registry import Msid, MsidPair, UnitId
from gridflex.market.settlement.attribution import PORTFOLIO, Contribution, attribute
from gridflex.market.trading.delivery import PairOutturn, claim, rebound
from gridflex.market.volumes import ExportMWh, ImportMWh, Rounding

UNIT = UnitId("V__CGRID001")
SIX = HalfHour(datetime(2026, 7, 1, 17, tzinfo=UTC))
PAIR = MsidPair(Msid("1200012345679"))
READING = Reading(
    meter=PAIR.import_msid,
    half_hour=SIX,
    import_kwh=Decimal(7200),
    export_kwh=Decimal(0),
    evidence=Evidence.SETTLEMENT,
    is_substituted=False,
    received_at=datetime(2026, 7, 2, 9, tzinfo=UTC),
)


def mwh(value: str) -> ImportMWh:
    return ImportMWh(Decimal(value))


def outturn(expected: str, reading: Reading | None = READING) -> PairOutturn:
    return PairOutturn(PAIR, "C", mwh(expected), reading)


def claimed(*outturns: PairOutturn) -> list[Decimal]:
    result = claim(outturns, unit=UNIT, half_hour=SIX, rounding=Rounding())
    return [one.volumes[SIX].mwh for one in result.deliveries]


def test_expected_minus_metered_is_delivered() -> None:
    assert claimed(outturn("10")) == [Decimal("2.8000")]


def test_a_meter_that_used_more_is_netted_not_floored() -> None:
    assert claimed(outturn("10"), outturn("7")) == [Decimal("2.8000"), Decimal("-0.2000")]


@pytest.mark.parametrize(
    ("reading", "unclaimed", "reason"),
    [
        pytest.param(replace(READING, is_substituted=True), "2.8", "substituted", id="substituted"),
        pytest.param(
            replace(READING, evidence=Evidence.TELEMETRY), "2.8", "telemetry", id="telemetry"
        ),
        pytest.param(None, "0", "no reading", id="gap"),
    ],
)
def test_what_was_not_metered_for_settlement_is_not_claimed(
    reading: Reading | None, unclaimed: str, reason: str
) -> None:
    result = claim([outturn("10", reading)], unit=UNIT, half_hour=SIX, rounding=Rounding())

    assert result.deliveries == ()
    assert result.unclaimed == ExportMWh(Decimal(unclaimed))
    assert reason in result.reasons[0]


def test_a_reading_of_another_half_hour_is_refused() -> None:
    with pytest.raises(ContractError, match="claimed for"):
        claim([outturn("10")], unit=UNIT, half_hour=SIX + 1, rounding=Rounding())


def test_rebound_is_shown_beside_delivery() -> None:
    horizon = [
        Outcome(SIX, mwh("10"), mwh("7"), mwh("3"), is_activated=True),
        Outcome(SIX + 1, mwh("10"), mwh("11"), mwh("0"), is_activated=False),
        Outcome(SIX + 2, mwh("10"), mwh("11.4"), mwh("0"), is_activated=False),
    ]

    result = rebound(horizon)

    assert (result.delivered, result.rebound, result.saved) == (mwh("3"), mwh("2.4"), mwh("0.6"))
    assert result.rebound_fraction == Decimal("0.8")


def test_without_delivery_there_is_no_rebound_share() -> None:
    assert rebound([]).rebound_fraction is None


def contribution(
    job: str, reduction: str, *, team: str = "vision", contract: str | None = "C1", at: int = 0
) -> Contribution:
    return Contribution(SIX + at, job, team, contract, Decimal(reduction))


def test_net_revenue_goes_to_what_reduced_import() -> None:
    shares = attribute(
        {SIX: Decimal("378.00"), SIX + 1: Decimal("-10.00")},
        contributions=[
            contribution("a", "2"),
            contribution("b", "0.8", team="language", contract=None),
            contribution("c", "-0.1"),
            contribution("a", "1", at=7),
        ],
        rounding=Rounding(),
    )

    assert shares.total_gbp == Decimal("368.00")
    assert shares.by_job == {
        "a": Decimal("270.00"),
        "b": Decimal("108.00"),
        PORTFOLIO: Decimal("-10.00"),
    }
    assert shares.by_team["language"] == Decimal("108.00")
    assert shares.by_contract == {"C1": Decimal("270.00"), PORTFOLIO: Decimal("98.00")}
    assert shares.negative_mwh == {"c": Decimal("0.1")}


NETS = st.dictionaries(
    st.sampled_from([SIX + n for n in range(4)]), st.decimals(-1000, 1000, places=5), max_size=4
)
CONTRIBUTIONS = st.lists(
    st.builds(
        Contribution,
        half_hour=st.sampled_from([SIX + n for n in range(4)]),
        job=st.sampled_from("abcd"),
        team=st.sampled_from(["x", "y"]),
        contract=st.sampled_from([None, "C1", "C2"]),
        reduction_mwh=st.decimals(-3, 3, places=4),
    ),
    max_size=12,
)


@given(NETS, CONTRIBUTIONS)
def test_contracts_jobs_and_teams_each_add_up_to_the_net(
    nets: dict[HalfHour, Decimal], contributions: list[Contribution]
) -> None:
    shares = attribute(nets, contributions=contributions, rounding=Rounding())

    for parts in (shares.by_contract, shares.by_job, shares.by_team):
        assert sum(parts.values(), Decimal(0)) == shares.total_gbp
        assert all(part == part.quantize(Decimal("0.01")) for part in parts.values())
