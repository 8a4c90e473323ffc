"""How much of what perfect foresight would save is saved with a forecast.

One job that may be paused, alone, decides in each period whether to run, knowing this period's
value and a forecast of the later ones made now. Saved is what it costs less than running at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from gridflex.errors import ContractError
from gridflex.planning.compiled import compiled
from gridflex.planning.patience import NEAR_HALF_HOURS, late_share, worth_of_now
from gridflex.planning.problem import Array
from gridflex.planning.tables import Index
from gridflex.quantiles import MEDIAN, standard_deviation

ForecastAt = Callable[[int, int], Array]
"""Given a period and a length: quantiles of `LEVELS`, shape ``(length, len(LEVELS))``, of the
periods from that one on, made with what is known in it; its own value counts as known."""


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of job.

    Args:
        work: Periods it runs.
        slack: Periods by which it may end later than if it had run at once.
    """

    work: int
    slack: int


def captured_saving(
    rows: Iterable[Row],
    forecast_at: ForecastAt,
    *,
    series: Array,
    first: int,
    every: int,
    near: int = NEAR_HALF_HOURS,
    is_patient: bool = True,
) -> Mapping[Row, float]:
    """Return for each row the saving as a share of the one with perfect foresight, %.

    Args:
        rows: Kinds of jobs.
        forecast_at: What is expected; asked once for each period.
        series: Shape ``(T,)``, what a period counts for: outturn intensity or price.
        first: Period of the first arrival.
        every: Periods between arrivals.
        near: Periods in 48 h.
        is_patient: Whether doubt counts; if not, the median is taken as if it were sure.

    Raises:
        ContractError: The series is too short for a job.
    """
    wanted = tuple(rows)
    longest = max(row.work + row.slack for row in wanted)
    if first + longest > series.size:
        raise ContractError(f"series of {series.size} periods is too short for {longest}")
    ahead = np.full((series.size, longest), np.nan)
    spread = np.zeros_like(ahead)
    for now in range(first, series.size - 1):
        quantiles = forecast_at(now, min(longest, series.size - now))
        ahead[now, : len(quantiles)] = quantiles[:, MEDIAN]
        spread[now, : len(quantiles)] = standard_deviation(quantiles)
    spread *= late_share(longest, near=near) if is_patient else 0.0
    return {
        row: 100.0 * _share(series, ahead, spread, _starts(row, series, first, every), row)
        for row in wanted
    }


def threshold_saving(
    rows: Iterable[Row], *, series: Array, first: int, every: int, past: int
) -> Mapping[Row, float]:
    """Return the same of running whenever a period is below the mean of the ``past`` ones."""
    means = np.convolve(series, np.ones(past) / past, mode="full")[: series.size]
    level = np.concatenate([[np.inf], means[:-1]])
    return {
        row: 100.0 * _plain_share(series, level, _starts(row, series, first, every), row)
        for row in rows
    }


def _starts(row: Row, series: Array, first: int, every: int) -> Index:
    return np.arange(first, series.size - row.work - row.slack, every)


def _share(series: Array, ahead: Array, spread: Array, starts: Index, row: Row) -> float:
    windows = [slice(int(start), int(start) + row.work + row.slack) for start in starts]
    spent = sum(_decided(series[at], ahead[at], spread[at], row.work) for at in windows)
    return _of_best(series, starts, row, spent)


def _plain_share(series: Array, level: Array, starts: Index, row: Row) -> float:
    spent = 0.0
    for start in starts.tolist():
        left = row.work
        for now in range(start, start + row.work + row.slack):
            must = start + row.work + row.slack - now <= left
            if left and (must or series[now] < level[now]):
                spent += float(series[now])
                left -= 1
    return _of_best(series, starts, row, spent)


def _of_best(series: Array, starts: Index, row: Row, spent: float) -> float:
    window = row.work + row.slack
    at_once = sum(float(series[start : start + row.work].sum()) for start in starts)
    best = sum(float(np.sort(series[start : start + window])[: row.work].sum()) for start in starts)
    return (at_once - spent) / (at_once - best)


@partial(compiled, is_kept=False)
def _decided(values: Array, ahead: Array, spread: Array, work: int) -> float:
    """Return what a job comes to in a window; row n is what is expected in its period n."""
    left, total = work, 0.0
    for now in range(values.size):
        if left == 0:
            break
        length = values.size - now
        limit = worth_of_now(ahead[now, 1:length], spread[now, 1:length], left, 0.0, True)  # noqa: FBT003
        if values[now] <= limit:
            total += values[now]
            left -= 1
    return total
