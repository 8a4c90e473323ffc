"""The seller of energy over real adapters."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

from gridflex.adapters.grid.feeds import system_prices
from gridflex.adapters.grid.store import GridStore
from gridflex.adapters.market.baseline_facts import BaselineFacts
from gridflex.adapters.market.exchange import FolderExchange
from gridflex.adapters.market.loss_file import LossFile
from gridflex.adapters.market.mailbox import MarketFolder
from gridflex.adapters.market.position_book import PositionBook
from gridflex.agents.energy.admission import Admissions
from gridflex.agents.energy.reductions import Reductions
from gridflex.agents.energy.sale_prices import SalePrices
from gridflex.agents.energy.seller import EnergySeller
from gridflex.agents.energy.settlement_rules import NO_EXPORTS, SettlementTerms
from gridflex.agents.energy.settling import Settlements, Settler
from gridflex.agents.energy.system_prices import SystemPrices
from gridflex.agents.energy.traded_sites import EnergyTerms, TradedSite
from gridflex.agents.energy.trader import Trader
from gridflex.agents.ports import Ports
from gridflex.counterfactual import RunNow
from gridflex.energy_settings import EnergySettings
from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.baselines.quality import PREDICTABILITY, PredictabilityLimits
from gridflex.market.messages.artefacts import channels_of
from gridflex.market.policy import Dated, Effective
from gridflex.market.registry import UnitId
from gridflex.market.settlement.authority import Authority
from gridflex.market.settlement.calendar import published_days
from gridflex.market.settlement.compensation import (
    REFERENCE_PRICES,
    ReferencePrice,
    with_export_thresholds,
)
from gridflex.market.settlement.losses import Losses, LossFactors, LossSource
from gridflex.market.settlement.runs import NO_INTEREST
from gridflex.market.trading.desk import TradingDesk
from gridflex.market.trading.messenger import Messenger
from gridflex.market.trading.selling import SalePolicy
from gridflex.market.volumes import HOURS_PER_HALF_HOUR, ExportMWh
from gridflex.market.working_days import WorkingCalendar, calendar_around
from gridflex.settings import Settings

SOURCE: Final = "settings"
"""Where what the settings give comes from, as settlements say it."""


async def build_seller(ports: Ports) -> EnergySeller:
    """Return the seller of the unit that the settings name.

    Raises:
        ContractError: They name none.
        SourceError: A site's size is not configured and its cluster does not say.
    """
    terms = energy_terms(ports.settings)
    today = ports.clock.now().date()
    calendar = calendar_around(today)
    losses = losses_of(ports.settings.energy)
    run_now = RunNow(await ports.sites(), restart=ports.restart)
    book = PositionBook(ports.ledger, calendar=calendar)
    store = GridStore(ports.engine)
    return EnergySeller(
        terms,
        book=book,
        quotes=SalePrices(ports.grid, store),
        make_trader=lambda site: _trader(ports, site, run_now, calendar),
        settlements=Settlements(
            book=book,
            ledger=ports.ledger,
            settler=Settler(ledger=ports.ledger, reductions=Reductions(ports.jobs, run_now)),
            prices=SystemPrices(store, ask=system_prices(ports.settings.grid, archive=store)),
            terms=settlement_terms(ports.settings.energy, losses=losses),
            calendar=calendar,
        ),
        admissions=Admissions(
            BaselineFacts(ports.ledger), limits=predictability_limits(ports.settings.energy)
        ),
        calendar=calendar,
        losses=losses,
    )


def authority_of(settings: EnergySettings) -> Authority:
    """Return which figures of central reports count by the settings."""
    return Authority(
        frozenset(settings.reported),
        tolerance_mwh=settings.report_tolerance_mwh,
        tolerance_gbp_per_mwh=settings.report_tolerance_gbp_per_mwh,
    )


def settlement_terms(settings: EnergySettings, *, losses: LossSource) -> SettlementTerms:
    """Return by what the settings settle: their reference prices over those that are derived.

    Args:
        settings: Theirs.
        losses: As the settings give them; shared with who sells by them.

    Raises:
        ContractError: Their reference prices overlap.
    """
    rows = sorted(settings.reference_prices, key=lambda row: row.start)
    prices = Dated(
        REFERENCE_PRICES.name,
        tuple(
            Effective(
                row.start, ReferencePrice(row.gbp_per_mwh, row.is_official), SOURCE, row.until
            )
            for row in rows
        ),
    )
    exports = tuple(
        Effective(row.start, ExportMWh(row.largest_mwh), SOURCE) for row in settings.exports
    )
    return SettlementTerms(
        prices.over(REFERENCE_PRICES),
        compensation=with_export_thresholds(
            [
                Effective(
                    row.start,
                    None if row.threshold_mwh is None else ExportMWh(row.threshold_mwh),
                    SOURCE,
                )
                for row in settings.exports
            ]
        ),
        losses=losses,
        authority=authority_of(settings),
        largest_export=Dated(NO_EXPORTS.name, exports).over(NO_EXPORTS),
        published=published_days(settings.settlement_calendar),
    )


def predictability_limits(settings: EnergySettings) -> Dated[PredictabilityLimits]:
    """Return from when on which baseline is good enough: the settings' over the usual ones."""
    given = tuple(
        Effective(
            row.start,
            PredictabilityLimits(
                row.bias_fraction, row.rrmse_fraction, row.sample_days, row.source
            ),
            SOURCE,
        )
        for row in settings.predictability
    )
    return Dated(PREDICTABILITY.name, given).over(PREDICTABILITY)


def interest_of(settings: EnergySettings) -> Dated[Decimal]:
    """Return the interest on differences between runs by the day of payment, per year."""
    rows = tuple(Effective(row.start, row.fraction_per_year, SOURCE) for row in settings.interest)
    return Dated(NO_INTEREST.name, rows).over(NO_INTEREST)


def losses_of(settings: EnergySettings) -> LossSource:
    """Return the losses that the settings give, from their rows or their file."""
    if settings.losses_file is not None:
        return LossFile(settings.losses_file.expanduser().absolute())
    return Losses(
        tuple(
            (
                HalfHour.from_settlement(row.start, 1),
                LossFactors(row.line_loss_factor, row.transmission_multiplier),
            )
            for row in settings.losses
        )
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
        settings.energy.contract,
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
        trading=Messenger(
            desk, ledger=ports.ledger, mailbox=MarketFolder(folder), units=[site.unit]
        ),
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
