"""Sites whose size nobody configured: asked until they say, and none holds up the others."""

import pytest

from gridflex.adapters.clusters.ray_gpus import Gpus
from gridflex.agents import site_sizes
from gridflex.agents.site_sizes import Resized, SiteSizes, Sized
from gridflex.errors import SourceError
from gridflex.settings import SiteSettings

SITES = (
    SiteSettings(name="london", gpus=4),
    SiteSettings(name="slough", ray_url="http://slough.test:8265"),
    SiteSettings(name="leeds", ray_url="http://leeds.test:8265"),
)


class Cluster:
    """Says how many GPUs it has, once it answers."""

    def __init__(self, gpus: int | None) -> None:
        self.has = gpus
        self.asked = 0

    async def gpus(self) -> Gpus:
        self.asked += 1
        if self.has is None:
            raise SourceError("no answer")
        return Gpus(self.has, used=None)


@pytest.fixture
def clusters(monkeypatch: pytest.MonkeyPatch) -> dict[str, Cluster]:
    monkeypatch.setattr(site_sizes, "ASKED_EVERY_S", 0.0)
    return {"london": Cluster(9), "slough": Cluster(None), "leeds": Cluster(16)}


def gpus(found: Sized) -> dict[str, int]:
    return {site.name: site.gpus for site in found.sites}


async def test_a_site_that_does_not_say_has_no_gpus_until_it_does(
    clusters: dict[str, Cluster],
) -> None:
    sizes = SiteSizes(SITES, clusters)

    before = await sizes.read()
    clusters["slough"].has = 8
    after = await sizes.read()

    assert gpus(before) == {"london": 4, "slough": 0, "leeds": 16}
    assert before.degraded == {"size of slough": "no answer"}
    assert gpus(after) == {"london": 4, "slough": 8, "leeds": 16}
    assert after.degraded == {}
    assert [clusters[name].asked for name in ("london", "slough", "leeds")] == [0, 2, 1]


async def test_a_site_that_is_asked_again_keeps_its_last_size_while_it_is_away(
    clusters: dict[str, Cluster],
) -> None:
    sizes = SiteSizes(SITES, clusters, renewed_every_s=0.0)
    await sizes.read()
    clusters["leeds"].has = None

    assert gpus(await sizes.read())["leeds"] == 16
    clusters["leeds"].has = 24
    assert gpus(await sizes.read())["leeds"] == 24


async def test_what_is_built_from_the_sites_is_built_anew_when_one_says_its_size(
    clusters: dict[str, Cluster],
) -> None:
    built = Resized(SiteSizes(SITES, clusters), gpus)

    first, _ = await built.now()
    again, found = await built.now()
    clusters["slough"].has = 8
    last, _ = await built.now()

    assert again is first
    assert found.degraded == {"size of slough": "no answer"}
    assert last == {"london": 4, "slough": 8, "leeds": 16}
