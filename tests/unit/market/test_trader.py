"""What a trader takes the plan to use, worked by hand."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from gridflex.adapters.market.exchange import FolderExchange
from gridflex.adapters.market.mailbox import MarketFolder
from gridflex.adapters.market.position_book import PositionBook
from gridflex.agents.energy.sale import Exchange, Prices
from gridflex.agents.energy.settlement_rules import Rules, account_period
from gridflex.agents.energy.traded_sites import TradedSite
from gridflex.agents.energy.trader import Trader
from gridflex.counterfactual import RunNow
from gridflex.dispatch import Orders
from gridflex.fleet import Site
from gridflex.halfhour import HalfHour
from gridflex.jobs import JobId
from gridflex.lifecycle import Job
from gridflex.market.messages.artefacts import ArtefactKind
from gridflex.market.meters import Evidence, Reading
from gridflex.market.registry import Msid, MsidPair
from gridflex.market.registry_records import registry_event
from gridflex.market.settlement.compensation import MutualisedP415, ReferencePrice
from gridflex.market.trading.desk import TradingDesk
from gridflex.market.trading.messenger import Messenger
from gridflex.market.trading.orders import OrderPendingError
from gridflex.market.trading.restoring import MESSAGES
from gridflex.market.trading.selling import SalePolicy
from gridflex.planning.plan import PlannedRun
from gridflex.sandbox.exchange import SimulatedExchange
from gridflex.sandbox.market import SimulatedAgents
from gridflex.sandbox.market_folder import FolderMarket, Quotation
from tests.unit.market.days import CALENDAR
from tests.unit.market.memory import MemoryLedger
from tests.unit.market.registered import RECORDS
from tests.unit.market.test_desk import CHANNELS, OTHER, PAIR, UNIT
from tests.unit.test_counterfactual import HELD, MINUTE, SITE, SIX

TRADED = HalfHour(SIX) + 3
VOLTA = Site("leeds", gpus=8, gpu_type="V100", marginal_pue=1.5)
OURS = TradedSite("GRIDFLEX", UNIT, PAIR, "C", "SUPPLY", "AUTH000001")
ALL = PlannedRun(JobId("a"), "london", TRADED, 1, 8)


class Trade:
    """A desk that nothing is sold by, a job and its plan."""

    def __init__(self, job: Job, run: PlannedRun) -> None:
        self.job, self.run = job, run

    async def collect(self, *, now: datetime) -> None: ...

    def send_again(self, *, now: datetime) -> None: ...

    async def ended_since(self, _since: datetime) -> list[Job]:
        return []

    async def open_jobs(self) -> list[Job]:
        return [self.job]

    async def orders(self, _half_hour: HalfHour) -> Orders:
        return Orders(SIX, {self.job.id: self.run})


async def planned_mwh(granted: Mapping[str, Any], **run: Any) -> Decimal:  # noqa: ANN401
    job = replace(HELD, flexibility=replace(HELD.flexibility, **granted))
    one, ledger = cast("Any", Trade(job, replace(ALL, **run))), MemoryLedger()
    trader = Trader(
        OURS,
        trading=one,
        ledger=ledger,
        exchange=cast("Exchange", one),
        jobs=one,
        plans=one,
        run_now=RunNow([SITE, VOLTA], restart=MINUTE),
        policy=SalePolicy(sale_fraction=Decimal("0.8"), lot_mwh=Decimal(9)),
    )
    await trader.tick(SIX, prices={TRADED: Prices(Decimal(140), (Decimal(100),))})
    (committed,) = ledger.logged
    return Decimal(committed.event["body"]["planned_import_mwh"])


@pytest.mark.parametrize(
    ("granted", "run", "mwh"),
    [
        pytest.param({"power_kw": 4000.0}, {}, "2.0", id="as it is"),
        pytest.param({"power_kw": 4000.0}, {"gpus": 4}, "1.0", id="half its GPUs"),
        pytest.param({"power_kw": 4000.0}, {"power_cap_fraction": 0.57}, "1.246", id="under a cap"),
        pytest.param(
            {"power_kw": 4000.0},
            {"site": "leeds", "power_cap_fraction": 0.5},
            "1.635",  # 4 MW x 1.5 x 0.545 for half an hour
            id="under a cap elsewhere",
        ),
        pytest.param({"power_kw": 4000.0, "gpus": 0}, {"gpus": 0}, "2.0", id="without GPUs"),
    ],
)
async def test_the_plan_uses_what_the_meter_will_say(
    granted: dict[str, Any], run: dict[str, Any], mwh: str
) -> None:
    assert await planned_mwh(granted, **run) == Decimal(mwh)


class AllMoved(Trade):
    """A plan that leaves the job's half-hours free."""

    async def orders(self, _half_hour: HalfHour) -> Orders:
        return Orders(SIX, {})


