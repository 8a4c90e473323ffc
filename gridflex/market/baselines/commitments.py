"""The submitted baseline in the ledger: what a unit would use, recorded before it is sent.

One is recorded for every half-hour that a trader looks at, sold or not: the half-hours in which
nothing was sold show how well it forecasts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from gridflex.halfhour import HalfHour
from gridflex.ledger.event import Event, EventType
from gridflex.market.registry import UnitId
from gridflex.market.volumes import ExportMWh, ImportMWh, Rounding

METHOD: Final = "submitted"


@dataclass(frozen=True, slots=True)
class Committed:
    """A submitted baseline.

    Args:
        expected: Import without flexibility.
        planned: Import by the plan.
        share: Greatest part of the difference that may be sold.
        is_traded: Whether the difference is offered for sale.
        line_loss_factor: Scales the meter to the grid supply point, where volumes are submitted.
        held_back: Why it is not offered although there is something to sell; None otherwise.
    """

    expected: ImportMWh
    planned: ImportMWh
    share: Decimal
    is_traded: bool = True
    line_loss_factor: Decimal = Decimal(1)
    held_back: str | None = None

    @property
    def submitted(self) -> ExportMWh:
        """The expected volume as it is sent: at the grid supply point."""
        return submitted_volume(self.expected, line_loss_factor=self.line_loss_factor)


def commitment_event(committed: Committed, unit: UnitId, half_hour: HalfHour) -> Event:
    """Return the baseline of a unit's half-hour as it is recorded; there is one of each."""
    body = {
        "method": METHOD,
        "expected_import_mwh": str(committed.expected.mwh),
        "planned_import_mwh": str(committed.planned.mwh),
        "sale_fraction": str(committed.share),
        "is_traded": committed.is_traded,
    }
    if committed.line_loss_factor != 1:
        body["line_loss_factor"] = str(committed.line_loss_factor)
    if committed.held_back is not None:
        body["held_back"] = committed.held_back
    return Event(
        id=f"baseline:{unit}:{half_hour}",
        event_type=EventType.BASELINE_COMPUTED,
        body=body,
        subject=f"unit:{unit}",
        half_hour=half_hour,
    )


def is_commitment(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry is a submitted baseline; a computed one is another method."""
    is_baseline = entry["event_type"] == EventType.BASELINE_COMPUTED
    return bool(is_baseline and entry["body"].get("method") == METHOD)


def read_commitment(body: Mapping[str, Any]) -> Committed:
    """Return a submitted baseline from its entry."""
    return Committed(
        expected=ImportMWh(Decimal(body["expected_import_mwh"])),
        planned=ImportMWh(Decimal(body["planned_import_mwh"])),
        share=Decimal(body["sale_fraction"]),
        is_traded=body["is_traded"],
        line_loss_factor=Decimal(body.get("line_loss_factor", "1")),
        held_back=body.get("held_back"),
    )


def submitted_volume(
    expected: ImportMWh, *, line_loss_factor: Decimal, rounding: Rounding | None = None
) -> ExportMWh:
    """Return an import at the meter as the expected volume of its unit."""
    at_gsp = ImportMWh(expected.mwh * line_loss_factor)
    return ExportMWh((rounding or Rounding()).volume(at_gsp.as_export().mwh))
