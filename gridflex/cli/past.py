"""What a forecaster is trained on: the archive, what was observed at a site, or recorded series."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import numpy as np

from gridflex.adapters.forecasting.history import ForecastHistory
from gridflex.agents.other_load import OBSERVED
from gridflex.cli.shared_data import SHARED_VARIABLE, grid_folder
from gridflex.errors import ContractError
from gridflex.forecasting.archive import INPUTS, Archived, ArchivedHistory, as_served
from gridflex.forecasting.checks import LEAST_DAYS
from gridflex.forecasting.history import History
from gridflex.forecasting.past_runs import PastRun
from gridflex.halfhour import HalfHour
from gridflex.sandbox.grid.histories import read_history
from gridflex.sandbox.grid.recorded import TABLE
from gridflex.signals import Kind, Origin, Signal

_MINUTE: Final = "%Y-%m-%dT%H:%MZ"

TOLD_WITHIN_DAYS: Final = 1
"""Outturns come late: of the days before an instant so many more are asked for than are needed."""

VINTAGES_EVERY: Final = timedelta(hours=2)
"""Of what the providers forecast, one vintage in so long is learnt from."""


def recorded_past(target: str) -> ArchivedHistory:
    """Return the recorded series with the inputs that the grid agent collects.

    Raises:
        ContractError: There are none.
    """
    folder = grid_folder()
    if not (folder / TABLE).exists():
        raise ContractError(f"--recorded: no {folder / TABLE}; {SHARED_VARIABLE} says where it is")
    return ArchivedHistory(as_served(read_history(folder, target=target)), Origin.RECORDED)


async def archived_past(archive: ForecastHistory, target: str, *, now: datetime) -> ArchivedHistory:
    """Return the archive from the first half-hour whose outturn is stored.

    Raises:
        ContractError: There is none.
        SourceError: The database cannot be reached.
    """
    begins = await archive.begins(INPUTS[target])
    if begins is None:
        raise ContractError(
            f"the archive has no outturn of {target} yet; gridflex grid backfill asks for "
            "its past, and --recorded learns from recorded series"
        )
    return await archive.read(target, since=begins, now=now, every=VINTAGES_EVERY)


async def observed_past(archive: ForecastHistory, site: str, *, now: datetime) -> ArchivedHistory:
    """Return what was observed at a site.

    Raises:
        ContractError: Nothing was.
        SourceError: The database cannot be reached.
    """
    seen = Archived(Signal.OTHER_GPUS, Kind.OUTTURN, OBSERVED, site)
    begins = await archive.begins(seen)
    if begins is None:
        raise ContractError(f"nobody looked yet how many GPUs others use at {site}")
    return await archive.read_alone(seen, since=begins, now=now)


def end_of(history: History) -> HalfHour:
    """Return the first half-hour after the last outturn of the target.

    Raises:
        ContractError: There is no outturn.
    """
    told = history.inputs[history.target]
    known = told.about[np.isfinite(told.values)]
    if known.size == 0:
        raise ContractError(f"nothing is known of {history.target}")
    return history.start + int(known[-1]) + 1


def used_part(
    history: History, *, since: datetime | None, until: datetime, days: int, stretches: int
) -> tuple[HalfHour, HalfHour]:
    """Return the first half-hour that is learnt from, and the first that is not used.

    Args:
        history: What is known.
        since: As ``--since`` says it; None for the first half-hour there is.
        until: As ``--until`` does.
        days: Length of the part that is held back, and of each stretch before it.
        stretches: How many of those there are.

    Raises:
        ContractError: An option leaves nothing, or too little to learn from before the stretches.
    """
    if until <= history.start.start:
        raise ContractError(
            f"--until {until:{_MINUTE}}: nothing of {history.target} is known before "
            f"{history.start}; valid is a later instant"
        )
    end = min(HalfHour.containing(until), end_of(history))
    latest = end - ((stretches + 1) * days + LEAST_DAYS + TOLD_WITHIN_DAYS) * 48
    if since is None or since <= history.start.start:
        return history.start, end
    if since > latest.start:
        valid = f"{latest} or before" if latest > history.start else "to leave it out"
        raise ContractError(
            f"--since {since:{_MINUTE}} leaves too little to learn from: what is used of "
            f"{history.target} ends at {end}, and with --days {days} and --stretches {stretches} "
            f"valid is {valid}"
        )
    return HalfHour.at_or_after(since), end


def used_runs(past: Sequence[PastRun], *, since: datetime | None, until: datetime) -> list[PastRun]:
    """Return the jobs that ended from ``--since`` to before ``--until``.

    Raises:
        ContractError: The options leave none of those that are known.
    """
    used = [
        run for run in past if run.ended_at < until and (since is None or run.ended_at >= since)
    ]
    if past and not used:
        first, last = (pick(run.ended_at for run in past) for pick in (min, max))
        begin = "" if since is None else f"--since {since:{_MINUTE}}, "
        raise ContractError(
            f"{begin}--until {until:{_MINUTE}}: no job ended then; those that are known ended "
            f"{first:{_MINUTE}} to {last:{_MINUTE}}"
        )
    return used
