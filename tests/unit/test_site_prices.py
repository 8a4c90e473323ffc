"""What energy costs at sites that are compared with each other."""

from pathlib import Path

import numpy as np

from gridflex.adapters.market.tariff_files import TariffFiles
from gridflex.agents.site_prices import COMMODITY, DELIVERED, SitePrices
from tests.unit.market.test_desk import SIX
from tests.unit.market.test_tariff import tariff_text

WHOLESALE = np.array([80.0, 90.0])


async def test_a_tariff_that_cannot_be_used_makes_no_site_look_cheap(tmp_path: Path) -> None:
    there = tmp_path / "london.yaml"
    there.write_text(tariff_text())
    prices = SitePrices(TariffFiles({"london": there, "slough": tmp_path / "none.yaml"}))

    alone = await prices.at({"london": WHOLESALE}, start=SIX)
    found = await prices.at({"london": WHOLESALE, "slough": WHOLESALE}, start=SIX)

    assert alone["london"].basis == DELIVERED
    assert [one.basis for one in found.values()] == [COMMODITY, COMMODITY]
    assert found["london"].gbp_per_mwh.tolist() == found["slough"].gbp_per_mwh.tolist()
    assert found["london"].failure is None
    assert "cannot be read" in (found["slough"].failure or "")


async def test_a_site_without_a_tariff_beside_one_with_is_said_to_look_cheap(
    tmp_path: Path,
) -> None:
    there = tmp_path / "london.yaml"
    there.write_text(tariff_text())
    prices = SitePrices(TariffFiles({"london": there}))

    found = await prices.at({"london": WHOLESALE, "slough": WHOLESALE}, start=SIX)
    none = await SitePrices(None).at({"london": WHOLESALE, "slough": WHOLESALE}, start=SIX)

    assert [one.basis for one in found.values()] == [DELIVERED, COMMODITY]
    assert found["london"].failure is None
    assert "looks cheap" in (found["slough"].failure or "")
    assert [one.failure for one in none.values()] == [None, None]
