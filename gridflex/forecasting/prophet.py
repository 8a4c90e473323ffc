"""A forecaster around Prophet: the seasons are Prophet's, the level and the last hours are ours.

Prophet alone knows nothing of yesterday. It is fitted to the target against its own last four
weeks, with the clock time of workdays and days off in summer and winter, bank holidays and what
is known ahead. How the newest residuals fade with lead time is then fitted by least squares on
what was known at past issue times, and the errors that are left give the band.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from gridflex.errors import ContractError
from gridflex.forecasting.almanac import days_off, local_times
from gridflex.forecasting.artefact import Artefact, as_array, as_bytes
from gridflex.forecasting.checks import HALF_HOURS_A_DAY, learnable
from gridflex.forecasting.conformal import Bands
from gridflex.forecasting.forecaster import FAR_HALF_HOURS, QuantileForecast
from gridflex.forecasting.history import Array, Indices, Knowledge
from gridflex.forecasting.sequences import layers
from gridflex.halfhour import HalfHour

if TYPE_CHECKING:
    from prophet import Prophet

NAME: Final = "prophet"
YEARS: Final = 3
"""Of history that Prophet sees: enough for the seasons, few enough for minutes."""

LEAST_DAYS: Final = 84
"""Four weeks to say what is usual, and eight to learn from."""

_DAY: Final = HALF_HOURS_A_DAY
_YEARLY_FROM: Final = 2 * 365 * _DAY
"""From less than two years the season of the year cannot be told from the weather."""

_WEEK: Final = 7 * _DAY
_USUAL_DAYS: Final = 28
_USUAL: Final = _USUAL_DAYS * _DAY
_STEP: Final = 11
"""Half-hours between the issue times the correction is fitted on; odd, so all clock times occur."""

_RIDGE: Final = 1e-3
_LEAST_SPREAD: Final = 0.1
"""Of the usual spread: a quieter month is scaled no further up."""

_SUMMER_MONTHS: Final = (4, 5, 6, 7, 8, 9)
_KINDS_OF_DAY: Final = ("workday_summer", "workday_winter", "off_summer", "off_winter")
_RARELY_AHEAD: Final = 0.05
"""Share of values known ahead below which an input counts as known afterwards only."""


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What a fit leaves.

    Args:
        target: What is forecast.
        season: Prophet, fitted to the scaled target.
        weights: Inputs known ahead, and what one spread above their usual day adds.
        fade: Shape ``(FAR_HALF_HOURS, F)``, by lead, what each trait of the past week adds.
        bands: Errors that were left, in spreads.
    """

    target: str
    season: Prophet
    weights: Mapping[str, float]
    fade: Array
    bands: Bands


