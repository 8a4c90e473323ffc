"""The seller of a running system, built from its settings, against the simulated market."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

from gridflex.adapters.ledger.store import LedgerStore
from gridflex.agents.beckn.ports import SizedPlanner
from gridflex.agents.energy.ports import build_seller
from gridflex.energy_settings import EnergySettings
from gridflex.halfhour import HalfHour
from gridflex.market.baselines.waivers import Waiver, waiver_event
from gridflex.market.messages.idd import read_header
from gridflex.market.registry import UnitId
from gridflex.market.registry_records import registry_event
from gridflex.sandbox.market import SimulatedAgents
from gridflex.sandbox.market_folder import FolderMarket, Quotation
from tests.e2e.world import FLEXIBLE, HOUR, MINUTE, NOON, World
from tests.unit.market.days import CALENDAR
from tests.unit.market.registered import RECORDS
from tests.unit.market.test_desk import UNIT

TRADED = HalfHour.containing(NOON) + 3
BIG = replace(FLEXIBLE, power_kw=2000.0, duration=timedelta(hours=4))


async def test_a_system_with_a_unit_writes_the_documented_files(
    world: World, tmp_path: Path
) -> None:
    folder = tmp_path / "energy"
    energy = EnergySettings(
        unit=UNIT, authorisation="AUTH000001", credential="SECRET", phase="SIML", folder=folder
    )
    world.settings = world.settings.model_copy(update={"energy": energy})
    allowed = waiver_event(Waiver(UnitId(UNIT), NOON.date() + timedelta(days=30), "first start"))
    registered = [registry_event(one) for one in RECORDS]
    await LedgerStore(world.engine).append([*registered, allowed], now=NOON)
    await world.forecast(price=[90.0] * 48, intensity=[100.0] * 48)
    await world.submit(flexibility=BIG)
    await world.plan({"job-1": [(NOON + 6 * HOUR, 8)]})
    market = FolderMarket(
        folder,
        agents=SimulatedAgents(
            units=[UnitId(UNIT)], keys={"AUTH000001": "SECRET"}, meters=None, calendar=CALENDAR
        ),
        quotation=Quotation(Decimal(140), {}),
    )
    seller = await build_seller(world.ports())

    offered = await seller.tick(world.clock.moment)
    sent = {path.name: path.read_bytes() for path in (folder / "outbox").iterdir()}
    market.round(world.clock.moment)
    sold = await seller.tick(world.pass_time(MINUTE))
    market.round(world.clock.moment)
    settled = await seller.tick(world.pass_time(MINUTE))

    headers = [read_header(sent[name]) for name in sorted(sent)]
    assert [(one.file_type, one.from_party, one.phase) for one in headers] == [
        ("P0328001", "GRIDFLEX", "SIML"),
        ("E0511001", "GRIDFLEX", "SIML"),
    ]
    assert offered.pending == (str(TRADED),)
    assert sold.sold[0] == str(TRADED)
    # 2 MW at PUE 1.1 for half an hour, 80 % of it, in lots of 0.1 MW
    assert Decimal(sold.sold[1]) == Decimal("0.850")
    assert settled.degraded == {}
    assert {one.name for one in (folder / "taken").iterdir()} == {
        "EN000000000001",
        "VP000000000001",
        "VT000000000001",
    }


async def test_a_system_without_a_tariff_or_a_unit_plans_as_before(world: World) -> None:
    planner = SizedPlanner(world.ports())
    await world.forecast(price=[90.0] * 48, intensity=[100.0] * 48)

    position = await planner.position(world.clock.moment)

    assert position.price_basis == {"london": "commodity", "slough": "commodity"}
