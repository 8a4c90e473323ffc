"""What `gridflex check` says of the tariffs."""

from dataclasses import replace
from pathlib import Path

import pytest

from gridflex.capping import Ability
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


def test_where_no_limit_can_be_set_the_way_out_is_named() -> None:
    without = Ability("london", is_able=False, detail="no node with GPUs", at=EARLY)

    with pytest.raises(SourceError, match=r"^no node with GPUs;.*power_caps_set_by: jobs"):
        check.limits_found(without)
    assert check.limits_found(replace(without, is_able=True, detail="yes")) == "yes"
    assert check.limits_found(None).startswith("planned once")


@pytest.fixture
def misspelt(tmp_path: Path) -> Path:
    (tmp_path / "misspelt.yaml").write_text(tariff_text().replace("duos:", "dous:"))
    return tmp_path / "misspelt.yaml"


async def test_a_tariff_that_cannot_be_used_fails(tmp_path: Path, misspelt: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        await check._tariffs(settings(tmp_path / "none.yaml", None))
    with pytest.raises(ContractError, match="duos"):
        await check._tariffs(settings(misspelt, None))
