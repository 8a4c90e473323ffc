"""Forecasts of GB carbon intensity and price against simple rules, on years no model has seen.

``python bench/forecasting.py [PART ...]`` fits every forecaster once on what was known when the
test begins, lets it forecast from every 37th half-hour, and scores all on the same half-hours.
Parts: ``carbon`` (2024, fitted on 2020-23), ``served`` (the same with the inputs that a running
system collects), ``exchange`` (carbon and price with the auction's prices as the exchange tells
them), ``foresight`` (carbon, told more than anyone could know), ``weather`` (first half of 2021
with the recorded day-ahead wind, solar and load forecasts, fitted on 2020), ``price`` (2024),
``provider`` (2024, with a provider's forecast as its documented error model draws it),
``captured`` (the share of the clairvoyant saving) and ``demand``; all without an argument. Rows of
other parts are kept. Settings were chosen on 2022-23.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from statistics import median

import numpy as np
from forecasting_bands import as_banded
from forecasting_foresight import told_more
from results_file import Figure, update
from rich.progress import track

from gridflex.forecasting.archive import as_served
from gridflex.forecasting.backtest import (
    LEAD_GROUPS,
    Backtest,
    backtest,
    rolling_origins,
    score,
)
from gridflex.forecasting.forecaster import FAR_HALF_HOURS, NEAR_HALF_HOURS, Forecaster
from gridflex.forecasting.history import History
from gridflex.forecasting.models import KINDS, kind
from gridflex.halfhour import HalfHour
from gridflex.sandbox.grid.desk import AuctionSource
from gridflex.sandbox.grid.histories import (
    INTENSITY,
    PRICE,
    PROVIDER,
    provider_forecast,
    read_history,
)
from gridflex.sandbox.grid.recorded import TABLE, read_world
from gridflex.sandbox.grid.vintages import carbon_errors

NAIVE = ("persistence", "last-week", "climatology")
LEARNT = tuple(name for name in ("prophet", "lstm") if name in KINDS)
PROVIDER_SEED = 1
G, GBP = "gCO2/kWh", "GBP/MWh"


@dataclass(frozen=True, slots=True)
class Tried:
    """One forecaster in one task.

    Args:
        told: What it forecast, and what came.
        fit_s: Seconds it took to fit.
        model: The fitted forecaster.
    """

    told: Backtest
    fit_s: float
    model: Forecaster


def day(text: str) -> HalfHour:
    """Return midnight UTC of a day."""
    return HalfHour(datetime.fromisoformat(text).replace(tzinfo=UTC))


def folder() -> Path:
    """Return where the recorded series are, or end the benchmark."""
    found = Path(os.environ.get("GRIDFLEX_SHARED", "../shared")) / "data" / "grid"
    if not (found / TABLE).exists():
        sys.exit(f"no recorded series at {found / TABLE}; set GRIDFLEX_SHARED")
    return found


@cache
def recorded(target: str) -> History:
    """Return the recorded history."""
    return read_history(folder(), target=target)


def tried(
    models: Sequence[Forecaster], history: History, *, fit_at: HalfHour, until: HalfHour
) -> dict[str, Tried]:
    """Fit every model on what was known at ``fit_at`` and let it forecast up to ``until``."""
    origins = rolling_origins(fit_at, until - NEAR_HALF_HOURS)
    results = {}
    for model in models:
        begun = time.perf_counter()
        model.fit(history.known_at(fit_at))
        fit_s = time.perf_counter() - begun
        told = backtest(model, history, track(origins, f"{history.target} {model.name}"))
        results[model.name] = Tried(told, fit_s, model)
        print(f"{model.name}: fit {fit_s:.0f} s, 0-48 h MAE {told.score().mae:.2f}", flush=True)
    return results


def made(names: Sequence[str]) -> list[Forecaster]:
    """Return unfitted forecasters with their usual settings."""
    return [kind(name)() for name in names]


def carbon() -> list[Figure]:
    """Return the figures of 2024 without any weather forecast."""
    history = recorded(INTENSITY)
    mixed = kind("ensemble")()
    models = [*made(NAIVE), *made(LEARNT), *made(["lightgbm"]), mixed]
    results = tried(models, history, fit_at=day("2024-01-01"), until=day("2025-01-01"))
    data = "recorded GB 2024, fitted on 2020-23, no weather forecast"
    return [
        mae("carbon_mae_0_12h_2024", results, (0, 24), data, target="<= 17"),
        mae("carbon_mae_0_48h_2024", results, (0, 96), data, target="<= 26"),
        *(
            mae(f"carbon_mae_{_key(name)}_2024", results, span, data)
            for name, span in LEAD_GROUPS.items()
            if span[1] <= NEAR_HALF_HOURS
        ),
        *of_all("carbon_{}_0_48h_2024", results, G, data),
        *coverage("carbon", results, data),
        far(mixed, results["climatology"].model, history),
        predict_ms(mixed, results["lightgbm"].model, history),
        Figure(
            "train_champion_min",
            results["ensemble"].fit_s / 60,
            "min",
            "<= 10",
            {name: found.fit_s / 60 for name, found in results.items() if name != "ensemble"},
            f"{data}; one thread",
        ),
    ]


def served() -> list[Figure]:
    """Return the errors of 2024 with no more inputs than a running system collects."""
    data = "recorded GB 2024, fitted on 2020-23, inputs that the grid agent collects"
    return knowing(as_served(recorded(INTENSITY)), "as_served", data)


def exchange() -> list[Figure]:
    """Return the errors of 2024 where the auction's prices are read at the exchange itself."""
    told = "fitted on 2020-23, day-ahead price read at the exchange by 10:10"
    rows = []
    for target, data in ((INTENSITY, "recorded GB 2024"), (PRICE, "recorded GB market index 2024")):
        history = read_history(folder(), target=target, prices_from=AuctionSource.EXCHANGE)
        rows += knowing(history, "exchange", f"{data}, {told}")
    return rows