def seller(
    root: Path,
    ledger: MemoryLedger,
    exchange: Exchange,
    *,
    site: TradedSite = OURS,
    shared: Messenger | None = None,
) -> Trader:
    granted = replace(HELD.flexibility, power_kw=4000.0, duration=240 * MINUTE)
    job = replace(HELD, flexibility=granted)
    one = cast("Any", AllMoved(job, ALL))
    desk = TradingDesk([], channels=CHANNELS, keys={"AUTH000001": "SECRET"}, calendar=CALENDAR)
    return Trader(
        site,
        trading=shared or Messenger(desk, ledger=ledger, mailbox=MarketFolder(root)),
        ledger=ledger,
        exchange=exchange,
        jobs=one,
        plans=one,
        run_now=RunNow([SITE, VOLTA], restart=MINUTE),
        policy=SalePolicy(sale_fraction=Decimal("0.8"), lot_mwh=Decimal("0.05")),
    )


async def test_an_invalid_answer_of_the_exchange_fails_its_own_half_hour(tmp_path: Path) -> None:
    exchange = FolderExchange(tmp_path, now=lambda: SIX)
    trader, later = seller(tmp_path, MemoryLedger(), exchange), SIX + 30 * MINUTE
    prices = {at: Prices(Decimal(140), (Decimal(100), Decimal(210))) for at in (TRADED, TRADED + 1)}
    with pytest.raises(OrderPendingError):
        await trader.tick(SIX, prices=prices)
    (order,) = (tmp_path / "orders").iterdir()
    (tmp_path / "trades" / order.name).write_text("{}")
    with pytest.raises(OrderPendingError):
        await trader.tick(SIX + MINUTE, prices=prices)

    with pytest.raises(OrderPendingError, match=f"{TRADED + 1} has no answer yet"):
        await trader.tick(later, prices=prices)

    assert list(trader.failed) == [TRADED]
    assert "reference is missing" in trader.failed[TRADED]
    assert trader.pending == (TRADED, TRADED + 1)


async def test_units_of_one_sender_share_its_numbers_and_no_volumes(tmp_path: Path) -> None:
    exchange = SimulatedExchange({TRADED: Decimal(140)}, depth_mw=Decimal(10))
    ledger = MemoryLedger()
    desk = TradingDesk([], channels=CHANNELS, keys={"AUTH000001": "SECRET"}, calendar=CALENDAR)
    shared = Messenger(desk, ledger=ledger, mailbox=MarketFolder(tmp_path))
    other = replace(OURS, unit=OTHER, pair=MsidPair(Msid("2000050773706")))
    prices = {TRADED: Prices(Decimal(140), (Decimal(100), Decimal(210)))}
    for site in (OURS, other):
        trader = seller(tmp_path, ledger, exchange, site=site, shared=shared)
        await trader.tick(SIX, prices=prices)
    there = SimulatedAgents(
        units=[UNIT, OTHER], keys={"AUTH000001": "SECRET"}, meters=None, calendar=CALENDAR
    )
    FolderMarket(tmp_path, agents=there, quotation=Quotation(Decimal(140), {})).round(SIX)
    await shared.collect(now=SIX)

    standing = [desk.position(unit, TRADED).track(ArtefactKind.ECVN) for unit in (UNIT, OTHER)]
    assert [one.standing_mwh for one in standing] == [Decimal("1.600")] * 2
    sent = [one.event["body"] for one in await ledger.find(*MESSAGES)]
    for kind in (ArtefactKind.SEV, ArtefactKind.WMAN, ArtefactKind.ECVN):
        assert [one["number"] for one in sent if one["artefact"] == kind] == [1, 2]


@pytest.mark.parametrize("is_accepted", [True, False])
async def test_a_sale_is_notified_only_where_its_notice_was_accepted(
    tmp_path: Path, is_accepted: bool
) -> None:
    exchange = SimulatedExchange({TRADED: Decimal(140)}, depth_mw=Decimal(10))
    ledger = MemoryLedger()
    trader = seller(tmp_path, ledger, exchange)
    prices = {TRADED: Prices(Decimal(140), (Decimal(100), Decimal(210)))}
    sold = await trader.tick(SIX, prices=prices)
    assert sold is not None
    assert sold.trade is not None
    if is_accepted:
        there = SimulatedAgents(
            units=[UNIT], keys={"AUTH000001": "SECRET"}, meters=None, calendar=CALENDAR
        )
        FolderMarket(tmp_path, agents=there, quotation=Quotation(Decimal(140), {})).round(SIX)
        await trader.tick(SIX + MINUTE, prices=prices)

    await ledger.append([registry_event(one) for one in RECORDS], now=SIX)
    book = PositionBook(ledger, calendar=CALENDAR)
    (tracked,) = await book.positions(first=TRADED, last=TRADED)
    reading = Reading(
        meter=PAIR.import_msid,
        half_hour=TRADED,
        import_kwh=Decimal(0),
        export_kwh=Decimal(0),
        evidence=Evidence.SETTLEMENT,
        is_substituted=False,
        received_at=SIX,
    )
    period = account_period(
        OURS,
        tracked,
        reading,
        system_gbp_per_mwh=Decimal(210),
        rules=Rules(MutualisedP415(), ReferencePrice(Decimal(90), is_official=False)),
    )
    (trade,) = period.sold
    assert trade.is_notified is is_accepted
