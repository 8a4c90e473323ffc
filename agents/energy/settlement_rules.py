"""By what a traded half-hour is settled: dated rules, and its inputs by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Final

from gridflex.adapters.market.position_book import TrackedPosition
from gridflex.agents.energy.traded_sites import TradedSite
from gridflex.market.messages.artefacts import ArtefactKind
from gridflex.market.meters import Reading
from gridflex.market.policy import Dated, Effective
from gridflex.market.registry import BaselineIndicator
from gridflex.market.settlement.account import (
    AccountPeriod,
    PairPeriod,
    SoldVolume,
    SystemPrice,
    UnitPeriod,
)
from gridflex.market.settlement.authority import AUTHORITY, Authority
from gridflex.market.settlement.compensation import COMPENSATION, CompensationPolicy, ReferencePrice
from gridflex.market.settlement.losses import NO_LOSSES, LossSource
from gridflex.market.settlement.runs import Run
from gridflex.market.volumes import KWH_PER_MWH, NO_EXPORT, ExportMWh

NO_EXPORTS: Final = Dated("largest export", (Effective(date.min, NO_EXPORT, "nothing is given"),))


@dataclass(frozen=True, slots=True)
class Rules:
    """What a settlement is computed by.

    Args:
        policy: Rule of supplier compensation.
        reference_price: For it.
        run: Which settlement run.
        losses: Of the unit and its meter.
        largest_export: Of the meter in any half-hour, as far as its readings do not say more.
    """

    policy: CompensationPolicy
    reference_price: ReferencePrice
    run: Run = Run.SF
    losses: LossSource = NO_LOSSES
    largest_export: ExportMWh = NO_EXPORT


@dataclass(frozen=True, slots=True)
class SettlementTerms:
    """Dated rules, and when runs are.

    Args:
        reference_prices: For supplier compensation.
        published: Rows of the published Settlement Calendar.
        compensation: Rule of supplier compensation.
        losses: Of the unit and its meter.
        largest_export: Of the meter in any half-hour; none before its first day.
        authority: Which figures of central settlement reports count.
    """

    reference_prices: Dated[ReferencePrice]
    published: Mapping[tuple[date, Run], date] = field(default_factory=dict)
    compensation: Dated[CompensationPolicy] = COMPENSATION
    losses: LossSource = NO_LOSSES
    largest_export: Dated[ExportMWh] = NO_EXPORTS
    authority: Authority = AUTHORITY

    def rules(self, day: date, run: Run) -> Rules:
        """Return what a settlement day is computed by in a run.

        Raises:
            ContractError: A rule or a figure is missing for the day.
        """
        return Rules(
            self.compensation.on(day),
            self.reference_prices.on(day),
            run,
            self.losses,
            self.largest_export.on(day),
        )


def account_period(
    site: TradedSite,
    tracked: TrackedPosition,
    reading: Reading,
    *,
    system_gbp_per_mwh: Decimal,
    rules: Rules,
) -> AccountPeriod:
    """Return the inputs by which a traded half-hour is settled.

    A sale counts as notified where a notice of it was accepted in words; one without an answer
    does not, until the reports of the central systems say otherwise. Delivered to the meter is
    what was notified and accepted as such, not what another reading would give.

    Args:
        site: Whose unit.
        tracked: What was committed, sent and sold.
        reading: Of its meter.
        system_gbp_per_mwh: Imbalance price.
        rules: Of the day and the run.
    """
    position = tracked.position
    delivered = position.track(ArtefactKind.DVN)
    losses = rules.losses.at(position.half_hour)
    exported = ExportMWh(reading.export_kwh / KWH_PER_MWH)
    pair = PairPeriod(
        meter=site.pair.import_msid,
        supplier=site.supplier,
        indicator=BaselineIndicator.SUBMITTED,
        metered=reading.net,
        delivered=ExportMWh(delivered.standing_mwh) if delivered.standing_mwh is not None else None,
        line_loss_factor=losses.line,
        largest_export=max(exported, rules.largest_export),
        evidence=reading.evidence,
        is_substituted=reading.is_substituted,
    )
    return AccountPeriod(
        account=site.account,
        half_hour=position.half_hour,
        run=rules.run,
        units=(
            UnitPeriod(
                site.unit,
                position.counts,
                tracked.submitted,
                pairs=(pair,),
                transmission_multiplier=losses.transmission,
            ),
        ),
        sold=tuple(
            SoldVolume(
                trade=one.id,
                mwh=one.mwh,
                price_gbp_per_mwh=one.price_gbp_per_mwh,
                is_notified=position.track(ArtefactKind.ECVN).stands,
                contract=one.contract,
            )
            for one in tracked.trades
        ),
        system_price=SystemPrice.single(system_gbp_per_mwh),
        reference_price=rules.reference_price,
        policy=rules.policy,
    )
