"""Power limits of planned modes over real PostgreSQL; the GPUs are simulated behind NVML."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psycopg
import pytest

from gridflex.adapters.database import psycopg_url
from gridflex.adapters.power.nvml import Nvml
from gridflex.adapters.power.store import PowerAbilities, PowerStore
from gridflex.agents.power.capping import Capping, Cluster
from gridflex.agents.power.keeper import LEASE_S, PowerKeeper
from gridflex.agents.workload import Workload, WorkloadReport
from gridflex.capping import GpuSlot, NodePower
from gridflex.errors import NoAnswerError
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId
from gridflex.lifecycle import JobEventKind
from gridflex.planning.plan import PlannedRun
from tests.e2e.world import FLEXIBLE, HOUR, MINUTE, NOON, ONE_SERVER, World
from tests.nvml import BINDINGS, STATE_VARIABLE, FakeGpus

pytestmark = ONE_SERVER

NODE = "node-1"
CAPPED = replace(FLEXIBLE, power_kw=10.0)
LIMITED_KW = 10.0 * 0.623 * 1.1  # Hopper at 57 %, PUE 1.1


@dataclass
class Guard:
    """Promises of a process that a test ends by hand."""

    promised: dict[str, float] = field(default_factory=dict)

    def promise(self, uuid: str, watts: float) -> None:
        self.promised[uuid] = watts

    def release(self, uuid: str) -> None:
        self.promised.pop(uuid, None)

    def watch(self) -> None:
        pass


@dataclass
class Keepers:
    """One node's keeper in this process."""

    monotonic_s: Callable[[], float]
    is_silent: bool = False
    node: str | None = NODE

    def __post_init__(self) -> None:
        self.start_again()

    def start_again(self) -> None:
        """Be a new process; the guard of the one before has done its work, or has not."""
        self.guard = Guard()
        self.keeper = PowerKeeper(Nvml, guard=self.guard, raylet={}, monotonic_s=self.monotonic_s)

    async def reports(self) -> Mapping[str, NodePower]:
        return {self.node: self.keeper.report()} if self.node else {}

    async def limit(self, node: str, gpu: str, watts: float, *, before_w: float) -> None:
        self._there(node).limit(gpu, watts, before_w=before_w)

    async def lift(self, node: str, gpu: str, before_w: float) -> None:
        self._there(node).lift(gpu, before_w)

    async def hold(self, node: str) -> frozenset[str]:
        return self._there(node).hold()

    def _there(self, node: str) -> PowerKeeper:
        if self.is_silent or node != self.node:
            raise NoAnswerError(f"node {node}: no answer")
        return self.keeper


@dataclass
class Site:
    """London with two GPUs whose limits GridFlex sets."""

    world: World
    gpus: FakeGpus
    wall_s: float = 0.0
    slots: dict[str, Sequence[GpuSlot]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keepers = Keepers(lambda: self.wall_s)
        self.store = PowerStore(self.world.engine)
        self.agent = self.new_agent()

    def new_agent(self) -> Workload:
        """Return a workload agent that knows nothing but the database."""
        capping = Capping(
            store=self.store,
            keepers=self.keepers,
            clusters={"london": Cluster(nodes=self._nodes, slots=self._slots)},
            check_every=MINUTE,
        )
        return self.world.workload(capping=capping)

    async def tick(self) -> WorkloadReport:
        """Let the agent look and act."""
        return await self.world.tick(self.agent)

    async def run(self, *, cap: float = 0.57, half_hours: int = 8) -> None:
        """Have job-1 run on both GPUs under a limit since noon, by plan."""
        await self.world.submit(flexibility=CAPPED)
        run = PlannedRun(JobId("job-1"), "london", HalfHour.containing(NOON), half_hours, 2, cap)
        await self.world.plans.commit(
            {JobId("job-1"): (run,)}, made_at=NOON, start=HalfHour.containing(NOON),
            reason="test", result={}, inputs={},
        )  # fmt: skip
        await self.tick()
        self.world.london.run("job-1")
        self.slots["job-1"] = (GpuSlot(NODE, 0), GpuSlot(NODE, 1))
        await self.tick()

    async def told(self) -> list[str]:
        """Return what was recorded of job-1's power."""
        kinds = {
            JobEventKind.POWER_LIMITED,
            JobEventKind.POWER_NOT_LIMITED,
            JobEventKind.POWER_RESTORED,
        }
        events = await self.world.jobs.events(JobId("job-1"))
        return [one.kind for one in events if one.kind in kinds]

    async def _nodes(self) -> Sequence[str]:
        return [NODE]

    async def _slots(self) -> Mapping[str, Sequence[GpuSlot]]:
        return self.slots


@pytest.fixture
def site(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.syspath_prepend(BINDINGS)
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "gpus.json"))
    return Site(world, FakeGpus.make(tmp_path / "gpus.json"))


