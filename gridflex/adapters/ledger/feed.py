"""What the other tables say, as events for the ledger.

Plans, readings of jobs, what happened to jobs and Beckn messages are each kept by their own store,
append-only; this reads the rows that the ledger does not have yet. A row has one event with an id
of its own, so that reading it twice records it once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.database import source_errors
from gridflex.halfhour import HalfHour
from gridflex.ledger.canonical import canonical_json, digest, without_fractions
from gridflex.ledger.event import Event, EventType, instant
from gridflex.lifecycle import JobEventKind

IDS_BEHIND: Final = 10_000
"""How many ids are looked at again: a row may be committed after one with a higher id."""

SECONDS_BEHIND: Final = 7 * 86_400
"""How far back readings are looked for again: they may arrive late."""

OVERRIDES: Final = frozenset(
    {
        JobEventKind.STOP_REQUESTED,
        JobEventKind.DELETED,
        JobEventKind.CURTAILED,
        JobEventKind.CURTAILMENT_ENDED,
    }
)
"""What a person did to a job against the plan."""

HEADLINES: Final = ("cost_gbp", "carbon_kg", "energy_kwh", "lower_bound_gbp", "gap_fraction")

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Source:
    """One table.

    Args:
        name: For messages.
        query: Rows after ``:after`` that are not in the ledger, in order, with their ``place``.
        event: From a row to its event.
        behind: How much before the last place is looked at again.
    """

    name: str
    query: str
    event: Callable[[Row], Event]
    behind: int = IDS_BEHIND


class LedgerFeed:
    """Reads what is not in the ledger yet.

    Args:
        engine: Where; see `gridflex.adapters.database.connect`.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._after = dict.fromkeys((source.name for source in SOURCES), 0)

    async def unrecorded(self, *, limit: int) -> list[Event]:
        """Return events of rows that are not in the ledger, at most ``limit`` of each table."""
        events: list[Event] = []
        for source in SOURCES:
            values = {"after": self._after[source.name], "limit": limit}
            async with source_errors(f"reading {source.name}"), self._engine.connect() as reader:
                rows = (await reader.execute(text(source.query), values)).mappings().all()
            events += [source.event({str(key): row[key] for key in row}) for row in rows]
            if rows:
                self._after[source.name] = max(rows[-1]["place"] - source.behind, 0)
        return events


def _plan(row: Row) -> Event:
    result = row["result"]
    body = {
        "plan": row["place"],
        "made_at": instant(row["made_at"]),
        "reason": row["reason"],
        "method": result.get("method"),
        "jobs": len(result.get("jobs", ())),
        "runs": len(row["runs"]),
        "runs_sha256": digest(canonical_json(row["runs"])),
        "result_sha256": digest(canonical_json(result)),
        "inputs_sha256": digest(canonical_json(row["inputs"])),
        **{name: result[name] for name in HEADLINES if name in result},
    }
    return Event(
        id=f"plan:{row['place']}",
        event_type=EventType.PLAN_COMMITTED,
        body=without_fractions(body),
        subject=f"plan:{row['place']}",
        half_hour=HalfHour.containing(row["start"]),
    )


def _energy(row: Row) -> Event:
    start = HalfHour.containing(row["start"])
    body = {name: row[name] for name in ("attempt", "energy_kwh", "running_s", "method")}
    return Event(
        id=f"energy:{row['job_id']}:{row['attempt']}:{start}",
        event_type=EventType.METER_RECEIVED,
        body=without_fractions(body),
        subject=f"job:{row['job_id']}",
        site=row["site"],
        half_hour=start,
    )


def _job_event(row: Row) -> Event:
    body = {"kind": row["kind"], "at": instant(row["at"]), "detail": row["detail"]}
    if row["kind"] == JobEventKind.SUBMITTED:
        body |= {
            "flexibility": row["flexibility"],
            "request_sha256": digest(canonical_json(row["request"])),
        }
    is_override = row["kind"] in OVERRIDES
    return Event(
        id=f"job-event:{row['place']}",
        event_type=EventType.OVERRIDE_MADE if is_override else EventType.JOB_CHANGED,
        body=without_fractions(body),
        subject=f"job:{row['job_id']}",
    )


def _beckn(row: Row) -> Event:
    body = {
        "way": row["way"],
        "action": row["action"],
        "transaction_id": str(row["transaction_id"]),
        "message_id": str(row["message_id"]),
        "peer": row["peer"],
        "at": instant(row["at"]),
        "body_sha256": digest(row["body"]),
        "signature": row["signature"],
        "reply_status": row["reply_status"],
    }
    return Event(
        id=f"beckn:{row['place']}",
        event_type=EventType.CONTRACT_MESSAGE,
        body=body,
        subject=f"contract:{row['transaction_id']}",
    )


SOURCES: Final = (
    Source(
        "plans",
        """
        SELECT p.id AS place, p.made_at, p.start, p.reason, p.result, p.inputs, coalesce((
            SELECT jsonb_agg(jsonb_build_object('job_id', r.job_id, 'start', to_char(
                r.start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"'),
                'half_hours', r.half_hours, 'site', r.site, 'gpus', r.gpus,
                'power_cap_fraction', r.power_cap_fraction)
                ORDER BY r.job_id, r.start)
            FROM plan_run r WHERE r.plan_id = p.id), '[]') AS runs
        FROM plan p
        WHERE p.id > :after
            AND NOT EXISTS (SELECT FROM ledger_entry e WHERE e.id = 'plan:' || p.id)
        ORDER BY p.id LIMIT :limit
        """,
        _plan,
    ),
    Source(
        "job events",
        """
        SELECT v.id AS place, v.job_id, v.at, v.kind, v.detail, j.flexibility, j.request
        FROM job_event v JOIN job j ON j.id = v.job_id
        WHERE v.id > :after
            AND NOT EXISTS (SELECT FROM ledger_entry e WHERE e.id = 'job-event:' || v.id)
        ORDER BY v.id LIMIT :limit
        """,
        _job_event,
    ),
    Source(
        "energy",
        """
        SELECT extract(epoch FROM y.start)::bigint AS place, y.job_id, y.attempt, y.start,
            y.running_s, y.energy_kwh, y.method, a.site
        FROM energy y JOIN attempt a ON a.job_id = y.job_id AND a.number = y.attempt
        WHERE y.start > to_timestamp(:after) AND NOT EXISTS (
            SELECT FROM ledger_entry e WHERE e.id = 'energy:' || y.job_id || ':' || y.attempt
                || ':' || to_char(y.start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI"Z"'))
        ORDER BY y.start, y.job_id, y.attempt LIMIT :limit
        """,
        _energy,
        behind=SECONDS_BEHIND,
    ),
    Source(
        "Beckn messages",
        """
        SELECT m.id AS place, m.way, m.action, m.transaction_id, m.message_id, m.peer, m.at,
            m.body, m.signature, m.reply_status
        FROM beckn_message m
        WHERE m.id > :after
            AND NOT EXISTS (SELECT FROM ledger_entry e WHERE e.id = 'beckn:' || m.id)
        ORDER BY m.id LIMIT :limit
        """,
        _beckn,
    ),
)
