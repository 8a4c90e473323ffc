"""What was delivered, as it is metered, and the settled contract at the end.

Telemetry lies on the grid of the order. Power is in kW; an interval without USAGE has not been
metered yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from gridflex.beckn.contracts.phrasing import in_state
from gridflex.beckn.flexibility.offers import BASELINE, REQUESTED, listed_of, requested_of
from gridflex.beckn.flexibility.settling import (
    RULE,
    RULE_VERSION,
    Row,
    Settled,
    energy,
    exact,
    settle,
)
from gridflex.beckn.wire.entities import (
    Attributes,
    Commitment,
    CommitmentCode,
    Consideration,
    Contract,
    ContractCode,
    Descriptor,
    Performance,
    Settlement,
    SettlementCode,
)
from gridflex.beckn.wire.errors import BecknError, Code
from gridflex.beckn.wire.meters import assembled, is_whole, meter_of, meters_in
from gridflex.beckn.wire.schemas import deg, own
from gridflex.beckn.wire.tables import SELLER, Column, Table, read_table
from gridflex.halfhour import HalfHour
from gridflex.units import HOURS_PER_HALF_HOUR

USAGE: Final = "USAGE"
INTENSITY: Final = "GHG"
IN_PROGRESS: Final = "IN_PROGRESS"
DELIVERED: Final = "DELIVERY_COMPLETE"
METHODOLOGY: Final = "plan-in-force"
"""The baseline is what the seller's plan said when the order was quoted."""

CONSIDERATION: Final = "premium"
SETTLEMENT_TYPE: Final = "ComputeFlexSettlement"
SETTLE_AFTER: Final = 1
"""Half-hours after the last one of an order before it is settled, for meters that are late."""


def relevant(commitment: Commitment) -> list[HalfHour]:
    """Return the half-hours in which something was asked for or would have run."""
    baseline, asked = listed_of(commitment).table, requested_of(commitment)
    return [
        one
        for one in baseline.start.span(baseline.half_hours)
        if baseline.at(BASELINE, one) or asked.at(REQUESTED, one)
    ]


def is_over(contract: Contract, now: HalfHour) -> bool:
    """Return whether all that can be metered for a contract has been."""
    last = max(half_hour for one in contract.commitments for half_hour in relevant(one))
    return last + SETTLE_AFTER < now


def performance_of(
    commitment: Commitment,
    *,
    event_id: str,
    now: HalfHour,
    used_kwh: Mapping[HalfHour, float],
    intensity_gco2_per_kwh: Mapping[HalfHour, float],
) -> Performance:
    """Return what a commitment has delivered so far.

    Args:
        commitment: What was agreed.
        event_id: The contract's id.
        now: The running half-hour; those before it are metered.
        used_kwh: What the block used, by half-hour.
        intensity_gco2_per_kwh: As known, by half-hour.
    """
    listed = listed_of(commitment)
    grid = list(listed.table.start.span(listed.table.half_hours))
    metered = [one < now for one in grid]
    table = Table.of(
        listed.table.start,
        Column(BASELINE, "KW", tuple(_kw(listed.table.at(BASELINE, one)) for one in grid)),
        Column(
            USAGE,
            "KW",
            tuple(
                _kw(used_kwh.get(one, 0.0)) if done else None
                for one, done in zip(grid, metered, strict=True)
            ),
        ),
        Column(
            INTENSITY,
            "G_PER_KWH",
            tuple(
                intensity_gco2_per_kwh.get(one) if done else None
                for one, done in zip(grid, metered, strict=True)
            ),
        ),
    )
    is_done = max(relevant(commitment)) < now
    attributes: dict[str, Any] = {
        "@context": deg("DemandFlexPerformance"),
        "@type": "DemandFlexPerformance",
        "eventId": event_id,
        "methodology": METHODOLOGY,
        "meters": [
            {
                "meterId": meter_of(listed.resource.id),
                "telemetry": {"@type": "TimeSeries", **table.to_wire()},
            }
        ],
    }
    return Performance(
        id=f"performance-{commitment.id}",
        status=Descriptor(code=DELIVERED if is_done else IN_PROGRESS),
        commitment_ids=[str(commitment.id)],
        performance_attributes=attributes,
    )