class ProphetForecaster:
    """Quantiles by Prophet's seasons, inputs known ahead, and residuals that fade with lead."""

    def __init__(self) -> None:
        self._fitted: Fitted | None = None

    @property
    def name(self) -> str:
        """``prophet``."""
        return NAME

    def fit(self, known: Knowledge) -> None:
        """Fit the seasons, the fading of residuals and the bands; see `Forecaster.fit`."""
        learnable(known, least_days=LEAST_DAYS)
        past = min(known.half_hours_of_history, YEARS * 366 * _DAY)
        views = {name: _View.said(known, name, past) for name in _known_ahead(known)}
        target = _View.said(known, known.target, past)
        season, weights = _fit_season(known.issued - past, target, views)
        start = known.issued - past
        scene = _Scene(target, views, weights, _season(season, start, past + FAR_HALF_HOURS))
        issues = np.arange(_USUAL + _WEEK, past - _DAY, _STEP)
        fade, bands = _fit_fade(scene, issues)
        self._fitted = Fitted(known.target, season, weights, fade, bands)

    def predict(self, known: Knowledge, half_hours: int) -> QuantileForecast:
        """Forecast up to `FAR_HALF_HOURS` half-hours; see `Forecaster.predict`."""
        fitted = self._of(known.target)
        if not 0 < half_hours <= FAR_HALF_HOURS:
            raise ContractError(
                f"{NAME}: forecasts 1 to {FAR_HALF_HOURS} half-hours, not {half_hours}"
            )
        past = _USUAL + _WEEK
        names = [name for name in fitted.weights if name in known.names]
        scene = _Scene(
            _View.known(known, fitted.target, past, half_hours),
            {name: _View.known(known, name, past, half_hours) for name in names},
            fitted.weights,
            _season(fitted.season, known.issued - past, past + half_hours),
        )
        issues = np.array([past])
        scaled = scene.expected(issues, half_hours)[0]
        scaled += np.einsum(
            "hf,hf->h", scene.traits(issues, half_hours)[0], fitted.fade[:half_hours]
        )
        level, spread = scene.target.level[past], scene.target.spread[past]
        if not np.isfinite(level):
            raise ContractError(
                f"{known.target}: nothing is known of the weeks before {known.issued}"
            )
        values = fitted.bands.around(level + spread * scaled, spread)
        return QuantileForecast(known.target, NAME, known.issued, values)

    def dump(self) -> bytes:
        """Return Prophet's own JSON, the coefficients and the bands."""
        fitted = self._of()
        return Artefact(
            NAME,
            {"target": fitted.target, "weights": dict(fitted.weights)},
            {
                "season": as_array(
                    _library("prophet.serialize").model_to_json(fitted.season).encode()
                ),
                "fade": fitted.fade,
                "offsets": fitted.bands.offsets,
            },
        ).dump()

    @classmethod
    def restore(cls, artefact: Artefact) -> ProphetForecaster:
        """Return the forecaster that was dumped."""
        stored = as_bytes(artefact.arrays["season"]).decode()
        serialize = _library("prophet.serialize")
        with _quiet():
            season = serialize.model_from_json(stored)
        restored = cls()
        restored._fitted = Fitted(
            artefact.state["target"],
            season,
            artefact.state["weights"],
            artefact.arrays["fade"],
            Bands(artefact.arrays["offsets"]),
        )
        return restored

    def _of(self, target: str = "") -> Fitted:
        if self._fitted is None:
            raise ContractError(f"{NAME} is not fitted")
        if target and target != self._fitted.target:
            raise ContractError(f"{NAME} is fitted for {self._fitted.target}, not {target}")
        return self._fitted


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """One input, when it was known, and what is usual of it by the four weeks before.

    All have shape ``(T,)``: ``level`` and ``spread`` of all half-hours, ``usual`` of the same one
    of the day.
    """

    values: Array
    known_from: Indices
    level: Array
    spread: Array
    usual: Array

    @classmethod
    def of(cls, values: Array, known_from: Indices) -> _View:
        weeks = pd.Series(values).rolling(_USUAL, min_periods=_DAY)
        days = pd.DataFrame(np.resize(values, (-(-values.size // _DAY), _DAY)))
        before = days.rolling(_USUAL_DAYS, min_periods=1).mean().shift(1).to_numpy().ravel()
        spread = weeks.std().shift(1).to_numpy()
        usual_spread = np.nanmedian(spread) if np.isfinite(spread).any() else 1.0
        return cls(
            values,
            known_from,
            weeks.mean().shift(1).to_numpy(),
            np.maximum(spread, max(_LEAST_SPREAD * usual_spread, 1e-9)),
            before[: values.size],
        )

    @classmethod
    def said(cls, known: Knowledge, name: str, past: int) -> _View:
        """The first statements about each half-hour of the ``past`` and of what is ahead of it."""
        issued = known.half_hours_of_history
        values, delays = layers(known.said(name), issued + FAR_HALF_HOURS)
        known_from = np.arange(past + FAR_HALF_HOURS) + delays[0, issued - past :]
        return cls.of(values[0, issued - past :].astype(np.float64), known_from)

    @classmethod
    def known(cls, known: Knowledge, name: str, past: int, ahead: int) -> _View:
        """Everything as known at the issue time."""
        return cls.of(known.window(name, -past, past + ahead), np.zeros(past + ahead, np.int64))

    def above_usual(self, issues: Indices, half_hours: int) -> Array:
        """Shape ``(n, half_hours)``, spreads above the usual day; 0 where it was not known."""
        lead = np.arange(half_hours)
        about = issues[:, None] + lead
        usual = self.usual[issues[:, None] + lead % _DAY]
        above = (self.values[about] - usual) / self.spread[issues][:, None]
        known = np.isfinite(above) & (self.known_from[about] <= issues[:, None])
        return np.where(known, above, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Scene:
    """The target, what is known ahead and the seasons over the same half-hours."""

    target: _View
    views: Mapping[str, _View]
    weights: Mapping[str, float]
    season: Array

    def expected(self, issues: Indices, half_hours: int) -> Array:
        """Shape ``(n, half_hours)``, in spreads above the level, before any residual."""
        out = self.season[issues[:, None] + np.arange(half_hours)]
        for name, view in self.views.items():
            out = out + self.weights[name] * view.above_usual(issues, half_hours)
        return np.asarray(out)

    def truth(self, issues: Indices, half_hours: int) -> Array:
        """Shape ``(n, half_hours)``, what came, in spreads above the level at the issue time."""
        came = self.target.values[issues[:, None] + np.arange(half_hours)]
        level, spread = self.target.level[issues], self.target.spread[issues]
        return np.asarray((came - level[:, None]) / spread[:, None])

    def traits(self, issues: Indices, half_hours: int) -> Array:
        """Shape ``(n, half_hours, F)``: what the residuals of the last week are like."""
        week = self._residuals(issues)
        day = week[:, -_DAY:]
        means = [_mean(week[:, -last:]) for last in (4, 12, _DAY, _WEEK)]
        lead = np.arange(half_hours)
        same = [day[:, lead % _DAY], _mean(week.reshape(-1, 7, _DAY), axis=1)[:, lead % _DAY]]
        same = [np.where(np.isfinite(trait), trait, means[-1][:, None]) for trait in same]
        wide = [np.broadcast_to(mean[:, None], same[0].shape) for mean in means]
        return np.nan_to_num(np.stack([np.ones_like(same[0]), *wide, *same], axis=2))

    def _residuals(self, issues: Indices) -> Array:
        about = issues[:, None] + np.arange(-_WEEK, 0)
        came = self.target.values[about] - self.target.level[issues][:, None]
        residual = came / self.target.spread[issues][:, None] - self._fitted_then[about]
        return np.where(self.target.known_from[about] <= issues[:, None], residual, np.nan)

    @property
    def _fitted_then(self) -> Array:
        every = np.arange(self.season.size)
        return self.expected(every, 1)[:, 0]


def _mean(values: Array, axis: int = 1) -> Array:
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=axis)
    return np.asarray(
        np.divide(
            total,
            known.sum(axis=axis),
            out=np.full(total.shape, np.nan),
            where=known.any(axis=axis),
        )
    )


def _known_ahead(known: Knowledge) -> list[str]:
    """Inputs of which a fair share of values is known before their half-hour begins."""
    issued = known.half_hours_of_history
    names = [name for name in known.names if name != known.target]
    delays = {name: layers(known.said(name), issued)[1][0] for name in names}
    return [name for name, delay in delays.items() if (delay <= 0).mean() > _RARELY_AHEAD]


def _fit_season(
    start: HalfHour, target: _View, views: Mapping[str, _View]
) -> tuple[Prophet, dict[str, float]]:
    """Fit Prophet to every second half-hour; return it and the weight of each input."""
    issues = np.arange(_DAY, target.values.size - FAR_HALF_HOURS, 2)
    frame = _calendar(start, target.values.size).iloc[issues]
    frame = frame.assign(
        y=(target.values - target.level)[issues] / target.spread[issues],
        **{name: view.above_usual(issues, 1)[:, 0] for name, view in views.items()},
    )
    library = _library("prophet")
    with _quiet():
        season = library.Prophet(
            growth="flat",
            yearly_seasonality=target.values.size >= _YEARLY_FROM,
            weekly_seasonality=True,
            daily_seasonality=False,
            uncertainty_samples=0,
        )
        season.add_country_holidays("UK")
        for kind in _KINDS_OF_DAY:
            season.add_seasonality(kind, period=1, fourier_order=6, condition_name=kind)
        for name in views:
            season.add_regressor(name, standardize=False)
        season.fit(frame.dropna())
        one = frame.iloc[:1].assign(**dict.fromkeys(views, 0.0))
        zero = season.predict(one)["yhat"].iloc[0]
        weights = {
            name: float(season.predict(one.assign(**{name: 1.0}))["yhat"].iloc[0] - zero)
            for name in views
        }
    season.history = season.history.head(2)  # what only a fit needs would fill its dump
    season.params.pop("trend", None)
    return season, weights


def _season(season: Prophet, start: HalfHour, half_hours: int) -> Array:
    """Return shape ``(half_hours,)`` with every input as usual."""
    frame = _calendar(start, half_hours)
    once, place = (
        np.unique(frame["ds"].to_numpy(), return_index=True)[1],
        np.unique(frame["ds"].to_numpy(), return_inverse=True)[1],
    )
    asked = frame.iloc[once].assign(**dict.fromkeys(season.extra_regressors, 0.0))
    with _quiet():
        return np.asarray(season.predict(asked)["yhat"].to_numpy()[place])


def _calendar(start: HalfHour, half_hours: int) -> pd.DataFrame:
    """London clock times without their zone, and the kind of day of each."""
    local = local_times(start, half_hours)
    off = days_off(local).astype(bool)
    summer = local.month.isin(_SUMMER_MONTHS)
    kinds = (~off & summer, ~off & ~summer, off & summer, off & ~summer)
    frame = pd.DataFrame(dict(zip(_KINDS_OF_DAY, kinds, strict=True)))
    return frame.assign(ds=local.tz_localize(None))


def _fit_fade(scene: _Scene, issues: Indices) -> tuple[Array, Bands]:
    """Fit by ridge regression, lead by lead, what each trait of the past week adds."""
    traits = scene.traits(issues, FAR_HALF_HOURS)
    left = scene.truth(issues, FAR_HALF_HOURS) - scene.expected(issues, FAR_HALF_HOURS)
    known = np.isfinite(left)
    traits, left = traits * known[..., None], np.where(known, left, 0.0)
    square = np.einsum("nhf,nhg->hfg", traits, traits, optimize=True)
    ridge = _RIDGE * len(issues) * np.eye(traits.shape[2])
    fade = np.linalg.solve(square + ridge, np.einsum("nhf,nh->hf", traits, left)[..., None])[..., 0]
    errors = np.where(known, left - np.einsum("nhf,hf->nh", traits, fade), np.nan)
    leads = np.broadcast_to(np.arange(FAR_HALF_HOURS), errors.shape)
    return fade, Bands.learn(leads.ravel(), errors.ravel(), np.ones(errors.size))


def _library(module: str) -> Any:  # noqa: ANN401 - Prophet ships no types
    """Import a part of Prophet without its complaint that plotly is not installed."""
    with _quiet():
        return import_module(module)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep notes of Stan and Prophet to themselves, and Prophet's use of what pandas will drop."""
    loggers = [logging.getLogger(name) for name in ("cmdstanpy", "prophet", "prophet.plot")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning, module="prophet")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
