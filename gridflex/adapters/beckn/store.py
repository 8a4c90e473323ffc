"""Beckn messages, contracts and holds in PostgreSQL: `gridflex.beckn.messaging.keeping.Store`.

Messages and deliveries are append-only: together with the signatures that chain each answer to
its request they are the audit trail. What is still to be done is kept apart.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import RowMapping, TextClause, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from gridflex.adapters.beckn.intake import IS_DRAFT, Intake
from gridflex.adapters.database import read_rows, single_statements, source_errors
from gridflex.beckn.contracts.states import (
    OPENING,
    ContractState,
    Side,
    state_from_json,
    state_to_json,
)
from gridflex.beckn.messaging.acknowledging import Reply
from gridflex.beckn.messaging.keeping import (
    Arrived,
    Decision,
    Delivery,
    HeldError,
    Hold,
    Outgoing,
    Pending,
    due_at,
)
from gridflex.beckn.messaging.receiving import Incoming
from gridflex.beckn.trust.signing import SignatureHeader
from gridflex.beckn.trust.verification import Background, is_answer
from gridflex.beckn.wire.context import Context
from gridflex.beckn.wire.errors import BecknError
from gridflex.beckn.wire.messages import parse
from gridflex.halfhour import HalfHour

log = logging.getLogger(__name__)

T = TypeVar("T")

_SEND: Final = text("""
    WITH kept AS (
        INSERT INTO beckn_message (way, is_callback, action, transaction_id, message_id, peer, url,
            signature, authorization_header, answers, body, at)
        VALUES ('out', :is_callback, :action, CAST(:transaction_id AS uuid),
            CAST(:message_id AS uuid), :peer, :url, :signature, :authorization, :answers, :body,
            :at)
        RETURNING id)
    INSERT INTO beckn_task (message, kind, due_at) SELECT id, 'send', :at FROM kept
""")
_ARRIVED: Final = text("""
    SELECT m.* FROM beckn_task t JOIN beckn_message m ON m.id = t.message
    WHERE t.kind = 'handle' AND t.done_at IS NULL ORDER BY m.id LIMIT :limit
""")
_PENDING: Final = text("""
    SELECT m.*, due.tries FROM beckn_message m JOIN (
        SELECT t.message, t.tries, row_number() OVER (PARTITION BY p.peer ORDER BY p.id) AS place
        FROM beckn_task t JOIN beckn_message p ON p.id = t.message
        WHERE t.kind = 'send' AND t.done_at IS NULL AND t.due_at <= :now
    ) AS due ON due.message = m.id
    WHERE due.place <= :per_peer ORDER BY m.id LIMIT :limit
""")
_TAKE_UP: Final = text("""
    UPDATE beckn_task SET done_at = now(), failure = :failure
    WHERE message = :message AND done_at IS NULL RETURNING message
""")
_DELIVERED: Final = text("""
    INSERT INTO beckn_delivery (message, at, status, body, signature, is_genuine, failure)
    VALUES (:message, :at, :status, :body, :signature, :is_genuine, :failure)
""")
_RESCHEDULE: Final = text("""
    UPDATE beckn_task SET tries = tries + 1, due_at = coalesce(:retry_at, due_at),
        done_at = CASE WHEN CAST(:retry_at AS timestamptz) IS NULL THEN now() END,
        failure = :failure
    WHERE message = :message
""")
_SAVE_STATE: Final = text("""
    INSERT INTO beckn_contract (transaction_id, side, stage, is_final, contract_id, peer,
        opened_at, due_at, state)
    VALUES (CAST(:transaction_id AS uuid), :side, :stage, :is_final, :contract_id, :peer,
        :opened_at, :due_at, CAST(:state AS jsonb))
    ON CONFLICT (transaction_id, side) DO UPDATE SET stage = EXCLUDED.stage,
        is_final = EXCLUDED.is_final, contract_id = EXCLUDED.contract_id,
        due_at = EXCLUDED.due_at, state = EXCLUDED.state
""")
_HOLD: Final = text("""
    INSERT INTO beckn_hold (transaction_id, thing, start, half_hours, energy_kwh)
    VALUES (CAST(:transaction_id AS uuid), :thing, :start, :half_hours, :energy_kwh)
""")
_FREE: Final = text("""
    UPDATE beckn_hold SET freed = true
    WHERE transaction_id = CAST(:transaction_id AS uuid) AND NOT freed
