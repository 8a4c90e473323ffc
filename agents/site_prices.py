"""What energy costs at each site: delivered where it has a tariff, else the wholesale price."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from gridflex.errors import ContractError, SourceError
from gridflex.halfhour import HalfHour
from gridflex.market.delivered_cost import DeliveredSeries

COMMODITY: Final = "commodity"
DELIVERED: Final = "delivered"
"""At what energy is counted: the wholesale price alone, or the cost at the meter."""


class Tariffs(Protocol):
    """Delivered prices; see `gridflex.adapters.market.tariff_files.TariffFiles`."""

    def delivered(
        self, site: str, *, start: HalfHour, wholesale_gbp_per_mwh: NDArray[np.float64]
    ) -> DeliveredSeries | None:
        """Return what energy costs at a site's meter; None for a site without a tariff."""
        ...


UNLIKE: Final = (
    "it has no tariff and others have one: its energy counts at the wholesale price and looks "
    "cheap beside their delivered cost"
)


@dataclass(frozen=True, slots=True, eq=False)
class SitePrice:
    """What energy costs at one site.

    Args:
        gbp_per_mwh: Shape ``(T,)``.
        per_wholesale: Shape ``(T,)``, by how much each rises with the wholesale price.
        basis: `DELIVERED` or `COMMODITY`.
        failure: Why its price is not to be compared with that of other sites, if so.
    """

    gbp_per_mwh: NDArray[np.float64]
    per_wholesale: NDArray[np.float64]
    basis: str
    failure: str | None = None


class SitePrices:
    """Prices of the sites, the same for whoever plans and whoever sheds.

    Args:
        tariffs: Delivered prices; None counts energy at its wholesale price everywhere.
    """

    def __init__(self, tariffs: Tariffs | None) -> None:
        self._tariffs = tariffs

    async def at(
        self, wholesale_gbp_per_mwh: Mapping[str, NDArray[np.float64]], *, start: HalfHour
    ) -> dict[str, SitePrice]:
        """Return what energy costs at each site; a tariff that cannot be used stops nobody.

        Where one cannot be used, energy counts at its wholesale price at every site: beside the
        delivered cost of the others its own site would look cheap and draw the jobs. A site that
        was given none, beside sites with one, does look cheap, and it is said.

        Args:
            wholesale_gbp_per_mwh: Per site, shape ``(T,)``.
            start: First half-hour.
        """
        found = {
            site: await self._of(site, start=start, wholesale_gbp_per_mwh=wholesale)
            for site, wholesale in wholesale_gbp_per_mwh.items()
        }
        if all(one.failure is None for one in found.values()):
            is_mixed = len({one.basis for one in found.values()}) > 1
            return {
                site: replace(one, failure=UNLIKE) if is_mixed and one.basis == COMMODITY else one
                for site, one in found.items()
            }
        return {
            site: _commodity(wholesale_gbp_per_mwh[site], one.failure)
            for site, one in found.items()
        }

    async def _of(
        self, site: str, *, start: HalfHour, wholesale_gbp_per_mwh: NDArray[np.float64]
    ) -> SitePrice:
        if self._tariffs is None:
            return _commodity(wholesale_gbp_per_mwh)
        try:
            series = await asyncio.to_thread(
                self._tariffs.delivered,
                site,
                start=start,
                wholesale_gbp_per_mwh=wholesale_gbp_per_mwh,
            )
        except (SourceError, ContractError) as error:
            return _commodity(wholesale_gbp_per_mwh, str(error))
        if series is None:
            return _commodity(wholesale_gbp_per_mwh)
        return SitePrice(series.gbp_per_mwh, series.per_wholesale, DELIVERED)


def _commodity(wholesale_gbp_per_mwh: NDArray[np.float64], failure: str | None = None) -> SitePrice:
    ones = np.ones_like(wholesale_gbp_per_mwh)
    return SitePrice(wholesale_gbp_per_mwh, ones, COMMODITY, failure)
