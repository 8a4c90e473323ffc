"""A central settlement report, as it is shown."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal
from typing import Any

from gridflex.errors import ContractError
from gridflex.market.settlement.s0142 import (
    AccountRow,
    PartyDay,
    SettlementReport,
    UnitRow,
    compensation_by_party,
)


def report_json(report: SettlementReport, *, party: str | None = None) -> dict[str, Any]:
    """Return the fields that were read, volumes in MWh with the central sign, amounts as text.

    Args:
        report: The report.
        party: Only this party's rows; all without it.

    Raises:
        ContractError: The report has no row of the party.
    """
    named = {one.party for rows in (report.units, report.accounts, report.parties) for one in rows}
    if party is not None and party not in named:
        valid = ", ".join(sorted(named)) or "none, as it has no rows"
        raise ContractError(f"party {party} has no row in the report; valid is {valid}")
    return {
        "version": report.version,
        "day": report.day.isoformat(),
        "run": report.run.value,
        "prices": [
            {
                "start": str(at),
                "sell_gbp_per_mwh": str(price.sell_gbp_per_mwh),
                "buy_gbp_per_mwh": str(price.buy_gbp_per_mwh),
                "sourcing_cost": _text(report.sourcing_cost.get(at)),
            }
            for at, price in sorted(report.prices.items())
        ],
        **{
            name: [_row(one) for one in rows if party in {None, one.party}]
            for name, rows in (
                ("units", report.units),
                ("accounts", report.accounts),
                ("parties", report.parties),
            )
        },
        "compensation_gbp": {
            name: {"credited": str(credited), "raised": str(raised)}
            for name, credited, raised in compensation_by_party(report)
            if party in {None, name}
        },
        "passed_over": dict(report.passed_over),
    }


def _row(row: UnitRow | AccountRow | PartyDay) -> dict[str, Any]:
    values = {one.name: getattr(row, one.name) for one in fields(row)}
    return {
        name: value if value is None or isinstance(value, str) else str(value)
        for name, value in values.items()
    }


def _text(number: Decimal | None) -> str | None:
    return None if number is None else str(number)
