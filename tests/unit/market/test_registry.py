"""Who may be traded, where it counts, and from when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date

import pytest

from gridflex.agents.energy.traded_sites import EnergyTerms, traded_site
from gridflex.errors import ContractError
from gridflex.market.registry import (
    Allocation,
    AllocationType,
    AmsidPair,
    BaselineIndicator,
    Consent,
    MeteredSite,
    Msid,
    MsidPair,
    Registry,
    SecondaryBmUnit,
    UnitId,
    Validity,
    earliest_effective,
    mpan_check_digit,
)
from tests.unit.market.days import CALENDAR

UNIT = UnitId("V__CGRID001")
PAIR = MsidPair(Msid("1200012345679"))
SITE = MeteredSite("london", "C", (PAIR,), connection_mw=8.0, supplier="SUPPLIER")
OPEN = Validity(date(2026, 1, 1))
ALLOCATION = Allocation(
    pair=PAIR,
    unit=UNIT,
    type=AllocationType.WHOLE,
    indicator=BaselineIndicator.SUBMITTED,
    registered_on=date(2026, 6, 1),
    validity=Validity(date(2026, 7, 1)),
)
CONSENT = Consent("london", date(2026, 1, 5), OPEN, "ab" * 32)


def registry(
    *,
    unit_days: Validity = OPEN,
    sites: Sequence[MeteredSite] = (SITE,),
    consents: Sequence[Consent] = (CONSENT,),
    allocations: Sequence[Allocation] = (ALLOCATION,),
) -> Registry:
    units = (SecondaryBmUnit(UNIT, "GRIDFLEX", unit_days),)
    return Registry(tuple(sites), units, tuple(consents), tuple(allocations), CALENDAR)


def test_the_check_digit_of_an_mpan() -> None:
    # 1*3 + 2*5 + 1*19 + 2*23 + 3*29 + 4*31 + 5*37 + 6*41 + 7*43 = 1021 = 92*11 + 9
    assert mpan_check_digit("120001234567") == 9
    assert mpan_check_digit("200005077370") == 6


@pytest.mark.parametrize("digest", ["", "…", "AB" * 32, "ab" * 31])
def test_a_consent_names_its_document_by_a_digest(digest: str) -> None:
    with pytest.raises(ContractError, match=r"document_sha256 .* is not 64 hexadecimal digits"):
        replace(CONSENT, document_sha256=digest)


@pytest.mark.parametrize("msid", ["1200012345678", "120001234567", "12000123456X9"])
def test_a_wrong_mpan_is_refused(msid: str) -> None:
    with pytest.raises(ContractError, match="check digit"):
        MsidPair(Msid(msid))


def test_an_allocation_counts_on_its_days_only() -> None:
    known = registry()

    assert known.in_unit(UNIT, day=date(2026, 7, 1)) == (ALLOCATION,)
    assert known.in_unit(UNIT, day=date(2026, 6, 30)) == ()


def test_five_working_days_pass_before_an_allocation_holds() -> None:
    # Thursday 2 April 2026; Good Friday and Easter Monday are 3 and 6 April
    assert earliest_effective(date(2026, 4, 2), calendar=CALENDAR) == date(2026, 4, 13)

    late = replace(ALLOCATION, registered_on=date(2026, 6, 26))
    with pytest.raises(ContractError, match="can hold from 2026-07-03"):
        registry(allocations=[late])


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        pytest.param({"sites": [replace(SITE, gsp_group="D")]}, "GSP Group D", id="other region"),
        pytest.param({"consents": []}, "no consent", id="no consent"),
        pytest.param(
            {"consents": [replace(CONSENT, validity=Validity(date(2026, 1, 1), date(2027, 1, 1)))]},
            "no consent",
            id="consent ends first",
        ),
        pytest.param({"sites": []}, "belongs to no site", id="unknown meters"),
        pytest.param({"allocations": [ALLOCATION, ALLOCATION]}, "at once", id="in two units"),
        pytest.param({"sites": [SITE, SITE]}, "occurs twice", id="two sites of a name"),
    ],
)
def test_records_that_contradict_each_other_are_refused(
    changed: dict[str, list[MeteredSite]], reason: str
) -> None:
    with pytest.raises(ContractError, match=reason):
        registry(**changed)  # type: ignore[arg-type]  # one keyword at a time


def test_a_pair_may_move_from_one_unit_to_another() -> None:
    first = replace(ALLOCATION, validity=Validity(date(2026, 7, 1), date(2026, 9, 1)))
    second = replace(ALLOCATION, validity=Validity(date(2026, 9, 1)))

    known = registry(allocations=[first, second])

    assert known.in_unit(UNIT, day=date(2026, 9, 1)) == (second,)


@pytest.mark.parametrize(
    ("indicator", "methodology"),
    [(BaselineIndicator.BASELINED, None), (BaselineIndicator.SUBMITTED, "BL01")],
)
def test_only_a_baselined_pair_names_a_methodology(
    indicator: BaselineIndicator, methodology: str | None
) -> None:
    with pytest.raises(ContractError, match="methodology"):
        replace(ALLOCATION, indicator=indicator, methodology=methodology)


def test_asset_meters_need_an_asset_allocation() -> None:
    asset = AmsidPair(PAIR, Msid("9900000000001"))

    with pytest.raises(ContractError, match="A is for asset meters"):
        replace(ALLOCATION, pair=asset)
    assert replace(ALLOCATION, pair=asset, type=AllocationType.ASSET).pair == asset


@pytest.mark.parametrize("unit", ["V__IGRID001", "2__CGRID001", "V__CGRID01", "V__CGRIDX001"])
def test_a_unit_id_has_one_form(unit: str) -> None:
    with pytest.raises(ContractError, match="GSP Group letter"):
        SecondaryBmUnit(UnitId(unit), "GRIDFLEX", OPEN)


def test_a_validity_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(ContractError, match="must end after"):
        Validity(date(2026, 7, 1), date(2026, 7, 1))


def test_an_allocation_does_not_outlive_its_unit() -> None:
    with pytest.raises(ContractError, match="not registered on all its days"):
        registry(unit_days=Validity(date(2026, 1, 1), date(2026, 12, 31)))


def test_every_pair_with_a_submitted_baseline_is_found_on_its_days() -> None:
    asset = AmsidPair(PAIR, Msid("9900000000001"))
    beside = replace(ALLOCATION, pair=asset, type=AllocationType.ASSET)
    site = replace(SITE, pairs=(PAIR, asset))
    baselined = replace(ALLOCATION, indicator=BaselineIndicator.BASELINED, methodology="BL01")

    both = registry(sites=[site], allocations=[ALLOCATION, beside])

    assert both.submitted(UNIT, day=date(2026, 7, 1)) == (ALLOCATION, beside)
    assert both.submitted(UNIT, day=date(2026, 6, 30)) == ()
    assert registry(allocations=[baselined]).submitted(UNIT, day=date(2026, 7, 1)) == ()


def test_a_unit_is_traded_with_exactly_one_pair_as_its_delivery_is_claimed() -> None:
    asset = AmsidPair(PAIR, Msid("9900000000001"))
    beside = replace(ALLOCATION, pair=asset, type=AllocationType.ASSET)
    site = replace(SITE, pairs=(PAIR, asset))
    terms = EnergyTerms(UNIT, "local", "ECVNAA0001")
    day = date(2026, 7, 1)

    assert traded_site(registry(), terms, day).pair == PAIR
    both = registry(sites=[site], allocations=[ALLOCATION, beside])
    with pytest.raises(ContractError, match=r"2 pairs with a submitted baseline .* 1 of them"):
        traded_site(both, terms, day)
    with pytest.raises(ContractError, match=r"1 pairs with a submitted baseline .* 0 of them"):
        traded_site(registry(sites=[site], allocations=[beside]), terms, day)
