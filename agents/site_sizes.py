"""How large the sites are, and what is built from that: anew where a site says it later."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from gridflex.adapters.clusters.ray_gpus import Gpus
from gridflex.errors import SourceError
from gridflex.fleet import Site
from gridflex.settings import SiteSettings
from gridflex.together import together

ASKED_EVERY_S: Final = 2.0
"""Wall time after which a cluster that did not say how large it is is asked again."""

Core = TypeVar("Core")


class Cluster(Protocol):
    """Who knows how large a site is; see `gridflex.adapters.clusters.ray_jobs.RayJobs`."""

    async def gpus(self) -> Gpus:
        """Return its GPUs."""
        ...


@dataclass(frozen=True, slots=True)
class Sized:
    """The sites as far as their size is known.

    Args:
        sites: The domain's view of them, the default one first; no GPUs where nobody said.
        unsized: Why the size of a site is not known, by its name.
    """

    sites: tuple[Site, ...]
    unsized: Mapping[str, str]

    @property
    def degraded(self) -> dict[str, str]:
        """What to show of it."""
        return {f"size of {name}": why for name, why in self.unsized.items()}


class SiteSizes:
    """Asks the cluster of each site whose size is not configured until it says.

    Args:
        sites: The sites, the default one first.
        clusters: Who knows, by site name.
        renewed_every_s: Wall time after which a cluster is asked again whether it has grown; None
            asks no more once it has said.
    """

    def __init__(
        self,
        sites: Sequence[SiteSettings],
        clusters: Mapping[str, Cluster],
        *,
        renewed_every_s: float | None = None,
    ) -> None:
        self._sites = tuple(sites)
        self._clusters = clusters
        self._renewed_every_s = renewed_every_s
        self._gpus = {site.name: site.gpus for site in sites if site.gpus is not None}
        self._asked = [site.name for site in sites if site.gpus is None]
        self._asked_at: dict[str, float] = {}
        self._why: dict[str, str] = {}

    async def read(self) -> Sized:
        """Return the sites, those that are due asked first; the last answer of each counts."""
        now = asyncio.get_running_loop().time()
        due = [name for name in self._asked if self._is_due(name, now)]
        self._asked_at |= dict.fromkeys(due, now)
        await together(self._ask(name) for name in due)
        return Sized(
            tuple(site.site(gpus=self._gpus.get(site.name, 0)) for site in self._sites),
            {
                name: self._why.get(name, "it is being asked")
                for name in self._asked
                if name not in self._gpus
            },
        )

    def _is_due(self, name: str, now: float) -> bool:
        every_s = self._renewed_every_s if name in self._gpus else ASKED_EVERY_S
        asked_at = self._asked_at.get(name)
        return asked_at is None or (every_s is not None and now - asked_at >= every_s)

    async def _ask(self, name: str) -> None:
        try:
            self._gpus[name] = (await self._clusters[name].gpus()).total
        except SourceError as error:
            self._why[name] = str(error)


class Resized(Generic[Core]):
    """What is built from the sites, built anew when one says how large it is.

    Args:
        sizes: Who asks them.
        build: Builds it; keeps nothing that is not in the database.
    """

    def __init__(self, sizes: SiteSizes, build: Callable[[Sized], Core]) -> None:
        self._sizes = sizes
        self._build = build
        self._built: tuple[tuple[tuple[Site, ...], frozenset[str]], Core] | None = None

    async def now(self) -> tuple[Core, Sized]:
        """Return it as the sites are now, and them."""
        found = await self._sizes.read()
        known = (found.sites, frozenset(found.unsized))
        if self._built is None or self._built[0] != known:
            self._built = (known, self._build(found))
        return self._built[1], found