""")
_HOLDS: Final = text("SELECT * FROM beckn_hold WHERE NOT freed ORDER BY id")
_CONTRACT: Final = text("""
    SELECT state FROM beckn_contract
    WHERE transaction_id = CAST(:transaction_id AS uuid) AND side = :side
""")
_OPEN: Final = text("""
    SELECT state FROM beckn_contract WHERE side = :side AND NOT is_final ORDER BY opened_at
""")
_DRAFTS: Final = text(f"""
    SELECT count(*) AS drafts FROM beckn_contract WHERE {IS_DRAFT} AND peer = :peer
""")  # noqa: S608 - words of our own
_DUE: Final = text("SELECT state FROM beckn_contract WHERE due_at <= :now ORDER BY due_at")


class BecknStore:
    """Keeps what a participant must not forget.

    Args:
        engine: Where; see `gridflex.adapters.database.connect`.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._single = single_statements(engine)
        self._intake = Intake(engine)

    async def background(self, context: Context, *, sender: str) -> Background:
        """See `gridflex.beckn.messaging.receiving.Inbox.background`."""
        is_callback = is_answer(context)
        values = {
            "sender": sender,
            "message_id": context.message_id,
            "transaction_id": context.transaction_id,
            "is_callback": is_callback,
            "wants_body": is_callback and context.request_digest is not None,
            "side": (Side.BAP if is_callback else Side.BPP).value,
            "may_open": context.action == OPENING,
        }
        row = await self._intake.background(values)
        return Background(
            earlier=tuple(row["earlier"] or ()),
            request_signature=row["asked_signature"],
            request_body=row["asked_body"],
            state=state_from_json(row["state"]) if row["state"] else None,
            drafts=row["drafts"],
        )

    async def keep(self, incoming: Incoming) -> bool:
        """See `gridflex.beckn.messaging.receiving.Inbox.keep`."""
        return await self._intake.keep(
            {
                **_envelope(incoming.message.context),
                "peer": incoming.sender,
                "signature": incoming.signature,
                "authorization_header": incoming.authorization,
                "answers": incoming.answers,
                "body": incoming.message.raw,
                "at": incoming.received_at,
                "reply_status": int(incoming.reply.status),
                "reply_body": incoming.reply.body,
                "reply_signature": incoming.reply.headers.get("Signature"),
            }
        )

    async def arrived(self, *, limit: int) -> Sequence[Arrived]:
        """See `gridflex.beckn.messaging.keeping.Store.arrived`."""
        rows = await read_rows(
            self._single, _ARRIVED, {"limit": limit}, doing="reading what arrived"
        )
        return await self._readable(rows, lambda row: Arrived(row["id"], _incoming(row)))

    async def pending(self, now: datetime, *, limit: int, per_peer: int) -> Sequence[Pending]:
        """See `gridflex.beckn.messaging.keeping.Store.pending`."""
        values = {"now": now, "limit": limit, "per_peer": per_peer}
        rows = await read_rows(self._single, _PENDING, values, doing="reading what is to send")
        return await self._readable(
            rows, lambda row: Pending(row["id"], _outgoing(row), row["tries"])
        )

    async def delivered(self, number: int, delivery: Delivery) -> None:
        """See `gridflex.beckn.messaging.keeping.Store.delivered`."""
        values = {
            "message": number,
            "at": delivery.at,
            "status": delivery.status,
            "body": delivery.body,
            "signature": delivery.signature,
            "is_genuine": delivery.is_genuine,
            "failure": delivery.failure,
        }
        again = {"message": number, "retry_at": delivery.retry_at, "failure": delivery.failure}
        async with source_errors("noting a delivery"), self._engine.begin() as connection:
            await connection.execute(_DELIVERED, values)
            await connection.execute(_RESCHEDULE, again)

    async def decide(self, decision: Decision) -> bool:
        """See `gridflex.beckn.messaging.keeping.Store.decide`."""
        async with source_errors("keeping a decision"), self._engine.begin() as connection:
            if decision.handled is not None:
                values = {"message": decision.handled, "failure": decision.failure}
                if (await connection.execute(_TAKE_UP, values)).first() is None:
                    return False
            for transaction_id in decision.freed:
                await connection.execute(_FREE, {"transaction_id": transaction_id})
            for hold in decision.holds:
                await _hold(connection, hold)
            for state in decision.states:
                await connection.execute(_SAVE_STATE, _state_row(state))
            for outgoing in decision.outgoing:
                await connection.execute(_SEND, _outgoing_row(outgoing))
        return True

    async def contract(self, transaction_id: str, side: Side) -> ContractState | None:
        """See `gridflex.beckn.messaging.keeping.Store.contract`."""
        values = {"transaction_id": transaction_id, "side": side.value}
        states = await self._states(_CONTRACT, values)
        return states[0] if states else None

    async def open_contracts(self, side: Side) -> Sequence[ContractState]:
        """See `gridflex.beckn.messaging.keeping.Store.open_contracts`."""
        return await self._states(_OPEN, {"side": side.value})

    async def drafts(self, peer_id: str) -> int:
        """See `gridflex.beckn.messaging.keeping.Store.drafts`."""
        (row,) = await read_rows(self._single, _DRAFTS, {"peer": peer_id}, doing="counting drafts")
        return int(row["drafts"])

    async def due_contracts(self, now: datetime) -> Sequence[ContractState]:
        """See `gridflex.beckn.messaging.keeping.Store.due_contracts`."""
        return await self._states(_DUE, {"now": now})

    async def holds(self) -> Sequence[Hold]:
        """See `gridflex.beckn.messaging.keeping.Store.holds`."""
        return [
            Hold(
                transaction_id=str(row["transaction_id"]),
                thing=row["thing"],
                start=HalfHour.containing(row["start"]),
                half_hours=row["half_hours"],
                energy_kwh=row["energy_kwh"],
            )
            for row in await read_rows(self._single, _HOLDS, doing="reading holds")
        ]

    async def _states(
        self, statement: TextClause, values: Mapping[str, Any]
    ) -> list[ContractState]:
        rows = await read_rows(self._single, statement, values, doing="reading contracts")
        return [state_from_json(row["state"]) for row in rows]

    async def _readable(
        self, rows: Sequence[RowMapping], read: Callable[[RowMapping], T]
    ) -> list[T]:
        """Return what messages say; one that another version kept and this one refuses is done."""
        found = []
        for row in rows:
            try:
                found.append(read(row))
            except BecknError as error:
                log.warning("message %s is set aside: %s", row["id"], error)
                await self.decide(Decision(handled=row["id"], failure=str(error)))
        return found


