"""Everything an agent or an API replica needs, built once from the settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.agent_store import AgentStore
from gridflex.adapters.clock import Clock
from gridflex.adapters.clusters.ray_jobs import RayJobs
from gridflex.adapters.database import connect, ensure_database
from gridflex.adapters.forecasting.doubt_store import DoubtStore
from gridflex.adapters.forecasting.history import ForecastHistory
from gridflex.adapters.forecasting.model_store import ModelStore
from gridflex.adapters.forecasting.rank_store import RankStore
from gridflex.adapters.grid.feeds import grid_feeds
from gridflex.adapters.grid.store import GridStore
from gridflex.adapters.jobs.curtailment_store import CurtailmentStore
from gridflex.adapters.jobs.packages import PackageStore
from gridflex.adapters.jobs.plan_store import PlanStore
from gridflex.adapters.jobs.store import JobStore
from gridflex.adapters.ledger.key import LedgerKey
from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.market.receipt_store import ReceiptStore
from gridflex.adapters.market.tariff_files import TariffFiles
from gridflex.agents.doubts import LearntDoubts, StoredDoubts
from gridflex.agents.forecasting import OwnForecasts, own_leads
from gridflex.agents.grid import Grid
from gridflex.agents.retraining import Cluster, Retraining
from gridflex.agents.site_sizes import SiteSizes
from gridflex.errors import SourceError
from gridflex.fleet import Site
from gridflex.settings import Settings
from gridflex.settings_files import write_settings


@dataclass(frozen=True, slots=True)
class Ports:
    """Adapters over one database, one clock and the clusters of the settings.

    Args:
        settings: What they were built from.
        url: The database.
        engine: Connections to it.
        clock: GridFlex time.
        jobs: Jobs and attempts.
        plans: Plans.
        curtailments: Orders to free power.
        agents: Signs of life.
        grid: Prices and intensity, polled and known.
        models: Trained forecasters.
        archive: What was said of the grid, and when.
        ranks: Whose forecast of the grid goes first.
        doubts: How far forecasts have been off.
        clusters: Job API of each site, by site name.
        packages: Uploaded packages.
        ledger: The ledger, without its key; see `signing_ledger`.
        receipts: Receipts of jobs.
    """

    settings: Settings
    url: str = field(repr=False)  # may hold a password
    engine: AsyncEngine
    clock: Clock
    jobs: JobStore
    plans: PlanStore
    curtailments: CurtailmentStore
    agents: AgentStore
    grid: Grid
    models: ModelStore
    archive: ForecastHistory
    ranks: RankStore
    doubts: DoubtStore
    clusters: Mapping[str, RayJobs]
    packages: PackageStore
    ledger: LedgerStore
    receipts: ReceiptStore

    def signing_ledger(self) -> LedgerStore:
        """Return the ledger with its key, for the one process that signs.

        Raises:
            ContractError: Others may read the key, or it is another ledger's.
            SourceError: The key's folder cannot be used.
        """
        origin = self.settings.ledger.origin
        key = LedgerKey(self.settings.ledger_key_path, origin=origin)
        return LedgerStore(self.engine, key=key)

    def own_forecasts(self) -> OwnForecasts:
        """Return what forecasts with our own champions."""
        return OwnForecasts(
            models=self.models,
            archive=self.archive,
            issues=GridStore(self.engine),
            ranks=self.ranks,
            skill_days=self.settings.forecast.skill_days,
        )

    def learnt_doubts(self) -> LearntDoubts:
        """Return what learns how far forecasts are off."""
        return LearntDoubts(archive=self.archive, store=self.doubts)

    def retraining(self, cluster: Cluster) -> Retraining:
        """Return what trains our forecasters again on a cluster that has this machine's paths."""
        return Retraining(
            models=self.models,
            cluster=cluster,
            settings=self.settings.forecast,
            config=lambda: str(write_settings(self.settings)),
        )

    @property
    def tariffs(self) -> TariffFiles:
        """Delivered prices of the sites that have a tariff."""
        return TariffFiles(
            {site.name: site.tariff for site in self.settings.sites if site.tariff is not None}
        )

    @property
    def restart(self) -> timedelta:
        """What a start takes before work goes on, in GridFlex time."""
        return timedelta(seconds=self.settings.planner.restart_s)

    def sizes(self, *, renewed_every_s: float | None = None) -> SiteSizes:
        """Return who asks the sites how large they are; see `SiteSizes`."""
        sites = self.settings.sites
        return SiteSizes(sites, self.clusters, renewed_every_s=renewed_every_s)

    async def sites(self) -> tuple[Site, ...]:
        """Return the domain's view of the sites, the default one first.

        Raises:
            SourceError: A site's size is not configured and its cluster does not say.
        """
        found = await self.sizes().read()
        for name, why in found.degraded.items():
            raise SourceError(f"{name}: {why}")
        return found.sites


def build_ports(settings: Settings, *, pool_size: int = 5) -> Ports:
    """Return the adapters; starts the embedded database where the settings name no other.

    Args:
        settings: All that is configured.
        pool_size: Database connections at most.

    Raises:
        SourceError: The database cannot be reached.
    """
    url = ensure_database(settings)
    engine = connect(url, pool_size=pool_size)
    store = GridStore(engine)
    ranks = RankStore(engine)
    doubts = DoubtStore(engine)
    regions = [site.postcode for site in settings.sites if site.postcode]
    ledger = LedgerStore(engine)
    clusters = {site.name: RayJobs.of_site(site) for site in settings.sites}
    return Ports(
        settings=settings,
        url=url,
        engine=engine,
        clock=Clock(settings.clock),
        jobs=JobStore(engine),
        plans=PlanStore(engine),
        curtailments=CurtailmentStore(engine),
        agents=AgentStore(engine),
        grid=Grid(
            grid_feeds(settings.grid, regions=regions, archive=store).feeds,
            store=store,
            poll_every=timedelta(seconds=settings.grid.poll_s),
            own_leads=own_leads(settings.forecast, ranks),
            doubting=StoredDoubts(doubts),
        ),
        models=ModelStore(engine, url=settings.model_url),
        archive=ForecastHistory(engine),
        ranks=ranks,
        doubts=doubts,
        clusters=clusters,
        packages=PackageStore(settings.package_url),
        ledger=ledger,
        receipts=ReceiptStore(engine, ledger=ledger),
    )