def rows_of(contract: Contract) -> list[Row]:
    """Return what a contract and its telemetry say, half-hour by half-hour.

    Either side can do this with the last message alone.

    Raises:
        BecknError: Something that settlement needs is missing or malformed.
    """
    if not is_whole(contract.performance or ()):
        raise BecknError(Code.SCH_ATTRIBUTE_PACK_INVALID, "pages of the meters are missing")
    return [row for one in contract.commitments for row in _rows(contract, one)]


def settled(contract: Contract) -> tuple[Contract, Settled]:
    """Return the contract said to be complete, with what is due, and the figures."""
    result = settle(rows_of(contract))
    return closed(contract, flows=result.flows(), figures=_figures(result)), result


def closed(contract: Contract, *, flows: list[dict[str, Any]], figures: Attributes) -> Contract:
    """Return a contract said to be complete.

    Args:
        contract: With all telemetry.
        flows: Who gets what; they sum to zero.
        figures: How that came about.
    """
    considerations = [
        Consideration(
            id=CONSIDERATION,
            status=Descriptor(code="COMPLETE"),
            consideration_attributes={
                "@context": deg("RevenueFlow"),
                "@type": "RevenueFlow",
                "revenueFlows": flows,
            },
        )
    ]
    settlements = [
        Settlement(
            id="settlement-1",
            consideration_id=CONSIDERATION,
            status=SettlementCode.COMPLETE,
            settlement_attributes=figures,
        )
    ]
    attributes = {**(contract.contract_attributes or {}), "revenueFlows": flows}
    return in_state(
        contract,
        ContractCode.COMPLETE,
        CommitmentCode.CLOSED,
        consideration=considerations,
        settlements=settlements,
        contract_attributes=attributes,
    )


def due_gbp(contract: Contract) -> Decimal | None:
    """Return what a settled contract says the seller is owed; None if it does not say."""
    for one in (contract.contract_attributes or {}).get("revenueFlows") or ():
        if isinstance(one, dict) and one.get("role") == SELLER and _is_number(one.get("value")):
            return exact(one["value"])
    return None


def quoted(contract: Contract, *, price_gbp_per_kwh: Decimal) -> Contract:
    """Return a draft with its price named as the consideration."""
    consideration = Consideration(
        id=CONSIDERATION,
        status=Descriptor(code="DRAFT"),
        consideration_attributes={
            "@context": own("ComputeFlexPrice"),
            "@type": "ComputeFlexPrice",
            "currency": "GBP",
            "pricePerKwh": float(price_gbp_per_kwh),
        },
    )
    return contract.model_copy(update={"consideration": [consideration]})


def _rows(contract: Contract, commitment: Commitment) -> Iterator[Row]:
    listed, asked = listed_of(commitment), requested_of(commitment)
    tables = list(_telemetry(contract, commitment))
    for one in relevant(commitment):
        intensity = next(
            (
                value
                for table in tables
                if INTENSITY in table.columns and (value := table.at(INTENSITY, one))
            ),
            None,
        )
        used_kw = sum(table.at(USAGE, one) for table in tables)
        yield Row(
            half_hour=one,
            asked_kwh=energy(asked.at(REQUESTED, one)),
            baseline_kwh=energy(listed.table.at(BASELINE, one)),
            used_kwh=energy(used_kw * HOURS_PER_HALF_HOUR),
            price_gbp_per_kwh=listed.price_gbp_per_kwh,
            intensity_gco2_per_kwh=None if intensity is None else exact(intensity),
        )


def _telemetry(contract: Contract, commitment: Commitment) -> Iterator[Table]:
    for performance in assembled(contract.performance or ()):
        if commitment.id in (performance.commitment_ids or ()):
            yield from (read_table(meter["telemetry"]) for meter in meters_in(performance))


def _figures(result: Settled) -> Attributes:
    return {
        "@context": own(SETTLEMENT_TYPE),
        "@type": SETTLEMENT_TYPE,
        "rule": RULE,
        "ruleVersion": RULE_VERSION,
        "inputsDigest": f"sha256:{result.inputs_digest}",
        "shiftedKwh": float(result.shifted_kwh),
        "dueGbp": float(result.due_gbp),
        "savedKgCO2": None if result.saved_kg is None else float(result.saved_kg),
    }


def _kw(energy_kwh: float) -> float:
    return round(energy_kwh / HOURS_PER_HALF_HOUR, 6)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
