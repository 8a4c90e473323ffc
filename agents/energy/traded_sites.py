"""Who is traded, day by day, as the registry has it.

A unit is traded on the days on which it has one boundary pair with a submitted baseline; sites,
consents and suppliers change from one day to the next.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import date

from gridflex.errors import ContractError
from gridflex.market.registry import BaselineIndicator, MsidPair, Registry, UnitId
from gridflex.market.working_days import DAY


@dataclass(frozen=True, slots=True)
class TradedSite:
    """Whose flexibility is sold, and for which Energy Account.

    Args:
        account: The trading party.
        unit: Its Secondary BM Unit.
        pair: The site's boundary meters, with a submitted baseline.
        gsp_group: Letter of the distribution region.
        supplier: Who supplies the site.
        authorisation: Under which contract notices are sent.
        place: GridFlex's name of the site whose jobs are behind the meters; None for all jobs.
        contract: Flexibility contract with the site; None has none.
    """

    account: str
    unit: UnitId
    pair: MsidPair
    gsp_group: str
    supplier: str
    authorisation: str
    place: str | None = None
    contract: str | None = None

    @property
    def sold_under(self) -> str:
        """Name of what its energy is sold under on the wholesale market."""
        return self.contract or f"wholesale:{self.unit}"


@dataclass(frozen=True, slots=True)
class EnergyTerms:
    """What is traded, for whom.

    Args:
        unit: Secondary BM Unit.
        place: GridFlex's name of the site behind its meters.
        authorisation: Under which contract notices are sent.
        contract: Flexibility contract with the site, by which its revenue is told apart.
    """

    unit: UnitId
    place: str
    authorisation: str
    contract: str | None = None


@dataclass(frozen=True, slots=True)
class TradedSites:
    """Who is traded, day by day.

    Args:
        registry: Sites, units, consents and allocations.
        terms: What is traded.
    """

    registry: Registry
    terms: EnergyTerms

    @property
    def unit(self) -> UnitId:
        """Which unit."""
        return self.terms.unit

    def on(self, day: date) -> TradedSite:
        """Return the site that is traded on a settlement day; see `traded_site`."""
        return traded_site(self.registry, self.terms, day)

    def before(self, day: date) -> TradedSite | None:
        """Return the site of the last day before ``day`` on which one was traded; None if never."""
        ends = {
            min(day, one.validity.until or day)
            for one in self.registry.allocations
            if one.unit == self.unit
            and one.indicator is BaselineIndicator.SUBMITTED
            and one.validity.start < day
        }
        for end in sorted(ends, reverse=True):
            with suppress(ContractError):
                return self.on(end - DAY)
        return None


def traded_site(registry: Registry, terms: EnergyTerms, day: date) -> TradedSite:
    """Return the site that is traded on a settlement day.

    Raises:
        ContractError: The unit is not registered, or has not exactly one pair with a submitted
            baseline on that day, at a boundary.
    """
    unit = registry.unit(terms.unit)
    pairs = [one.pair for one in registry.submitted(terms.unit, day=day)]
    pair = pairs[0] if len(pairs) == 1 else None
    if not isinstance(pair, MsidPair):
        at_boundary = sum(isinstance(one, MsidPair) for one in pairs)
        raise ContractError(
            f"unit {terms.unit} has {len(pairs)} pairs with a submitted baseline on {day}, "
            f"{at_boundary} of them at a boundary; it is traded with exactly one, at a boundary"
        )
    site = registry.site_of(pair)
    return TradedSite(
        account=unit.party,
        unit=terms.unit,
        pair=pair,
        gsp_group=site.gsp_group,
        supplier=site.supplier,
        authorisation=terms.authorisation,
        place=terms.place,
        contract=terms.contract,
    )
