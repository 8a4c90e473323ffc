"""Tariff files of the sites, read again when they change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gridflex.errors import SourceError
from gridflex.halfhour import HalfHour
from gridflex.market.delivered_cost import DeliveredPrices, DeliveredSeries
from gridflex.market.tariff import read_tariff


class TariffFiles:
    """Delivered prices of the sites that have a tariff.

    Args:
        paths: Tariff file by site name.
    """

    def __init__(self, paths: Mapping[str, Path]) -> None:
        self._paths = dict(paths)
        self._read: dict[str, tuple[int, DeliveredPrices]] = {}

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
        if site not in self._paths:
            return None
        path = self._paths[site]
        try:
            changed = path.stat().st_mtime_ns
            if site not in self._read or self._read[site][0] != changed:
                tariff = read_tariff(path.read_text(encoding="utf-8"))
                self._read[site] = changed, DeliveredPrices(tariff)
        except (OSError, UnicodeDecodeError) as error:
            raise SourceError(f"{path}: cannot be read: {error}") from error
        return self._read[site][1].of(start, wholesale_gbp_per_mwh)
