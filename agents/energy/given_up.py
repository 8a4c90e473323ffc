"""Runs that are not tried any more: told until they are settled, and settled late on order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Protocol

from gridflex.adapters.market.given_up_log import GivenUpLog
from gridflex.errors import ContractError
from gridflex.halfhour import LONDON, HalfHour
from gridflex.market.registry import UnitId
from gridflex.market.settlement.due_runs import SEEN_BEFORE, given_up_days, given_up_within
from gridflex.market.settlement.given_up import GivenUp
from gridflex.market.settlement.runs import Run, next_run
from gridflex.market.working_days import WorkingCalendar

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Left:
    """What a run has left of a settlement day.

    Args:
        half_hours: Those that are not settled.
        missing: What they lack; None if nothing does.
    """

    half_hours: tuple[HalfHour, ...] = ()
    missing: str | None = None


class LeftOf(Protocol):
    """Says what a run has left of a day."""

    async def __call__(self, day: date, run: Run) -> Left:
        """Return it."""
        ...


class Traded(Protocol):
    """Says in which half-hours of some settlement days something was traded."""

    async def __call__(self, first: date, last: date) -> set[HalfHour]:
        """Return them."""
        ...


class GivenUpRuns:
    """Keeps account of the runs that were given up.

    Args:
        runs: Where they are recorded.
        calendar: Working days.
        published: Rows of the published Settlement Calendar.
    """

    def __init__(
        self,
        runs: GivenUpLog,
        *,
        calendar: WorkingCalendar,
        published: Mapping[tuple[date, Run], date],
    ) -> None:
        self._runs = runs
        self._calendar = calendar
        self._published = published
        self._looked_on: date | None = None
        self._over: set[tuple[date, Run]] = set()
        self._unseen: dict[str, str] = {}

    async def ordered(self, unit: str) -> set[tuple[date, Run]]:
        """Return the days and runs that were given up and are to be settled late."""
        orders = {(one.day, one.run) for one in await self._runs.orders(unit)}
        if not orders:
            return orders
        return orders & {(one.day, one.run) for one in await self._runs.given_up(unit)}

    async def given_up(
        self, now: datetime, *, unit: str, left_of: LeftOf, traded: Traded
    ) -> dict[str, str]:
        """Return what was given up and is not settled, by day and run; new ones are recorded.

        Args:
            now: GridFlex time.
            unit: Whose.
            left_of: Says what a run has left of a day; asked once of each.
            traded: Says what was traded.

        Raises:
            SourceError: The database cannot be reached.
        """
        today = now.astimezone(LONDON).date()
        known = await self._runs.given_up(unit)
        if self._looked_on != today:
            seen_on = await self._runs.seen_on(unit, before=now - SEEN_BEFORE)
            within = given_up_within(today, seen_on=seen_on)
            open_ = await self._untried(today, within, traded) - {
                (one.day, one.run) for one in known
            }
            self._unseen = {}
            for day, run in sorted(open_ - self._over):
                try:
                    one = await _given_up(UnitId(unit), day, run, left_of)
                except ContractError as error:  # as it stands today; looked at again tomorrow
                    log.warning("%s in %s cannot be looked at: %s", day, run, error)
                    self._unseen[f"settlement of {day} in {run}"] = (
                        f"not tried any more, and what it has left is not known: {error}"
                    )
                    continue
                if one is None:
                    self._over.add((day, run))
                    continue
                log.warning("settlement of %s in %s is given up: %s", day, run, one.missing)
                await self._runs.give_up(one, now=now)
                known.append(one)
            self._looked_on = today
        told = dict(self._unseen)
        for one in known:
            if (one.day, one.run) in self._over:
                continue
            left = await self._runs.open_half_hours(one)
            if not left:
                self._over.add((one.day, one.run))
            else:
                told[f"settlement of {one.day} in {one.run}"] = self._said(one, len(left), today)
        return told

    async def _untried(
        self, today: date, within: timedelta, traded: Traded
    ) -> set[tuple[date, Run]]:
        """Return the runs of traded days that are not tried any more, settled or not."""
        found = await asyncio.to_thread(
            given_up_days,
            today,
            calendar=self._calendar,
            published=self._published,
            within=within,
        )
        untried: set[tuple[date, Run]] = set()
        for run in Run:
            days = sorted(day for day, which in found.items() if which is run)
            if days:
                known = {at.settlement[0] for at in await traded(days[0], days[-1])}
                untried |= {(day, run) for day in days if day in known}
        return untried

    def _said(self, one: GivenUp, left: int, today: date) -> str:
        after = next_run(
            one.day, after=one.run, today=today, calendar=self._calendar, published=self._published
        )
        hope = (
            f"{after[0]} picks it up on {after[1]}"
            if after
            else f"no run picks it up: gridflex settle late --unit {one.unit} --day {one.day} "
            f"--run {one.run} --reason …"
        )
        return f"given up with {left} half-hours left, for {one.missing}; {hope}"


async def _given_up(unit: UnitId, day: date, run: Run, left_of: LeftOf) -> GivenUp | None:
    """Return what a run left of a day; None if nothing.

    Raises:
        ContractError: It cannot be looked at.
    """
    found = await left_of(day, run)
    if not found.half_hours:
        return None
    return GivenUp(unit, day, run, found.half_hours, found.missing or "nothing any more")
