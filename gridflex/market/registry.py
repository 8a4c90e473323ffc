"""Sites as settlement knows them: meters, units, consent, and which baseline holds when.

Everything has a validity interval ``[start, until)`` of settlement days. A registry is a value:
built once from records, checked as a whole, then asked about one day.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import combinations
from typing import Final, NewType

from gridflex.errors import ContractError
from gridflex.market.working_days import WorkingCalendar

Msid = NewType("Msid", str)
"""Metering system id: the 13 digits of an MPAN core, or of an asset metering system."""

UnitId = NewType("UnitId", str)
"""Secondary BM Unit, such as ``V__AGRID001``."""

GSP_GROUPS: Final = frozenset("ABCDEFGHJKLMNP")
"""Letters of the 14 distribution regions."""

ALLOCATION_LEAD_WORKING_DAYS: Final = 5
"""BSCP602: working days between an allocation and its first settlement day."""

_UNIT: Final = re.compile(r"V__([A-HJ-NP])[A-Z0-9]{4}\d{3}")
_MSID: Final = re.compile(r"\d{13}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_MPAN_PRIMES: Final = (3, 5, 7, 13, 17, 19, 23, 29, 31, 37, 41, 43)


@dataclass(frozen=True, slots=True)
class Validity:
    """Settlement days from ``start`` up to, not including, ``until``.

    Args:
        start: First day.
        until: First day that no longer counts; None while it stands.
    """

    start: date
    until: date | None = None

    def __post_init__(self) -> None:
        if self.until is not None and self.until <= self.start:
            raise ContractError(f"validity from {self.start} must end after it, not {self.until}")

    def covers(self, day: date) -> bool:
        """Return whether ``day`` lies inside."""
        return self.start <= day and (self.until is None or day < self.until)

    def contains(self, other: Validity) -> bool:
        """Return whether every day of ``other`` lies inside."""
        ends_after = self.until is None or (other.until is not None and other.until <= self.until)
        return self.start <= other.start and ends_after

    def overlaps(self, other: Validity) -> bool:
        """Return whether some day lies in both."""
        return (self.until is None or other.start < self.until) and (
            other.until is None or self.start < other.until
        )


@dataclass(frozen=True, slots=True)
class MsidPair:
    """Import meter and, where there is one, export meter at one boundary point.

    Args:
        import_msid: 13 digits with a valid check digit.
        export_msid: Likewise; None without export metering.

    Raises:
        ContractError: An id is not a valid MPAN core.
    """

    import_msid: Msid
    export_msid: Msid | None = None

    def __post_init__(self) -> None:
        for msid in filter(None, (self.import_msid, self.export_msid)):
            if not _MSID.fullmatch(msid) or mpan_check_digit(msid[:12]) != int(msid[12]):
                raise ContractError(f"MSID {msid!r} is not 13 digits with an MPAN check digit")


@dataclass(frozen=True, slots=True)
class AmsidPair:
    """Asset meters behind a boundary point, registered by an Asset Metering VLP.

    Args:
        boundary: The boundary pair in front of the asset.
        import_amsid: 13 digits.
        export_amsid: Likewise; None without export metering.

    Raises:
        ContractError: An id is not 13 digits.
    """

    boundary: MsidPair
    import_amsid: Msid
    export_amsid: Msid | None = None

    def __post_init__(self) -> None:
        for amsid in filter(None, (self.import_amsid, self.export_amsid)):
            if not _MSID.fullmatch(amsid):
                raise ContractError(f"AMSID {amsid!r} is not 13 digits")


Pair = MsidPair | AmsidPair


def pair_key(pair: Pair) -> str:
    """Return the import id, which names the pair in every message."""
    return pair.import_msid if isinstance(pair, MsidPair) else pair.import_amsid


class AllocationType(StrEnum):
    """What part of the boundary flow belongs to the unit."""

    WHOLE = "T"
    ASSET = "A"
    DIFFERENCED = "D"


class BaselineIndicator(StrEnum):
    """Who says what a pair would have used."""

    BASELINED = "B"
    SUBMITTED = "S"
    INACTIVE = "I"


@dataclass(frozen=True, slots=True)
class SecondaryBmUnit:
    """A Trading Secondary BM Unit, all of whose meters are in one GSP Group.

    Args:
        id: ``V__``, GSP Group letter, four characters of the party, three digits.
        party: The Virtual Trading Party whose Energy Account it feeds.
        validity: When it is registered.

    Raises:
        ContractError: The id does not have that form.
    """

    id: UnitId
    party: str
    validity: Validity

    def __post_init__(self) -> None:
        if not _UNIT.fullmatch(self.id):
            raise ContractError(
                f"unit {self.id!r} is not V__, a GSP Group letter, 4 characters and 3 digits"
            )

    @property
    def gsp_group(self) -> str:
        """Letter of its GSP Group."""
        return self.id[3]


@dataclass(frozen=True, slots=True)
class MeteredSite:
    """A site with its settlement meters; the name is that of `gridflex.fleet.Site`.

    Args:
        name: Unique short name.
        gsp_group: Letter of the distribution region, as registered for the meter.
        pairs: Boundary and asset pairs.
        connection_mw: Agreed import capacity.
        supplier: Party id of the supplier registered for the boundary import meter.
    """

    name: str
    gsp_group: str
    pairs: tuple[Pair, ...]
    connection_mw: float
    supplier: str

    def __post_init__(self) -> None:
        if self.gsp_group not in GSP_GROUPS:
            known = ", ".join(sorted(GSP_GROUPS))
            raise ContractError(f"site {self.name}: gsp_group {self.gsp_group!r} is not of {known}")


@dataclass(frozen=True, slots=True)
class Consent:
    """The customer's written consent, which the trading party must hold.

    Args:
        site: Name of the site.
        signed_on: Day of signature.
        validity: Days for which it allows trading.
        document_sha256: Digest of the document kept, 64 hexadecimal digits.

    Raises:
        ContractError: It is not a digest.
    """

    site: str
    signed_on: date
    validity: Validity
    document_sha256: str

    def __post_init__(self) -> None:
        if not _SHA256.fullmatch(self.document_sha256):
            raise ContractError(
                f"consent of {self.site}: document_sha256 {self.document_sha256!r} is not 64 "
                "hexadecimal digits, such as sha256sum prints of the signed document"
            )


@dataclass(frozen=True, slots=True)
class Allocation:
    """One pair in one unit, with its baseline.

    Args:
        pair: The meters.
        unit: Where they count.
        type: Whole boundary, asset or differenced site.
        indicator: Who computes the baseline.
        methodology: ``BL01`` for a baselined pair, else None.
        registered_on: Day on which it was entered.
        validity: Settlement days on which it holds.

    Raises:
        ContractError: The methodology does not fit the indicator, or the type the pair.
    """

    pair: Pair
    unit: UnitId
    type: AllocationType
    indicator: BaselineIndicator
    registered_on: date
    validity: Validity
    methodology: str | None = None

    def __post_init__(self) -> None:
        is_baselined = self.indicator is BaselineIndicator.BASELINED
        if is_baselined != (self.methodology is not None):
            raise ContractError(
                f"pair {pair_key(self.pair)}: indicator {self.indicator} with methodology "
                f"{self.methodology!r}; B needs one, S and I have none"
            )
        if (self.type is AllocationType.ASSET) != isinstance(self.pair, AmsidPair):
            raise ContractError(
                f"pair {pair_key(self.pair)}: type {self.type} does not fit "
                f"{type(self.pair).__name__}; A is for asset meters"
            )


@dataclass(frozen=True, slots=True)
class Registry:
    """All sites, units, consents and allocations, checked against each other.

    Args:
        sites: Metered sites.
        units: Secondary BM Units.
        consents: Customer consents.
        allocations: Pairs in units.
        calendar: Working days, for the allocation lead time.

    Raises:
        ContractError: A name is unknown or used twice, an allocation has no consent or too
            little lead, its meters are in another GSP Group, or a pair is in two units.
    """

    sites: tuple[MeteredSite, ...]
    units: tuple[SecondaryBmUnit, ...]
    consents: tuple[Consent, ...]
    allocations: tuple[Allocation, ...]
    calendar: WorkingCalendar

    def __post_init__(self) -> None:
        _distinct("site", (site.name for site in self.sites))
        _distinct("unit", (unit.id for unit in self.units))
        _distinct("pair", (pair_key(pair) for site in self.sites for pair in site.pairs))
        for allocation in self.allocations:
            self._check(allocation)
        for one, other in combinations(self.allocations, 2):
            if pair_key(one.pair) == pair_key(other.pair) and one.validity.overlaps(other.validity):
                raise ContractError(
                    f"pair {pair_key(one.pair)} is in {one.unit} and {other.unit} at once"
                )

    def site_of(self, pair: Pair) -> MeteredSite:
        """Return the site with these meters.

        Raises:
            ContractError: No site has them.
        """
        for site in self.sites:
            if pair in site.pairs:
                return site
        raise ContractError(f"pair {pair_key(pair)} belongs to no site")

    def unit(self, unit_id: UnitId) -> SecondaryBmUnit:
        """Return a unit by id.

        Raises:
            ContractError: It is unknown.
        """
        for unit in self.units:
            if unit.id == unit_id:
                return unit
        raise ContractError(
            f"unit {unit_id} is not registered; valid is {_valid(one.id for one in self.units)}"
        )

    def refuse_unknown_site(self, name: str) -> None:
        """Refuse the name of a site that is not registered.

        Raises:
            ContractError: It is unknown.
        """
        known = [site.name for site in self.sites]
        if name not in known:
            raise ContractError(f"site {name!r} is not registered; valid is {_valid(known)}")

    def refuse_unknown_meter(self, meter: Msid) -> None:
        """Refuse a meter that no site has.

        Raises:
            ContractError: None has it.
        """
        known = [pair_key(pair) for site in self.sites for pair in site.pairs]
        if meter not in known:
            raise ContractError(f"meter {meter} is not registered; valid is {_valid(known)}")

    def in_unit(self, unit_id: UnitId, *, day: date) -> tuple[Allocation, ...]:
        """Return what is allocated to a unit on a settlement day, inactive pairs included."""
        return tuple(
            allocation
            for allocation in self.allocations
            if allocation.unit == unit_id and allocation.validity.covers(day)
        )

    def submitted(self, unit_id: UnitId, *, day: date) -> tuple[Allocation, ...]:
        """Return the allocations whose baseline is submitted on ``day``, of whatever meters."""
        return tuple(
            allocation
            for allocation in self.in_unit(unit_id, day=day)
            if allocation.indicator is BaselineIndicator.SUBMITTED
        )

    def _check(self, allocation: Allocation) -> None:
        key = pair_key(allocation.pair)
        site, unit = self.site_of(allocation.pair), self.unit(allocation.unit)
        if site.gsp_group != unit.gsp_group:
            raise ContractError(
                f"pair {key} is in GSP Group {site.gsp_group}, unit {unit.id} in {unit.gsp_group}"
            )
        if not unit.validity.contains(allocation.validity):
            raise ContractError(f"pair {key}: unit {unit.id} is not registered on all its days")
        consents = [consent for consent in self.consents if consent.site == site.name]
        if not any(consent.validity.contains(allocation.validity) for consent in consents):
            raise ContractError(f"pair {key}: no consent of site {site.name} covers its days")
        earliest = earliest_effective(allocation.registered_on, calendar=self.calendar)
        if allocation.validity.start < earliest:
            raise ContractError(
                f"pair {key}: entered on {allocation.registered_on} it can hold from {earliest}, "
                f"not {allocation.validity.start}"
            )


def earliest_effective(registered_on: date, *, calendar: WorkingCalendar) -> date:
    """Return the first settlement day an allocation entered on ``registered_on`` can have."""
    return calendar.after(registered_on, working_days=ALLOCATION_LEAD_WORKING_DAYS)


def mpan_check_digit(first_twelve: str) -> int:
    """Return the 13th digit of an MPAN core.

    Source:
        MPAN core check digit: digits times successive primes from 3 without 11, modulo 11,
        modulo 10 (Master Registration Agreement, MPAN check digit calculation).
    """
    total = sum(int(digit) * prime for digit, prime in zip(first_twelve, _MPAN_PRIMES, strict=True))
    return total % 11 % 10


def _valid(known: Iterable[str]) -> str:
    return ", ".join(sorted(known)) or "a registered one, of which there is none yet"


def _distinct(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ContractError(f"{what} {name} occurs twice")
        seen.add(name)
