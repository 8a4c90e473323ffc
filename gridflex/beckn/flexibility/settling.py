"""What a shifted block earns: the settlement rule of GridFlex, which either side can recompute.

In each half-hour that was asked for, the energy that was really used there, up to what was
asked, less what the baseline would have used there anyway, up to the same; times the price. The
difference is signed: a block that runs less in those half-hours than without the contract owes.
Half-hours that were not asked for do not count, so the same energy is never paid twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any, Final

from gridflex.beckn.wire.schemas import OWN
from gridflex.beckn.wire.tables import BUYER, SELLER
from gridflex.halfhour import HalfHour
from gridflex.ledger.canonical import canonical_json, digest

RULE: Final = "gridflex.settlement.shift"
RULE_VERSION: Final = "1.0"
POLICY: Final = {"url": f"{OWN}/policies/shift/v{RULE_VERSION}", "queryPath": RULE}
PENNY: Final = Decimal("0.01")
WATT_HOUR: Final = Decimal("0.001")
ZERO: Final = Decimal(0)


@dataclass(frozen=True, slots=True)
class Row:
    """One half-hour of one block.

    Args:
        half_hour: When.
        asked_kwh: What the buyer asked to be used.
        baseline_kwh: What would have been used without the contract.
        used_kwh: What was metered.
        price_gbp_per_kwh: What a shifted kWh earns.
        intensity_gco2_per_kwh: Carbon intensity, if known.
    """

    half_hour: HalfHour
    asked_kwh: Decimal
    baseline_kwh: Decimal
    used_kwh: Decimal
    price_gbp_per_kwh: Decimal
    intensity_gco2_per_kwh: Decimal | None = None

    @property
    def shifted_kwh(self) -> Decimal:
        """Energy that came into this half-hour because it was asked for; negative if it left."""
        return min(self.used_kwh, self.asked_kwh) - min(self.baseline_kwh, self.asked_kwh)

    @property
    def earned_gbp(self) -> Decimal:
        """What that earns, not rounded."""
        return self.shifted_kwh * self.price_gbp_per_kwh


@dataclass(frozen=True, slots=True)
class Settled:
    """The result for one contract.

    Args:
        shifted_kwh: Over all half-hours.
        due_gbp: From buyer to seller, to the penny; negative the other way.
        saved_kg: Emissions of the baseline less those of what was used; None if an intensity
            is not known.
        inputs_digest: SHA-256 over the canonical JSON of all that went in.
    """

    shifted_kwh: Decimal
    due_gbp: Decimal
    saved_kg: Decimal | None
    inputs_digest: str

    def flows(self) -> list[dict[str, Any]]:
        """Return the revenue flows, which sum to zero."""
        value = float(self.due_gbp)
        why = f"{self.shifted_kwh} kWh shifted"
        return [
            {"role": BUYER, "value": -value or 0.0, "currency": "GBP", "description": why},
            {"role": SELLER, "value": value, "currency": "GBP", "description": why},
        ]


def settle(rows: Sequence[Row]) -> Settled:
    """Return what some half-hours earn together; rounded once, half to even."""
    due = sum((row.earned_gbp for row in rows), ZERO)
    inputs = {"rule": RULE, "version": RULE_VERSION, "rows": [_record(row) for row in rows]}
    return Settled(
        shifted_kwh=sum((row.shifted_kwh for row in rows), ZERO),
        due_gbp=due.quantize(PENNY, ROUND_HALF_EVEN),
        saved_kg=_saved_kg(rows),
        inputs_digest=digest(canonical_json(inputs)),
    )


def energy(value: float) -> Decimal:
    """Return kWh to the watt-hour."""
    return Decimal(repr(float(value))).quantize(WATT_HOUR, ROUND_HALF_EVEN)


def exact(value: float) -> Decimal:
    """Return the decimal that a JSON number shows."""
    return Decimal(repr(float(value)))


def _saved_kg(rows: Sequence[Row]) -> Decimal | None:
    saved = ZERO
    for row in rows:
        if row.intensity_gco2_per_kwh is None:
            return None
        saved += (row.baseline_kwh - row.used_kwh) * row.intensity_gco2_per_kwh
    return (saved / 1000).quantize(Decimal("0.001"), ROUND_HALF_EVEN)


def _record(row: Row) -> dict[str, Any]:
    intensity = row.intensity_gco2_per_kwh
    return {
        "half_hour": str(row.half_hour),
        "asked_kwh": str(row.asked_kwh),
        "baseline_kwh": str(row.baseline_kwh),
        "used_kwh": str(row.used_kwh),
        "price_gbp_per_kwh": str(row.price_gbp_per_kwh),
        "intensity_gco2_per_kwh": None if intensity is None else str(intensity),
    }