async def test_a_run_is_limited_recorded_metered_and_its_gpus_are_restored_when_it_ends(
    site: Site,
) -> None:
    await site.run()

    assert site.gpus.limits_w == [399.0, 399.0]
    limits = await site.store.open()
    assert [(one.gpu, one.before_w, one.limit_w, one.set_at) for one in limits] == [
        ("GPU-0", 700.0, 399.0, NOON),
        ("GPU-1", 700.0, 399.0, NOON),
    ]
    asked = site.world.london.jobs["job-1"].request["runtime_env"]["env_vars"]
    assert asked["GRIDFLEX_POWER_CAP_FRACTION"] == "0.57"

    site.world.pass_time(HOUR)
    await site.tick()
    site.world.london.end("job-1")
    await site.tick()

    assert site.gpus.limits_w == [700.0, 700.0]
    assert await site.store.open() == []
    assert await site.told() == ["power limited", "power restored"]
    energy = await site.world.jobs.energy(["job-1"])
    assert [row.energy_kwh for row in energy] == pytest.approx([LIMITED_KW / 2] * 2)


async def test_a_limit_is_recorded_before_it_is_set(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def die(*_: object, **__: object) -> None:
        limits = await site.store.open()
        assert [(one.gpu, one.set_at) for one in limits] == [("GPU-0", None)]
        raise KeyboardInterrupt

    monkeypatch.setattr(site.keepers, "limit", die)
    with pytest.raises(KeyboardInterrupt):
        await site.run()

    monkeypatch.undo()


@pytest.mark.parametrize("guard_worked", [True, False])
async def test_after_the_death_of_everything_limits_are_lifted_and_set_anew(
    site: Site, *, guard_worked: bool
) -> None:
    await site.run()
    site.keepers.start_again()
    if guard_worked:
        Nvml().set_limit("GPU-0", 700.0)
        Nvml().set_limit("GPU-1", 700.0)
    site.agent = site.new_agent()
    site.world.pass_time(15 * MINUTE)

    await site.tick()

    assert site.gpus.limits_w == [399.0, 399.0]
    assert sorted(site.keepers.guard.promised.items()) == [("GPU-0", 700.0), ("GPU-1", 700.0)]
    assert await site.told() == ["power limited", "power restored", "power limited"]


async def test_a_limit_whose_run_ended_while_everything_was_dead_is_lifted_at_start_up(
    site: Site,
) -> None:
    await site.run()
    site.keepers.start_again()  # and its guard was killed as well
    site.world.london.end("job-1")
    assert site.gpus.limits_w == [399.0, 399.0]

    site.agent = site.new_agent()
    await site.tick()

    assert site.gpus.limits_w == [700.0, 700.0]
    assert await site.store.open() == []


async def test_an_agent_that_falls_silent_leaves_no_limit(site: Site) -> None:
    await site.run()
    site.wall_s += LEASE_S - 1
    site.keepers.keeper.lapse()
    assert site.gpus.limits_w == [399.0, 399.0]
    await site.tick()
    site.wall_s += LEASE_S - 1
    site.keepers.keeper.lapse()
    assert site.gpus.limits_w == [399.0, 399.0]

    site.wall_s += 1
    site.keepers.keeper.lapse()

    assert site.gpus.limits_w == [700.0, 700.0]


async def test_only_the_time_under_a_limit_is_metered_as_such(site: Site) -> None:
    await site.run()
    site.keepers.start_again()
    Nvml().set_limit("GPU-0", 700.0)
    Nvml().set_limit("GPU-1", 700.0)
    site.world.pass_time(15 * MINUTE)
    site.slots.clear()  # the cluster does not say any more what the job holds
    await site.tick()

    site.world.pass_time(15 * MINUTE)
    await site.tick()

    (energy,) = await site.world.jobs.energy(["job-1"])
    assert energy.energy_kwh == pytest.approx((LIMITED_KW + 11.0) / 4)


async def test_where_limits_cannot_be_set_runs_have_none_plans_none_and_somebody_is_told(
    site: Site,
) -> None:
    site.gpus.change(is_root=False)
    await site.run()

    (attempt,) = (await site.world.job()).attempts
    assert attempt.power_cap_fraction == 1.0
    asked = site.world.london.jobs["job-1"].request["runtime_env"]["env_vars"]
    assert asked["GRIDFLEX_POWER_CAP_FRACTION"] == "1"
    ability = (await site.store.abilities())["london"]
    assert not ability.is_able
    assert "Insufficient Permissions; start Ray as root where the GPUs are" in ability.detail
    assert await PowerAbilities(site.store, asked=["london"]).unlimited() == {"london"}
    site.world.pass_time(30 * MINUTE)
    assert (await site.world.tick(site.agent)).actions == {}  # it runs as it can

    site.gpus.change(is_root=True)
    site.gpus.swap(1, "NVIDIA A100")
    site.world.pass_time(2 * MINUTE)

    detail = (await site.tick()).degraded["power limits of london"]
    assert "its GPUs differ (NVIDIA A100, NVIDIA H200)" in detail
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in detail
    assert (await site.store.abilities())["london"].detail == detail
    assert site.gpus.changes_w == []

    site.gpus.swap(1, "NVIDIA H200")
    site.world.pass_time(2 * MINUTE)
    assert (await site.tick()).degraded == {}

    assert (await site.store.abilities())["london"].detail == (
        "can be set on 2 GPUs, from 29% of their default on"
    )
    assert await PowerAbilities(site.store, asked=["london"]).unlimited() == frozenset()


async def test_permission_that_is_lost_meanwhile_is_an_event_of_the_job_once(site: Site) -> None:
    await site.world.submit("other")
    await site.tick()
    site.gpus.change(is_root=False)
    await site.run()
    await site.tick()
    assert not (await site.store.abilities())["london"].is_able
    site.world.pass_time(10 * MINUTE)
    await site.tick()

    events = await site.world.jobs.events(JobId("job-1"))
    (why,) = [one.detail for one in events if one.kind == JobEventKind.POWER_NOT_LIMITED]
    assert "Insufficient Permissions" in why["why"]
    assert site.gpus.changes_w == []
    site.world.pass_time(20 * MINUTE)
    await site.tick()
    (energy,) = await site.world.jobs.energy(["job-1"])
    assert energy.energy_kwh == pytest.approx(5.5)


async def test_a_node_that_does_not_answer_keeps_its_limits_recorded(site: Site) -> None:
    await site.run()
    site.keepers.is_silent = True
    site.world.london.end("job-1")

    await site.tick()
    assert len(await site.store.open()) == 2

    site.keepers.is_silent = False
    await site.tick()
    assert await site.store.open() == []
    assert site.gpus.limits_w == [700.0, 700.0]


async def test_a_limit_of_which_nobody_knows_whether_it_was_set_is_lifted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_limit = site.keepers.limit

    async def answer_too_late(node: str, gpu: str, watts: float, *, before_w: float) -> None:
        await set_limit(node, gpu, watts, before_w=before_w)
        raise NoAnswerError(f"node {node}: no answer about power in 20 s")

    monkeypatch.setattr(site.keepers, "limit", answer_too_late)
    await site.run()
    monkeypatch.setattr(site.keepers, "limit", set_limit)
    await site.tick()
    site.world.london.end("job-1")
    await site.tick()

    assert site.gpus.limits_w == [700.0, 700.0]
    assert {one.before_w for one in await site.store.of_attempts([(JobId("job-1"), 1)])} == {700.0}


async def test_a_gpu_that_comes_back_on_another_node_is_not_forgotten(site: Site) -> None:
    await site.run()
    site.keepers.start_again()  # all processes of the machine were killed at once
    site.keepers.node = None
    site.slots.clear()
    site.world.london.end("job-1")
    site.world.pass_time(2 * MINUTE)
    await site.tick()

    site.keepers.node = "node-2"
    site.world.pass_time(2 * MINUTE)
    await site.tick()

    assert site.gpus.limits_w == [700.0, 700.0]
    assert await site.store.open() == []


async def test_a_gpu_that_is_nowhere_for_more_than_a_day_is_not_waited_for(site: Site) -> None:
    await site.run()
    site.keepers.node = None
    site.world.london.end("job-1")
    site.world.pass_time(23 * HOUR)
    await site.tick()
    assert len(await site.store.open()) == 2

    site.world.pass_time(2 * HOUR)
    await site.tick()

    assert await site.store.open() == []


async def test_a_gpu_that_went_over_to_another_job_is_not_limited_any_more(site: Site) -> None:
    await site.run()
    site.slots["job-1"] = (GpuSlot(NODE, 0),)
    site.slots["another"] = (GpuSlot(NODE, 1),)
    site.world.pass_time(2 * MINUTE)

    await site.tick()

    assert site.gpus.limits_w == [399.0, 700.0]


async def test_a_limit_that_an_operator_had_set_comes_back(site: Site) -> None:
    Nvml().set_limit("GPU-0", 650.0)
    await site.run()
    site.world.london.end("job-1")
    await site.tick()

    assert site.gpus.limits_w == [650.0, 700.0]


async def test_a_plan_has_no_power_limits_where_they_cannot_be_set(site: Site) -> None:
    world = site.world
    await world.forecast(price=[100.0] * 48, intensity=[100.0] * 48)
    await world.submit(flexibility=CAPPED)
    sites = tuple(replace(one, power_caps=(0.57,)) for one in world.sites)
    abilities = PowerAbilities(site.store, asked=["london"])

    async def caps() -> set[float]:
        agent = world.orchestrator(sites=sites, abilities=abilities)
        await agent.tick(world.clock.moment, reason="test")
        plan = await world.plans.newest()
        assert plan is not None
        return {run.power_cap_fraction for run in plan.runs[JobId("job-1")]}

    assert await caps() == {1.0}
    await site.tick()  # sees that it can
    assert await caps() == {0.57}  # 0.623 of the power for 1 / 0.73 of the time


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE power_limit SET limit_w = 1",
        "UPDATE power_limit SET set_at = set_at + interval '1 hour'",
        "DELETE FROM power_limit",
        "TRUNCATE power_limit",
    ],
)
async def test_a_limit_cannot_be_changed_behind_our_back(site: Site, change: str) -> None:
    await site.run()

    with (
        psycopg.connect(psycopg_url(site.world.url)) as connection,
        pytest.raises(psycopg.errors.RestrictViolation),
    ):
        connection.execute(change)
