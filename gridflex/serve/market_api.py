"""``/v1/market``: what is on offer, contracts and the trade log."""

from __future__ import annotations

from dataclasses import asdict
from http import HTTPStatus
from typing import Annotated, Any, Protocol
from uuid import UUID

from fastapi import APIRouter, Path, Query

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
from gridflex.serve.parameters import page_size
from gridflex.serve.problems import ProblemError

Limit = Annotated[int, page_size(500)]


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
        """What could be sold now.

        The blocks of jobs that wait, each with its site, power (kW), energy (kWh), earliest and
        latest start and price (GBP per kWh), whether or not GridFlex trades.
        """
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
    async def contracts(
        limit: Limit = 50,
        before: Annotated[
            Instant | None,
            Query(
                description="Opened before this instant with its offset; `next_before` of a page."
            ),
        ] = None,
    ) -> dict[str, Any]:
        """List contracts, the newest first.

        Bought and sold, with their stage, energy (kWh) and what is due (GBP). Give `next_before`
        as `before` for older ones; it is null on the last page.
        """
        found = await log.contracts(limit=limit, before=before)
        last = found[-1].opened_at.isoformat() if len(found) == limit else None
        return {"contracts": [_contract(one) for one in found], "next_before": last}

    @router.get("/contracts/{transaction_id}")
    async def contract(
        transaction_id: Annotated[UUID, Path(description="Beckn transaction of the contract.")],
    ) -> dict[str, Any]:
        """One contract with all that was said about it.

        The contract as it goes over Beckn, and its messages, the newest first, 500 at most.
        """
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
    async def messages(
        limit: Limit = 50,
        before: Annotated[
            int | None, Query(description="Number of a message; older ones are listed.")
        ] = None,
    ) -> dict[str, Any]:
        """Trade log, the newest message first.

        Every Beckn message that was sent or received. Give `next_before` as `before` for older
        ones; it is null on the last page.
        """
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