def foresight() -> list[Figure]:
    """Return the errors of 2024 where the future is told: what better inputs could be worth."""
    rows = []
    for what, history in told_more(recorded(INTENSITY)).items():
        data = f"recorded GB 2024, fitted on 2020-23, {what.replace('_', ' ')}: known to nobody"
        rows += knowing(history, f"if_{what}", data)
    return rows


def knowing(history: History, what: str, data: str) -> list[Figure]:
    """Return the errors of 2024 of `lightgbm` with what a history knows."""
    results = tried(
        made(["persistence", "lightgbm"]),
        history,
        fit_at=day("2024-01-01"),
        until=day("2025-01-01"),
    )
    signal, unit = ("price", GBP) if history.target == PRICE else ("carbon", G)
    return [
        mae(
            f"{signal}_mae_0_{h}h_2024_{what}",
            results,
            (0, 2 * h),
            data,
            unit=unit,
            best="lightgbm",
        )
        for h in (12, 24, 48)
    ]


def weather() -> list[Figure]:
    """Return the figures of early 2021, where day-ahead weather forecasts are recorded."""
    results = tried(
        [*made(NAIVE), *made(["lightgbm"])],
        recorded(INTENSITY),
        fit_at=day("2021-01-01"),
        until=day("2021-06-14"),
    )
    data = "recorded GB January to mid-June 2021, fitted on 2020"
    found = mae("carbon_mae_0_24h_2021h1", results, (0, 48), data, target="<= 18", best="lightgbm")
    wind = told_of_weather(results["lightgbm"].told)
    return [
        found,
        Figure(
            "carbon_mae_0_24h_2021h1_forecast_known",
            wind,
            G,
            None,
            {"all half-hours": found.value},
            f"{data}; half-hours whose wind forecast was out",
        ),
    ]


