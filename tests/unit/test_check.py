"""What `gridflex check` says of the tariffs."""

from pathlib import Path

import pytest

from gridflex.errors import ContractError, SourceError
from gridflex.running import check
from gridflex.settings import ClockSettings, Settings, SiteSettings
from tests.unit.market.test_desk import EARLY
from tests.unit.market.test_tariff import tariff_text


def settings(*tariffs: Path | None) -> Settings:
    sites = tuple(
        SiteSettings(name=name, tariff=tariff)
        for name, tariff in zip(("london", "slough"), tariffs, strict=True)
    )
    clock = ClockSettings(origin=EARLY, origin_wall=EARLY)
    return Settings(sites=sites, clock=clock.model_copy(update={"speed": 1e-9}))


@pytest.fixture
def tariff(tmp_path: Path) -> Path:
    (tmp_path / "tariff.yaml").write_text(tariff_text())
    return tmp_path / "tariff.yaml"


async def test_a_site_without_a_tariff_beside_one_with_is_named(tariff: Path) -> None:
    mixed = await check._tariffs(settings(tariff, None))
    alike = await check._tariffs(settings(tariff, tariff))
    none = await check._tariffs(settings(None, None))

    assert "delivered cost at london; slough: it has no tariff" in mixed
    assert alike == "energy counts at its delivered cost at london, slough"
    assert none == "no site has a tariff: energy counts at the wholesale price"


@pytest.fixture
def misspelt(tmp_path: Path) -> Path:
    (tmp_path / "misspelt.yaml").write_text(tariff_text().replace("duos:", "dous:"))
    return tmp_path / "misspelt.yaml"


async def test_a_tariff_that_cannot_be_used_fails(tmp_path: Path, misspelt: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        await check._tariffs(settings(tmp_path / "none.yaml", None))
    with pytest.raises(ContractError, match="duos"):
        await check._tariffs(settings(misspelt, None))
