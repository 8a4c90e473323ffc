"""A short demo, with ``--kill`` one in which every agent is killed in every way; prints JSON.

``--keep FOLDER`` leaves its ledger, key and receipts there.

A process of its own, because Ray reads its token mode when it is first imported.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from gridflex.adapters.database import ensure_database, psycopg_url
from gridflex.agents.roles import GRID, ORCHESTRATOR, WORKLOAD
from gridflex.demo.jobs import DemoJob
from gridflex.demo.run import play_on
from gridflex.demo.system import Cluster, DemoSystem, demo_system
from gridflex.demo.view import Day
from gridflex.halfhour import HalfHour
from gridflex.jobs import Tier

if TYPE_CHECKING:
    from tests.chaos.killing import Outcome

CLUSTER = Cluster(gpus=40, fillable=32)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A part of a recorded day, and what arrives in it."""

    start: HalfHour
    half_hours: int
    jobs: tuple[DemoJob, ...]


# Arrival, GPUs, work and the time to finish, in half-hours. Both begin in the morning peak, and
# jobs that may wait have time until the trough at noon; only the longer one leaves time to sell.
KILLED = Scenario(
    HalfHour(datetime(2024, 10, 11, 7, tzinfo=UTC)),
    14,
    (
        DemoJob(1, Tier.T3, 0.2, 8, 3, 13),
        DemoJob(2, Tier.T2, 0.6, 8, 2, 13),
        DemoJob(3, Tier.T4, 1.4, 8, 3, 12),
        DemoJob(4, Tier.T0, 2.3, 4, 1, 6),
        DemoJob(5, Tier.T1, 3.1, 8, 1),
        DemoJob(6, Tier.T4, 4.2, 8, 2, 9),
        DemoJob(7, Tier.T0, 5.4, 4, 1, 6),
        DemoJob(8, Tier.T1, 6.3, 8, 1),
        DemoJob(9, Tier.T0, 7.3, 4, 1, 5),
        DemoJob(10, Tier.T1, 8.2, 8, 1),
    ),
)
TRADED = Scenario(
    HalfHour(datetime(2024, 10, 11, 6, tzinfo=UTC)),
    20,
    (
        DemoJob(1, Tier.T3, 0.2, 8, 5, 19),
        DemoJob(2, Tier.T2, 0.6, 8, 2, 18),
        DemoJob(3, Tier.T4, 1.4, 8, 4, 18),
        DemoJob(4, Tier.T0, 2.3, 4, 2, 8),
        DemoJob(5, Tier.T1, 4.1, 8, 1),
        DemoJob(6, Tier.T4, 5.2, 8, 3, 14),
        DemoJob(7, Tier.T0, 7.4, 4, 1, 8),
        DemoJob(8, Tier.T1, 9.3, 8, 1),
        DemoJob(9, Tier.T0, 11.3, 4, 1, 6),
        DemoJob(10, Tier.T1, 12.2, 8, 1),
    ),
)


def main(*, kill: bool, keep: Path | None) -> None:
    """Play it; ``keep`` is where it leaves its ledger."""
    console = Console(stderr=True)
    played = KILLED if kill else TRADED
    with demo_system(played.start, half_hour_s=None, cluster=CLUSTER, say=console.print) as system:
        day = Day(played.start, played.half_hours, len(played.jobs), CLUSTER.gpus)
        with _kills(system) if kill else _no_kills() as outcomes:
            report = asyncio.run(play_on(system, played.jobs, day, console, keep=keep))
    body = {"kills": [asdict(outcome) for outcome in outcomes]}
    json.dump(body | {"report": json.loads(report.as_json())}, sys.stdout)


@contextmanager
def _no_kills() -> Iterator[list[Outcome]]:
    yield []


@contextmanager
def _kills(system: DemoSystem) -> Iterator[list[Outcome]]:
    # Only now may Ray be imported: its token mode is that of the environment.
    from tests.chaos.killing import (  # noqa: PLC0415
        DATABASE,
        GATEWAY,
        How,
        Kill,
        Moment,
        Target,
        killing,
    )

    kills = (
        Kill(WORKLOAD, How.SIGKILL, Moment.DISPATCHING),
        Kill(ORCHESTRATOR, How.SIGKILL, Moment.SUBMITTED),
        Kill(GRID, How.SIGKILL, Moment.POLLED),
        Kill(WORKLOAD, How.RAY_KILL, Moment.DISPATCHING),
        Kill(ORCHESTRATOR, How.RAY_KILL, Moment.PLANNED),
        Kill(GRID, How.RAY_KILL, Moment.POLLED),
        Kill(WORKLOAD, How.SIGKILL, Moment.PAUSING),
        Kill(GATEWAY, How.SIGKILL, Moment.ALL_SUBMITTED),
        Kill(DATABASE, How.SIGKILL, Moment.ALL_SUBMITTED),
    )
    target = Target(
        database_url=psycopg_url(ensure_database(system.settings)),
        state=system.settings.state_path,
        gcs_address=system.gcs_address,
        ray_url=system.settings.sites[0].ray_url,
        url=system.url,
        jobs=len(KILLED.jobs),
    )
    with killing(kills, target) as outcomes:
        yield outcomes


if __name__ == "__main__":
    kept = sys.argv[sys.argv.index("--keep") + 1] if "--keep" in sys.argv else None
    main(kill="--kill" in sys.argv, keep=Path(kept) if kept else None)
