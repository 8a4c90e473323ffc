"""The seller of energy over real adapters."""

from __future__ import annotations

from decimal import Decimal

from gridflex.adapters.grid_store import GridStore
from gridflex.adapters.market_files import MarketFolder
from gridflex.adapters.market_orders import FolderExchange
from gridflex.adapters.position_book import PositionBook
from gridflex.agents.counterfactual import RunNow
from gridflex.agents.energy import EnergySeller, EnergyTerms
from gridflex.agents.ports import Ports
from gridflex.agents.sale_prices import SalePrices
from gridflex.agents.traded import TradedSite
from gridflex.agents.trader import Trader
from gridflex.errors import ContractError
from gridflex.market.artefacts import channels_of
from gridflex.market.desk import TradingDesk
from gridflex.market.registry import UnitId
from gridflex.market.selling import SalePolicy
from gridflex.market.trading import Trading
from gridflex.market.volumes import HOURS_PER_HALF_HOUR
from gridflex.market.working_days import WorkingCalendar, calendar_around
from gridflex.settings import Settings


async def build_seller(ports: Ports) -> EnergySeller:
    """Return the seller of the unit that the settings name.

    Raises:
        ContractError: They name none.
        SourceError: A site's size is not configured and its cluster does not say.
    """
    terms = energy_terms(ports.settings)
    today = ports.clock.now().date()
    calendar = calendar_around(today)
    run_now = RunNow(await ports.sites(), restart=ports.restart)
    return EnergySeller(
        terms,
        book=PositionBook(ports.ledger, calendar=calendar),
        quotes=SalePrices(ports.grid, GridStore(ports.engine)),
        make_trader=lambda site: _trader(ports, site, run_now, calendar),
        calendar=calendar,
    )


def energy_terms(settings: Settings) -> EnergyTerms:
    """Return what the settings say is traded.

    Raises:
        ContractError: They name no unit.
    """
    if settings.energy.unit is None:
        raise ContractError("energy.unit is not set: no energy is sold")
    return EnergyTerms(
        UnitId(settings.energy.unit),
        settings.energy.site or settings.sites[0].name,
        settings.energy.authorisation,
    )


def _trader(ports: Ports, site: TradedSite, run_now: RunNow, calendar: WorkingCalendar) -> Trader:
    settings, folder = ports.settings.energy, ports.settings.energy_path
    key = settings.credential.get_secret_value() if settings.credential else ""
    desk = TradingDesk(
        [],
        channels=channels_of(site.account, phase=settings.phase),
        keys={settings.authorisation: key},
        calendar=calendar,
    )
    return Trader(
        site,
        trading=Trading(desk, ledger=ports.ledger, mailbox=MarketFolder(folder)),
        ledger=ports.ledger,
        exchange=FolderExchange(folder, now=ports.clock.now),
        jobs=ports.jobs,
        plans=ports.plans,
        run_now=run_now,
        policy=SalePolicy(
            risk_aversion=settings.risk_aversion,
            sale_fraction=settings.sale_fraction,
            lot_mwh=Decimal(settings.lot_mw * HOURS_PER_HALF_HOUR),
        ),
    )