def told_of_weather(told: Backtest) -> float:
    """Return the mean absolute error of the first day where a wind forecast was known."""
    history = recorded(INTENSITY)
    windows = [history.known_at(o).window("wind_forecast_mw", 0, 48) for o in told.origins]
    known = np.isfinite(np.array(windows)) & np.isfinite(told.outturns[:, :48])
    return score(told.values[:, :48][known], told.outturns[:, :48][known]).mae


def price() -> list[Figure]:
    """Return the figures of the market index of 2024."""
    results = tried(
        [*made(NAIVE), *made(LEARNT), *made(["lightgbm"])],
        recorded(PRICE),
        fit_at=day("2024-01-01"),
        until=day("2025-01-01"),
    )
    data = "recorded GB market index 2024, fitted on 2020-23"
    gains = {
        peer: 100 * (1 - results["lightgbm"].told.score(0, 48).mae / found.told.score(0, 48).mae)
        for peer, found in results.items()
        if peer != "lightgbm"
    }
    least = min(gains["persistence"], gains["last-week"])
    at_24h = min(
        100 * (1 - results["lightgbm"].told.score(46, 50).mae / results[p].told.score(46, 50).mae)
        for p in ("persistence", "last-week")
    )
    gains["at 24 h exactly"] = at_24h
    return [
        Figure("price_mae_gain_24h_pct", least, "%", ">= 25", gains, f"{data}; 0-24 h"),
        mae("price_mae_0_24h_2024", results, (0, 48), data, unit=GBP, best="lightgbm"),
        mae("price_mae_24_48h_2024", results, (48, 96), data, unit=GBP, best="lightgbm"),
        *of_all("price_{}_0_48h_2024", results, GBP, data, best="lightgbm"),
        *coverage("price", results, data, best="lightgbm"),
    ]


def provider() -> list[Figure]:
    """Return what a provider's forecast adds, drawn from its documented error model."""
    bare = recorded(INTENSITY)
    drawn = provider_forecast(read_world(folder()), carbon_errors(PROVIDER_SEED))
    history = History(bare.start, INTENSITY, {**bare.inputs, PROVIDER: drawn})
    results = tried(
        made(["persistence", "lightgbm"]),
        history,
        fit_at=day("2024-01-01"),
        until=day("2025-01-01"),
    )
    told = results["lightgbm"].told
    alone = alone_error(history, told)
    data = "recorded GB 2024, fitted on 2020-23, with a simulated provider forecast (seed 1)"
    return [
        Figure(
            "carbon_mae_0_48h_2024_with_provider",
            told.score().mae,
            G,
            None,
            {"provider alone": alone, "persistence": results["persistence"].told.score().mae},
            data,
        )
    ]


def alone_error(history: History, told: Backtest) -> float:
    """Return the mean absolute error of the provider's newest forecast over 0-48 h."""
    said = np.array([history.known_at(o).window(PROVIDER, 0, 96) for o in told.origins])
    return float(np.nanmean(np.abs(said - told.outturns)))


def captured() -> list[Figure]:
    """Return what the forecasts save of what perfect foresight would."""
    from forecasting_captured import captured_figures  # noqa: PLC0415 - it reads a series of its own

    history, start = recorded(INTENSITY), day("2024-01-01")
    model = kind("lightgbm")()
    model.fit(history.known_at(start))
    return captured_figures(model, history, start=start)


def demand() -> list[Figure]:
    """Return the figures of GPU demand and run times."""
    from forecasting_demand import demand_figures  # noqa: PLC0415 - it reads traces of its own

    return demand_figures()


def mae(
    name: str,
    results: Mapping[str, Tried],
    leads: tuple[int, int],
    data: str,
    *,
    unit: str = G,
    target: str | None = None,
    best: str = "ensemble",
) -> Figure:
    """Return the mean absolute error of one forecaster with all others beside it."""
    errors = {model: found.told.score(*leads).mae for model, found in results.items()}
    return Figure(name, errors.pop(best), unit, target, errors, data)


