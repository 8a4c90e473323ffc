"""``gridflex grid``: what the grid does, and how well it was foretold."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gridflex.cli.instants import minute
from gridflex.cli.on_demand import on_demand
from gridflex.cli.options import AsJson, Url
from gridflex.client import Client
from gridflex.forecasting.skill import MOST_DAYS, Scored
from gridflex.signals import NATIONAL, Origin

SHOWN_SHARE: Final = 0.005

grid_app = typer.Typer(
    no_args_is_help=True,
    help="Price and carbon intensity, as GridFlex knows.",
    cls=on_demand({"backfill": "gridflex.cli.backfill:backfill"}),
)

out = Console()

Region = Annotated[
    str, typer.Option(help="GB, an outward postcode such as RG10, or region-13; of the intensity.")
]


@grid_app.command("now")
def grid_now(*, region: Region = NATIONAL, url: Url = None, as_json: AsJson = False) -> None:
    """Show price and intensity of the running half-hour, and how fresh every feed is."""
    with Client(url) as client:
        answer = client.get("/v1/grid/now", region=region)
    if as_json:
        out.print_json(json.dumps(answer))
        return
    out.print(_heading(answer), highlight=False)
    out.print(_half_hours([answer["half_hour"]]))
    if mix := answer["generation_mix"]:
        out.print(_mix(mix), highlight=False, soft_wrap=True)
    feeds = Table("feed", "region", "last good answer (UTC)", "age")
    for feed in answer["feeds"]:
        last = feed["last_good_at"]
        feeds.add_row(feed["source"], feed["region"], minute(last), _age(feed["age_s"]))
    out.print(feeds)
    for feed in answer["feeds"]:
        if feed["reason"]:
            out.print(f"[red]{feed['source']}:[/] {escape(feed['reason'])}", highlight=False)


@grid_app.command("forecast")
def grid_forecast(
    *,
    hours: Annotated[int, typer.Option(min=1, help="How far to look ahead.")] = 48,
    region: Region = NATIONAL,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show price and intensity of the half-hours to come, and how well each is known."""
    with Client(url) as client:
        answer = client.get("/v1/grid/forecast", hours=hours, region=region)
    if as_json:
        out.print_json(json.dumps(answer))
        return
    out.print(_heading(answer), highlight=False)
    out.print(_half_hours(answer["half_hours"]))


@grid_app.command("skill")
def grid_skill(
    *,
    days: Annotated[int, typer.Option(min=1, max=MOST_DAYS, help="How far back.")] = 14,
    signal: Annotated[Scored, typer.Option(help="What was forecast.")] = Scored.INTENSITY,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show how good every source's forecasts have been, all on the same half-hours."""
    with Client(url) as client:
        answer = client.get("/v1/forecasts/skill", days=days, signal=signal.value)
    if as_json:
        out.print_json(json.dumps(answer))
        return
    if not answer["rows"]:
        out.print(f"no forecast of {answer['signal']} was issued in the last {days} days")
        return
    out.print(_skill(answer))
    first, source = answer["own_first"], answer["own_source"]
    if source is not None:
        where = f"goes first at {', '.join(first)}" if first else "goes after the providers'"
        out.print(f"{source} {where}", highlight=False)


def _skill(answer: dict[str, Any]) -> Table:
    title = f"{answer['signal']}, forecasts of the last {answer['days']} days"
    table = Table(
        *("ahead", "source", "n", "half-hours", "MAE", "RMSE", "bias"),
        *("pinball", "in 90 % band", "in its own"),
        title=title,
        caption="bands as plans were made with them; its own: as the source itself said it",
    )
    lead = None
    for row in answer["rows"]:
        if row["lead"] != lead:
            table.add_section()
        lead = row["lead"]
        served, own = (
            row[name].get("90") for name in ("served_coverage_fraction", "coverage_fraction")
        )
        n = str(row["count"]) if row["count"] else f"0 of {row['count_alone']}"
        figures = [_figure(row[name]) for name in ("mae", "rmse", "bias", "served_pinball")]
        table.add_row(
            lead, row["source"], n, str(row["half_hours"]), *figures, _share(served), _share(own)
        )
    return table


def _share(fraction: float | None) -> str:
    return "-" if fraction is None else f"{fraction:.0%}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _heading(answer: dict[str, Any]) -> str:
    origin = answer["origin"]
    shown = origin if origin == Origin.LIVE.value else f"[bold]{origin}[/]"
    return f"{answer['region']} at {minute(answer['now'])}, {shown}"


def _half_hours(half_hours: list[dict[str, Any]]) -> Table:
    table = Table(
        "start (UTC)",
        *("gCO2/kWh", "90 % band", "known from"),
        *("GBP/MWh", "90 % band", "known from"),
    )
    for row in half_hours:
        intensity, price = row["intensity"], row["price"]
        table.add_row(
            minute(row["start"]),
            f"{intensity['gco2_per_kwh']:.0f}",
            _band(intensity),
            _known(intensity),
            f"{price['gbp_per_mwh']:.2f}",
            _band(price),
            _known(price),
        )
    return table


def _known(value: dict[str, Any]) -> str:
    """Source, region where it is not national, rung, age and what the value rests on."""
    region = "" if value["region"] == NATIONAL else f" {value['region']}"
    return f"{value['source']}{region}, {value['rung']}, {_age(value['age_s'])}, {value['origin']}"


def _band(value: dict[str, Any]) -> str:
    """The 90 % band and what it rests on."""
    levels = value["quantiles"]
    if levels is None:
        return "-"
    return f"{levels['0.05']:.0f} to {levels['0.95']:.0f}, {value['band']}"


def _mix(mix: dict[str, Any]) -> str:
    shares = sorted(mix["share_fraction"].items(), key=lambda item: -item[1])
    told = ", ".join(f"{fuel} {share:.0%}" for fuel, share in shares if share >= SHOWN_SHARE)
    return f"generation at {minute(mix['start'])}, {mix['origin']}: {told}"


def _age(age_s: float | None) -> str:
    if age_s is None:
        return "never"
    minutes = round(age_s / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"  # noqa: PLR2004 - two hours
