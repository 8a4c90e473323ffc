"""Tariff files of the sites, read again when they change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gridflex.adapters.changing_file import ChangingFile
from gridflex.halfhour import HalfHour
from gridflex.market.delivered_cost import DeliveredPrices, DeliveredSeries
from gridflex.market.tariff import read_tariff


class TariffFiles:
    """Delivered prices of the sites that have a tariff.

    Args:
        paths: Tariff file by site name.
    """

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._files = {site: ChangingFile(path, _priced) for site, path in paths.items()}

    def delivered(
        self, site: str, *, start: HalfHour, wholesale_gbp_per_mwh: NDArray[np.float64]
    ) -> DeliveredSeries | None:
        """Return what energy costs at a site's meter; None for a site without a tariff.

        Args:
            site: Its name.
            start: First half-hour.
            wholesale_gbp_per_mwh: Shape ``(T,)``.

        Raises:
            SourceError: The file cannot be read.
            ContractError: It is not valid, or has no rates for a half-hour.
        """
        if site not in self._files:
            return None
        return self._files[site].read().of(start, wholesale_gbp_per_mwh)


def _priced(text: str) -> DeliveredPrices:
    return DeliveredPrices(read_tariff(text))
