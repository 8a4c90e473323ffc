"""The trade log: contracts and messages as a person or a page reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import RowMapping, text
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.database import read_rows
from gridflex.beckn.contracts.states import ContractState, Side, state_from_json
from gridflex.beckn.flexibility.needs import is_need
from gridflex.beckn.flexibility.reporting import due_gbp
from gridflex.beckn.flexibility.summary import energy_kwh, summary
from gridflex.beckn.wire.errors import BecknError, reading_attributes
from gridflex.beckn.wire.messages import parse

_CONTRACTS: Final = text("""
    SELECT state FROM beckn_contract
    WHERE CAST(:before AS timestamptz) IS NULL OR opened_at < :before
    ORDER BY opened_at DESC, transaction_id LIMIT :limit
""")
_CONTRACT: Final = text("""
    SELECT state FROM beckn_contract WHERE transaction_id = CAST(:transaction_id AS uuid)
    ORDER BY side
""")
_MESSAGES: Final = text("""
    SELECT m.id, m.way, m.action, m.transaction_id, m.message_id, m.peer, m.at, m.signature,
        m.answers, m.body, m.reply_status, m.reply_body, t.failure, t.done_at, t.tries,
        d.status AS delivered_status, d.body AS delivered_body, d.failure AS delivered_failure
    FROM beckn_message m
    JOIN beckn_task t ON t.message = m.id
    LEFT JOIN LATERAL (
        SELECT status, body, failure FROM beckn_delivery WHERE message = m.id
        ORDER BY id DESC LIMIT 1) d ON true
    WHERE (CAST(:before AS bigint) IS NULL OR m.id < :before)
        AND (CAST(:transaction_id AS text) IS NULL
            OR m.transaction_id = CAST(CAST(:transaction_id AS text) AS uuid))
    ORDER BY m.id DESC LIMIT :limit
""")


@dataclass(frozen=True, slots=True)
class LoggedMessage:
    """One message with what became of it.

    Args:
        number: Counts up.
        way: ``in`` or ``out``.
        action: What was said.
        transaction_id: The business transaction.
        message_id: Its id.
        peer: The other party.
        at: Wall time at which it was received or made.
        signature: Of the message.
        answers: Signature of the request that it answers; None if it answers none.
        status: HTTP status of the acknowledgement, ours or the peer's; None if there is none.
        says: What it says, in a line; None if this version cannot read it.
        note: Why it was refused, failed or had no effect.
        tries: How often sending it was tried again.
        is_done: Whether nothing is left to do about it.
        body: The message.
    """

    number: int
    way: str
    action: str
    transaction_id: str
    message_id: str
    peer: str
    at: datetime
    signature: str
    answers: str | None
    status: int | None
    says: str | None
    note: str | None
    tries: int
    is_done: bool
    body: Mapping[str, Any]


class BecknLog:
    """Reads what `gridflex.adapters.beckn.store.BecknStore` wrote.

    Args:
        engine: Where; see `gridflex.adapters.database.connect`.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def contracts(self, *, limit: int, before: datetime | None = None) -> list[ContractState]:
        """Return contracts, the newest first."""
        values = {"limit": limit, "before": before}
        rows = await read_rows(self._engine, _CONTRACTS, values, doing="reading contracts")
        return [state_from_json(row["state"]) for row in rows]

    async def contract(self, transaction_id: str) -> list[ContractState]:
        """Return a contract as each side of ours sees it; nothing if it is unknown."""
        values = {"transaction_id": transaction_id}
        rows = await read_rows(self._engine, _CONTRACT, values, doing="reading a contract")
        return [state_from_json(row["state"]) for row in rows]

    async def messages(
        self, *, limit: int, before: int | None = None, transaction_id: str | None = None
    ) -> list[LoggedMessage]:
        """Return messages, the newest first; of one transaction if one is named."""
        values = {"limit": limit, "before": before, "transaction_id": transaction_id}
        rows = await read_rows(self._engine, _MESSAGES, values, doing="reading messages")
        return [_message(row) for row in rows]


@dataclass(frozen=True, slots=True)
class Figures:
    """What a contract amounts to.

    Args:
        energy_kwh: Energy that it is about; None if it cannot be read.
        due_to_us_gbp: See `due_to_us_gbp`; None if it cannot be read.
        fault: What of that cannot be read, and why.
    """

    energy_kwh: float | None = None
    due_to_us_gbp: Decimal | None = None
    fault: str | None = None


def figures_of(state: ContractState) -> Figures:
    """Return what a contract amounts to; what a peer wrote into it may be malformed."""
    try:
        with reading_attributes():
            return Figures(energy_kwh(state.contract), due_to_us_gbp(state))
    except BecknError as error:
        return Figures(fault=error.reason)


def due_to_us_gbp(state: ContractState) -> Decimal | None:
    """Return what a settled contract brings us; negative if we pay."""
    due = due_gbp(state.contract)
    if due is None:
        return None
    return due if is_seller(state) else -due


def is_seller(state: ContractState) -> bool:
    """Return whether we provide the flexibility; who answers a need asks for the contract."""
    return (state.side is Side.BPP) is not is_need(state.contract)


def _message(row: RowMapping) -> LoggedMessage:
    is_in = row["way"] == "in"
    status = row["reply_status"] if is_in else row["delivered_status"]
    note = row["failure"] or row["delivered_failure"]
    if note is None and status is not None and status >= 400:  # noqa: PLR2004 - HTTP errors
        note = _reason(row["reply_body"] if is_in else row["delivered_body"])
    return LoggedMessage(
        number=row["id"],
        way=row["way"],
        action=row["action"],
        transaction_id=str(row["transaction_id"]),
        message_id=str(row["message_id"]),
        peer=row["peer"],
        at=row["at"],
        signature=row["signature"],
        answers=row["answers"],
        status=status,
        says=_says(row["body"]),
        note=note,
        tries=row["tries"],
        is_done=row["done_at"] is not None,
        body=json.loads(row["body"]),
    )


def _says(body: bytes) -> str | None:
    try:
        return summary(parse(body))
    except BecknError:
        return None


def _reason(body: bytes) -> str:
    try:
        error = json.loads(body)["message"]["error"]
        return f"{error['code']}: {error['message']}"
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")
