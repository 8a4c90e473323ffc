"""``/v1/market``: what is on offer, contracts and the trade log."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any, Protocol
from uuid import UUID

from fastapi import APIRouter, Query

from gridflex.adapters.beckn.log import (
    BecknLog,
    LoggedMessage,
    figures_of,
    is_seller,
)
from gridflex.beckn.contracts.states import ContractState
from gridflex.beckn.flexibility.offers import resource_id
from gridflex.beckn.roles.selling import Standing
from gridflex.instants import Instant
from gridflex.serve.problems import ProblemError

Limit = Annotated[int, Query(ge=1, le=500)]


class Offering(Protocol):
    """Who knows what there is to sell; see `gridflex.agents.beckn.house.PlanHouse`."""

    async def standing(self) -> Standing:
        """Return what there is to sell now."""
        ...


def create_market_router(log: BecknLog, *, house: Offering, subscriber_id: str | None) -> APIRouter:
    """Return the market's routes.

    Args:
        log: The trade log.
        house: What there is to sell.
        subscriber_id: Our id in the network; None does not trade.
    """
    router = APIRouter(prefix="/market", tags=["market"])

    @router.get("/offers")
    async def offers() -> dict[str, Any]:
        """Return the blocks of waiting jobs that can be sold now, whether or not we trade."""
        standing = await house.standing()
        name = subscriber_id or standing.terms.subscriber_id
        return {
            "subscriber_id": subscriber_id,
            "now": str(standing.now),
            "offers": [
                {
                    "job_id": str(block.job_id),
                    "resource_id": resource_id(name, block.job_id),
                    "site": block.site,
                    "gpus": block.gpus,
                    "power_kw": block.power_kw,
                    "energy_kwh": block.energy_kwh,
                    "half_hours": block.half_hours,
                    "planned": block.planned.start.isoformat(),
                    "earliest_start": block.starts[0].start.isoformat(),
                    "latest_start": block.starts[-1].start.isoformat(),
                    "carbon_cap_gco2_per_kwh": block.carbon_cap_gco2_per_kwh,
                    "price_gbp_per_kwh": str(standing.terms.price(block.job_id)),
                }
                for block in standing.slack.blocks()
            ],
        }

    @router.get("/contracts")
    async def contracts(limit: Limit = 50, before: Instant | None = None) -> dict[str, Any]:
        """Return contracts, the newest first; ``next_before`` asks for older ones."""
        found = await log.contracts(limit=limit, before=before)
        last = found[-1].opened_at.isoformat() if len(found) == limit else None
        return {"contracts": [_contract(one) for one in found], "next_before": last}

    @router.get("/contracts/{transaction_id}")
    async def contract(transaction_id: UUID) -> dict[str, Any]:
        """Return one contract with everything that was said about it."""
        found = await log.contract(str(transaction_id))
        if not found:
            raise ProblemError(HTTPStatus.NOT_FOUND, f"no contract {transaction_id}")
        said = await log.messages(limit=500, transaction_id=str(transaction_id))
        return {
            **_contract(found[0]),
            "contract": found[0].contract.to_wire(),
            "messages": [_message(one) for one in said],
        }

    @router.get("/messages")
    async def messages(limit: Limit = 50, before: int | None = None) -> dict[str, Any]:
        """Return the trade log, the newest message first; ``next_before`` asks for older ones."""
        found = await log.messages(limit=limit, before=before)
        last = found[-1].number if len(found) == limit else None
        return {"messages": [_message(one) for one in found], "next_before": last}

    return router


def _contract(state: ContractState) -> dict[str, Any]:
    figures = figures_of(state)
    due = figures.due_to_us_gbp
    return {
        "transaction_id": state.transaction_id,
        "contract_id": state.contract_id,
        "side": state.side.value,
        "role": "seller" if is_seller(state) else "buyer",
        "peer": state.peer_id,
        "stage": state.stage.value,
        "is_final": state.stage.is_final,
        "opened_at": state.opened_at.isoformat(),
        "energy_kwh": figures.energy_kwh,
        "due_gbp": None if due is None else str(due),
        "fault": figures.fault,
        "awaiting": state.awaiting.action if state.awaiting else None,
        "reason": state.reason,
        "reason_code": state.reason_code,
    }


def _message(message: LoggedMessage) -> dict[str, Any]:
    return {**asdict(message), "at": message.at.isoformat()}
