"""What was delivered: per meter for the notification, and beside it what came back later.

Deliveries are netted, positive and negative, never floored at zero per meter: flooring makes
delivery out of noise. A substituted or estimated reading backs no claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.baselines.submitted import Outcome
from gridflex.market.messages.artefacts import PairDelivery
from gridflex.market.meters import Reading
from gridflex.market.registry import Pair, UnitId, pair_key
from gridflex.market.volumes import ZERO, ExportMWh, ImportMWh, Rounding


@dataclass(frozen=True, slots=True)
class PairOutturn:
    """One meter pair of a unit in one half-hour.

    Args:
        pair: The meters.
        gsp_group: Letter of its GSP Group.
        expected: Net import committed for it.
        reading: What was metered; None for a gap.
    """

    pair: Pair
    gsp_group: str
    expected: ImportMWh
    reading: Reading | None


@dataclass(frozen=True, slots=True)
class Claim:
    """Delivered volumes of a unit in one half-hour, and what may not be claimed.

    Args:
        deliveries: Per pair with a reading that counts.
        unclaimed: Deviation of pairs whose reading does not count.
        reasons: Why it does not count, per pair left out.
    """

    deliveries: tuple[PairDelivery, ...]
    unclaimed: ExportMWh
    reasons: tuple[str, ...]

    def by_meter(self, half_hour: HalfHour) -> dict[str, Decimal]:
        """Return the delivered MWh per import id, positive for less import."""
        return {pair_key(one.pair): one.volumes[half_hour].mwh for one in self.deliveries}


def claim(
    outturns: Iterable[PairOutturn], *, unit: UnitId, half_hour: HalfHour, rounding: Rounding
) -> Claim:
    """Return the delivered volumes to notify for one unit and half-hour.

    Args:
        outturns: Its submitted pairs.
        unit: Which unit.
        half_hour: When.
        rounding: How volumes are rounded.

    Raises:
        ContractError: A reading is of another half-hour.
    """
    deliveries: list[PairDelivery] = []
    reasons: list[str] = []
    unclaimed = ZERO
    for outturn in outturns:
        reading = outturn.reading
        if reading is not None and reading.half_hour != half_hour:
            raise ContractError(f"reading of {reading.half_hour} claimed for {half_hour}")
        if reading is None:
            reasons.append("no reading")
            continue
        deviation = rounding.volume((outturn.expected - reading.net).mwh)
        if reading.counts_as_delivery:
            volumes = {half_hour: ExportMWh(deviation)}
            deliveries.append(PairDelivery(outturn.gsp_group, unit, outturn.pair, volumes))
        else:
            unclaimed += deviation
            substituted = "substituted" if reading.is_substituted else reading.evidence
            reasons.append(f"meter {reading.meter}: reading is {substituted}")
    return Claim(tuple(deliveries), ExportMWh(unclaimed), tuple(reasons))


@dataclass(frozen=True, slots=True)
class Rebound:
    """Energy that an activation moved, over the whole horizon and not only the event.

    Args:
        delivered: Less import than expected in activated half-hours, net.
        rebound: More import than expected in the other half-hours, net.
        saved: What was not made up for within the horizon.
    """

    delivered: ImportMWh
    rebound: ImportMWh
    saved: ImportMWh

    @property
    def rebound_fraction(self) -> Decimal | None:
        """Share of the delivery that came back; None without delivery."""
        return self.rebound.mwh / self.delivered.mwh if self.delivered.mwh else None


def rebound(outcomes: Sequence[Outcome]) -> Rebound:
    """Return delivery and rebound over a horizon that holds the whole deferral window."""
    active = [one.reduction.mwh for one in outcomes if one.is_activated]
    idle = [one.reduction.mwh for one in outcomes if not one.is_activated]
    delivered, back = sum(active, ZERO), -sum(idle, ZERO)
    return Rebound(ImportMWh(delivered), ImportMWh(back), ImportMWh(delivered - back))
