"""``gridflex train``: forecasters, from their data to the champion."""

from __future__ import annotations

from datetime import UTC, datetime
from types import TracebackType
from typing import Annotated, Any, Final, Self

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

from gridflex.adapters.clock import Clock
from gridflex.cli import training
from gridflex.cli.fitting import Column, print_fitting
from gridflex.cli.options import AsJson, Config
from gridflex.cli.output import out, print_json, say, styled
from gridflex.cli.shared_data import SHARED_VARIABLE
from gridflex.cli.training import (
    Request,
    Stores,
    Target,
    interrupted,
    shown,
    stored_as,
    with_stores,
)
from gridflex.forecasting.lineage import Act, Decision, TrainedModel, standing_of
from gridflex.running.launch import in_force
from gridflex.settings_files import load_settings

train_app = typer.Typer(no_args_is_help=True)

MODELS: Final = (
    Column("id"),
    Column("target"),
    Column("model"),
    Column("standing"),
    Column("MAE", goes=3),
    Column("pinball loss", goes=4),
    Column("learnt from", goes=2, narrowest=24),
    Column("code", goes=1),
)
COMPARED: Final = (
    Column("model"),
    Column("MAE"),
    Column("RMSE", goes=4),
    Column("bias", goes=3),
    Column("pinball loss"),
    Column("in 90 % band"),
    Column("fit s", goes=2),
    Column("forecast ms", goes=1),
    Column("note", narrowest=16),
)

Site = Annotated[str | None, typer.Option(help="Of demand: whose GPUs.")]
Reason = Annotated[str, typer.Option(help="Why, for who looks at it later.")]