def of_all(
    name: str, results: Mapping[str, Tried], unit: str, data: str, *, best: str = "ensemble"
) -> list[Figure]:
    """Return the other scores over 0-48 h."""
    scores = {model: found.told.score() for model, found in results.items()}
    kinds: dict[str, Callable[[str], float]] = {
        "rmse": lambda model: scores[model].rmse,
        "crps": lambda model: scores[model].crps,
        "pinball": lambda model: scores[model].pinball,
        "mape": lambda model: 100 * scores[model].mape_fraction,
    }
    return [
        Figure(
            name.format(what),
            of(best),
            "%" if what == "mape" else unit,
            None,
            {model: of(model) for model in scores if model != best},
            data,
        )
        for what, of in kinds.items()
    ]


def coverage(
    signal: str, results: Mapping[str, Tried], data: str, *, best: str = "ensemble"
) -> list[Figure]:
    """Return how often the outturn lies in the 90 % band, in per cent, and what bands cost.

    As served, with the band of each model's newest errors, and with its own band as fitted.
    """
    own = {name: found.told.score() for name, found in results.items()}
    served = {name: as_banded(found.told).score() for name, found in results.items()}
    inside = {name: 100 * told.coverage_fraction[90] for name, told in served.items()}
    fitted = {name: 100 * told.coverage_fraction[90] for name, told in own.items()}
    loss = {f"{name}, its own band": told.pinball for name, told in own.items()}
    loss |= {name: told.pinball for name, told in served.items()}
    unit = G if signal == "carbon" else GBP
    as_served = f"{data}; bands of the errors of the last 60 days"
    return [
        Figure(f"{signal}_band90_cover_pct", inside.pop(best), "%", "88 to 92", inside, as_served),
        Figure(f"{signal}_band90_own_cover_pct", fitted.pop(best), "%", None, fitted, data),
        Figure(f"{signal}_pinball_as_served", loss.pop(best), unit, None, loss, as_served),
    ]


def far(model: Forecaster, peer: Forecaster, history: History) -> Figure:
    """Return the error beyond 48 h, to nine days ahead, from fewer origins."""
    origins = rolling_origins(day("2024-01-01"), day("2024-12-22"), step=37 * 5)
    errors = {
        each.name: backtest(each, history, origins, half_hours=FAR_HALF_HOURS)
        .score(NEAR_HALF_HOURS, FAR_HALF_HOURS)
        .mae
        for each in (model, peer)
    }
    return Figure(
        "carbon_mae_2_9d_2024", errors.pop(model.name), G, None, errors, "recorded GB 2024"
    )


def predict_ms(model: Forecaster, peer: Forecaster, history: History) -> Figure:
    """Return the median time of one forecast of all horizons, features included."""
    taken = {each.name: _median_ms(each, history) for each in (model, peer)}
    return Figure(
        "predict_ms", taken.pop(model.name), "ms", "<= 200", taken, "9 days ahead, one thread"
    )


def _median_ms(model: Forecaster, history: History) -> float:
    taken = []
    for origin in rolling_origins(day("2024-02-01"), day("2024-02-15"), step=37):
        begun = time.perf_counter()
        model.predict(history.known_at(origin), FAR_HALF_HOURS)
        taken.append(1000 * (time.perf_counter() - begun))
    return median(taken)


def _key(group: str) -> str:
    return group.replace("-", "_")


PARTS: Mapping[str, Callable[[], list[Figure]]] = {
    "carbon": carbon,
    "served": served,
    "exchange": exchange,
    "foresight": foresight,
    "weather": weather,
    "price": price,
    "provider": provider,
    "captured": captured,
    "demand": demand,
}


def main() -> None:
    """Run the parts named on the command line, or all, and publish their rows."""
    for part in sys.argv[1:] or PARTS:
        if part not in PARTS:
            sys.exit(f"{part!r} is not one of {', '.join(PARTS)}")
        update("forecasting", PARTS[part]())


if __name__ == "__main__":
    main()
