"""GridFlex over real PostgreSQL and two clusters in memory, with its clock in the test's hand."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.agent_store import AgentStore
from gridflex.adapters.clock import Clock
from gridflex.adapters.clusters.ray_jobs import RayJobs
from gridflex.adapters.forecasting.doubt_store import DoubtStore
from gridflex.adapters.forecasting.history import ForecastHistory
from gridflex.adapters.forecasting.model_store import ModelStore
from gridflex.adapters.forecasting.rank_store import RankStore
from gridflex.adapters.grid.store import GridStore
from gridflex.adapters.jobs.curtailment_store import CurtailmentStore
from gridflex.adapters.jobs.packages import PackageStore
from gridflex.adapters.jobs.plan_store import PlanStore
from gridflex.adapters.jobs.store import JobStore
from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.market.receipt_store import ReceiptStore
from gridflex.agents.doubts import StoredDoubts
from gridflex.agents.grid import Grid
from gridflex.agents.orchestrator import Orchestrator, OrchestratorReport
from gridflex.agents.other_load import OtherLoad
from gridflex.agents.ports import Ports
from gridflex.agents.workload import Workload, WorkloadReport
from gridflex.errors import SourceError
from gridflex.fleet import Site
from gridflex.halfhour import HalfHour
from gridflex.jobs import Flexibility, JobId, Tier
from gridflex.lifecycle import Job, JobRequest
from gridflex.planning.plan import PlannedRun
from gridflex.settings import ClockSettings, HttpSettings, PlannerSettings, Settings, SiteSettings
from gridflex.signals import Kind, Origin, Series, Signal
from tests.fake_ray import TERMINAL, FakeRay

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
RESTART = MINUTE
ASK_AGAIN = 10 * MINUTE

FLEXIBLE = Flexibility(
    tier=Tier.T3,
    deadline=NOON + 12 * HOUR,
    duration=2 * HOUR,
    duration_is_declared=True,
    interruptible=True,
    gpus=2,
    min_gpus=2,
    max_gpus=2,
    power_kw=10.0,
    sites=("london",),
)
ONE_SERVER = pytest.mark.parametrize("database_url", ["embedded_server"], indirect=True)
"""For tests of many steps or many cases in which nothing depends on the kind of server."""

TRAIN = JobRequest("python train.py", metadata={"gridflex.io/tier": "T3"})


class HandClock(Clock):
    """Shows what it was set to."""

    def __init__(self, moment: datetime) -> None:
        super().__init__(ClockSettings())
        self.moment = moment

    def now(self) -> datetime:
        """Return the time it was set to."""
        return self.moment


class Cluster(RayJobs):
    """A client of a cluster in memory; logs are followed there, not over the network."""

    def __init__(self, name: str, ray: FakeRay) -> None:
        super().__init__(f"http://{name}.test:8265", transport=ray.transport)
        self._ray = ray

    async def tail(self, ray_id: str) -> AsyncGenerator[str]:
        """Yield what a job has printed; the connection is lost if it has not ended."""
        job = self._ray.jobs.get(ray_id)
        if job is None:
            raise SourceError(f"logs of {ray_id}: HTTP 404")
        for line in job.logs.splitlines(keepends=True):
            yield line
        if job.status not in TERMINAL:
            raise SourceError(f"logs of {ray_id}: connection lost")


@dataclass
class World:
    """Everything, built on one database.

    Attributes:
        engine: Connections to the database.
        url: The same, for who connects by itself.
        folder: For packages.
        clock: GridFlex time; moves when the test says so.
        rays: The clusters by site name; london is the default site.
        http: Who is let in.
    """

    engine: AsyncEngine
    url: str
    folder: Path
    clock: HandClock = field(default_factory=lambda: HandClock(NOON))
    rays: dict[str, FakeRay] = field(
        default_factory=lambda: {"london": FakeRay(), "slough": FakeRay()}
    )
    http: HttpSettings = field(default_factory=lambda: HttpSettings(auth="disabled"))

    def __post_init__(self) -> None:
        self.jobs = JobStore(self.engine)
        self.plans = PlanStore(self.engine)
        self.curtailments = CurtailmentStore(self.engine)
        self.grid_store = GridStore(self.engine)
        self.packages = PackageStore(f"file://{self.folder}/packages")
        self.clusters: dict[str, RayJobs] = {
            name: Cluster(name, ray) for name, ray in self.rays.items()
        }
        self.sites = tuple(Site(name, gpus=8, gpu_type="H100") for name in self.rays)
        self.settings = Settings(
            state_dir=self.folder,
            database_url=self.url,
            sites=tuple(
                SiteSettings(name=name, gpus=8, ray_url=f"http://{name}.test:8265")
                for name in self.rays
            ),
            planner=PlannerSettings(horizon_half_hours=48, budget_s=1.0, front_budget_s=0.0),
            http=self.http,
        )

    @property
    def london(self) -> FakeRay:
        """The cluster of the default site."""
        return self.rays["london"]

    def ports(self) -> Ports:
        """Return what the HTTP application is built from."""
        return Ports(
            settings=self.settings,
            url=self.url,
            engine=self.engine,
            clock=self.clock,
            jobs=self.jobs,
            plans=self.plans,
            curtailments=self.curtailments,
            agents=AgentStore(self.engine),
            grid=self.grid(),
            models=ModelStore(self.engine, url=self.settings.model_url),
            archive=ForecastHistory(self.engine),
            ranks=RankStore(self.engine),
            doubts=DoubtStore(self.engine),
            clusters=self.clusters,
            packages=self.packages,
            ledger=(ledger := LedgerStore(self.engine)),
            receipts=ReceiptStore(self.engine, ledger=ledger),
        )

    def forget_size(self, site: str) -> None:
        """Leave it to a cluster to say how many GPUs its site has."""
        sites = tuple(
            one.model_copy(update={"gpus": None}) if one.name == site else one
            for one in self.settings.sites
        )
        self.settings = self.settings.model_copy(update={"sites": sites})

    def grid(self) -> Grid:
        """Return the grid agent's core, without any feed."""
        return Grid([], store=self.grid_store, doubting=StoredDoubts(DoubtStore(self.engine)))

    def workload(self, **changes: Any) -> Workload:  # noqa: ANN401 - any argument
        """Return a workload agent that knows nothing yet."""
        values: dict[str, Any] = {
            "jobs": self.jobs,
            "plans": self.plans,
            "curtailments": self.curtailments,
            "clusters": self.clusters,
            "sites": self.sites,
            "packages": self.packages,
            "restart": RESTART,
            "ask_again_after": ASK_AGAIN,
            "checkpoint_root": "/checkpoints",
            "clock": self.clock.now,
            "gridflex_time": self.clock.at,
        }
        return Workload(**{**values, **changes})

    def orchestrator(self, **changes: Any) -> Orchestrator:  # noqa: ANN401 - any argument
        """Return an orchestration engine that knows nothing yet."""
        values: dict[str, Any] = {
            "jobs": self.jobs,
            "plans": self.plans,
            "curtailments": self.curtailments,
            "grid": self.grid(),
            "clusters": self.clusters,
            "sites": self.sites,
            "settings": self.settings.planner,
            "other_load": OtherLoad(self.grid_store),
        }
        return Orchestrator(**{**values, **changes})

    def pass_time(self, by: timedelta) -> datetime:
        """Move GridFlex time and the clocks of the clusters on."""
        self.clock.moment += by
        for ray in self.rays.values():
            ray.wall = self.clock.moment
        return self.clock.moment

    async def tick(self, agent: Workload | None = None) -> WorkloadReport:
        """Let a workload agent look and act once, now."""
        return await (agent or self.workload()).tick(self.clock.moment)

    async def replan(self, reason: str = "tick") -> OrchestratorReport:
        """Let an orchestration engine plan once, now."""
        return await self.orchestrator().tick(self.clock.moment, reason=reason)

    async def submit(
        self, name: str = "job-1", request: JobRequest = TRAIN, flexibility: Flexibility = FLEXIBLE
    ) -> JobId:
        """Store a flexible job now."""
        await self.jobs.add(JobId(name), request, flexibility, submitted_at=self.clock.moment)
        return JobId(name)

    async def job(self, name: str = "job-1") -> Job:
        """Return a job that is there."""
        found = await self.jobs.get(JobId(name))
        assert found is not None
        return found

    async def plan(
        self,
        runs: Mapping[str, list[tuple[datetime, int]]],
        *,
        site: str = "london",
        gpus: int = 2,
    ) -> int:
        """Commit a plan by hand from this half-hour on: start and half-hours of each run."""
        planned = {
            JobId(name): tuple(
                PlannedRun(JobId(name), site, HalfHour.containing(start), half_hours, gpus)
                for start, half_hours in of_job
            )
            for name, of_job in runs.items()
        }
        return await self.plans.commit(
            planned,
            made_at=self.clock.moment,
            start=HalfHour.containing(self.clock.moment),
            reason="test",
            result={},
            inputs={},
        )

    async def forecast(
        self, *, price: list[float], intensity: list[float], region: str = "GB"
    ) -> None:
        """Let price and intensity be forecast from this half-hour on."""
        start = HalfHour.containing(self.clock.moment)
        await self.grid_store.save_series(
            [
                Series(
                    signal=signal,
                    kind=Kind.FORECAST,
                    source=f"test/{signal}",
                    origin=Origin.RECORDED,
                    region=region,
                    start=start,
                    values=np.array(values),
                    issued_at=self.clock.moment,
                    available_at=self.clock.moment,
                )
                for signal, values in ((Signal.PRICE, price), (Signal.INTENSITY, intensity))
            ]
        )