async def _hold(connection: AsyncConnection, hold: Hold) -> None:
    values = {
        "transaction_id": hold.transaction_id,
        "thing": hold.thing,
        "start": hold.start.start,
        "half_hours": hold.half_hours,
        "energy_kwh": hold.energy_kwh,
    }
    try:
        await connection.execute(_HOLD, values)
    except IntegrityError as error:
        raise HeldError(hold.thing) from error


def _envelope(context: Context) -> dict[str, Any]:
    return {
        "is_callback": is_answer(context),
        "action": context.action,
        "transaction_id": context.transaction_id,
        "message_id": context.message_id,
    }


def _outgoing_row(outgoing: Outgoing) -> dict[str, Any]:
    return {
        **_envelope(outgoing.message.context),
        "peer": outgoing.peer_id,
        "url": outgoing.url,
        "signature": outgoing.header.signature,
        "authorization": str(outgoing.header),
        "answers": outgoing.answers,
        "body": outgoing.message.raw,
        "at": outgoing.made_at,
    }


def _state_row(state: ContractState) -> dict[str, Any]:
    return {
        "transaction_id": state.transaction_id,
        "side": state.side.value,
        "stage": state.stage.value,
        "is_final": state.stage.is_final,
        "contract_id": state.contract_id,
        "peer": state.peer_id,
        "opened_at": state.opened_at,
        "due_at": due_at(state),
        "state": json.dumps(state_to_json(state)),
    }


def _incoming(row: RowMapping) -> Incoming:
    signature = row["reply_signature"]
    return Incoming(
        message=parse(row["body"]),
        sender=row["peer"],
        authorization=row["authorization_header"],
        signature=row["signature"],
        answers=row["answers"],
        received_at=row["at"],
        reply=Reply(
            row["reply_status"], row["reply_body"], {"Signature": signature} if signature else {}
        ),
    )


def _outgoing(row: RowMapping) -> Outgoing:
    return Outgoing(
        message=parse(row["body"]),
        peer_id=row["peer"],
        url=row["url"],
        header=SignatureHeader.parse(row["authorization_header"]),
        answers=row["answers"],
        made_at=row["at"],
        is_callback=row["is_callback"],
    )