@train_app.command("forecaster")
def forecaster(
    *,
    target: Annotated[Target, typer.Option(help="What to forecast.")],
    site: Site = None,
    models: Annotated[
        str | None, typer.Option(help="Kinds to try, with commas between them; all by default.")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Settings to try for each kind.")] = 8,
    budget: Annotated[
        float, typer.Option(min=0.1, help="Minutes after which no more settings are tried.")
    ] = 10.0,
    days: Annotated[
        int, typer.Option(min=1, help="Length of the part held back, and of each stretch before.")
    ] = 28,
    stretches: Annotated[
        int, typer.Option(min=1, help="Stretches of the past on which settings are chosen.")
    ] = 3,
    recorded: Annotated[
        bool, typer.Option("--recorded", help=f"Learn from {SHARED_VARIABLE}, not the archive.")
    ] = False,
    since: Annotated[
        datetime | None, typer.Option(help="First instant that is learnt from, UTC; else all.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(help="First instant that is not used, UTC; else the end.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the last training that was interrupted.")
    ] = False,
    gpu: Annotated[
        bool, typer.Option(help="Use a GPU where there is one and a kind is faster with it.")
    ] = True,
    promote: Annotated[
        bool, typer.Option(help="Let the winner take the champion's place if it beats it.")
    ] = True,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Search settings with Ray Tune, compare, and promote the winner if it beats the champion."""
    stored_as(target, site=site)
    settings = in_force(load_settings(config))
    from gridflex.training.families import DEMAND, trainable  # noqa: PLC0415 - imports Ray

    folder = settings.state_path / "training" / (f"{target}-{site}" if site else target.value)
    if resume:
        place, request = interrupted(folder)
    else:
        usual = trainable() if target is not Target.DEMAND else (DEMAND,)
        names = tuple(models.split(",")) if models else usual
        place = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
        request = Request(
            target=target, site=site, models=names, samples=samples, budget_s=60 * budget,
            days=days, stretches=stretches, recorded=recorded,
            since=since.replace(tzinfo=UTC) if since else None,
            until=until.replace(tzinfo=UTC) if until else Clock(settings.clock).now(),
            gpu=gpu,
        )  # fmt: skip
    with _Bars(is_shown=not as_json) as bars:
        answer = training.train(
            settings, request, place, resume=resume, may_promote=promote, progress=bars
        )
    if as_json:
        print_json(answer)
        return
    out.print(f"{answer['target']}, on the part held back")
    print_fitting(out, COMPARED, [_compared_row(row) for row in answer["rows"]])
    say(styled((answer["verdict"], "bold")))


@train_app.command("ls")
def ls(*, config: Config = None, as_json: AsJson = False) -> None:
    """List trained forecasters, and say which of them forecast."""

    async def listed(stores: Stores) -> list[dict[str, Any]]:
        found = await stores.models.all()
        targets = {model.training.target for model in found}
        decided = {target: await stores.models.decisions(target) for target in targets}
        return [
            shown(model) | {"standing": standing_of(model.id, decided[model.training.target])}
            for model in found
        ]

    models = with_stores(in_force(load_settings(config)), listed)
    if as_json:
        print_json({"models": models})
        return
    if not models:
        say("no forecaster is trained; train one with: gridflex train forecaster --target carbon")
        return
    print_fitting(out, MODELS, [_model_row(one) for one in models])


@train_app.command("rollback")
def rollback(
    target: Annotated[Target, typer.Option(help="Whose champion.")],
    *,
    site: Site = None,
    reason: Reason = "asked for",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Let the champion before the present one forecast again; before the first there was none."""
    settings = in_force(load_settings(config))
    decision = Decision(
        stored_as(target, site=site), Act.ROLL_BACK, None, reason, Clock(settings.clock).now()
    )
    made = with_stores(settings, lambda stores: stores.models.roll_back(decision))
    _say_decision(made, as_json=as_json)


@train_app.command("promote")
def promote_model(
    model: Annotated[int, typer.Argument(help="Its number; see: gridflex train ls")],
    *,
    reason: Reason = "asked for",
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make a trained forecaster the champion of its target, whatever the backtest said."""
    settings = in_force(load_settings(config))
    now = Clock(settings.clock).now()

    async def promoted(stores: Stores) -> tuple[TrainedModel, Decision | None]:
        chosen = await stores.models.get(model)
        await stores.models.read(chosen)
        standing = await stores.models.champions(chosen.training.target)
        over = standing[0].id if standing else None
        return chosen, await training.promote(stores, chosen, over=over, reason=reason, now=now)

    chosen, made = with_stores(settings, promoted)
    if made is not None:
        _say_decision(made, as_json=as_json)
        return
    target = chosen.training.target
    if as_json:
        print_json({"target": target, "champion": model, "changed": False})
        return
    say(f"the champion of {target} is model {model} already; nothing is changed")


class _Bars:
    """Progress bars on standard error, one for each part of a training."""

    def __init__(self, *, is_shown: bool) -> None:
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            disable=not is_shown,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def begin(self, what: str, steps: int) -> None:
        self._task = self._bars.add_task(what, total=steps)

    def advance(self, steps: int = 1) -> None:
        if self._task is not None:
            self._bars.advance(self._task, steps)


def _say_decision(made: Decision, *, as_json: bool) -> None:
    if as_json:
        answer = {"target": str(made.target), "champion": made.model_id, "reason": made.reason}
        print_json(answer | {"changed": True})
        return
    champion = "none" if made.model_id is None else f"model {made.model_id}"
    out.print(f"the champion of {made.target} is {champion} from now on")


def _model_row(one: dict[str, Any]) -> list[str]:
    metrics = one["metrics"]
    return [
        *(str(one["id"]), one["target"], one["model"], one["standing"]),
        *(_figure(metrics.get(name)) for name in ("mae", "pinball")),
        f"{one['window_start'][:10]} to {one['window_end'][:10]}, {one['origin']}",
        one["code_version"],
    ]


def _compared_row(row: dict[str, Any]) -> list[str]:
    figures = row["figures"]
    covered = figures.get("cover_90_fraction")
    return [
        row["name"],
        *(_figure(figures.get(name)) for name in ("mae", "rmse", "bias", "pinball")),
        "-" if covered is None else f"{covered:.0%}",
        *(_figure(figures.get(name)) for name in ("fit_s", "predict_ms")),
        row["note"],
    ]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
