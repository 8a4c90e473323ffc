"""``gridflex grid``: what the grid does, and how well it was foretold."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from gridflex.cli.fitting import Column, print_fitting
from gridflex.cli.instants import minute
from gridflex.cli.on_demand import Elsewhere, on_demand
from gridflex.cli.options import AsJson, Url
from gridflex.cli.output import out, print_json, say, styled
from gridflex.client import Client
from gridflex.forecasting.skill import MOST_DAYS, Scored
from gridflex.places import VALID_PLACE
from gridflex.signals import NATIONAL, Origin

SHOWN_SHARE: Final = 0.005

FEEDS: Final = (
    Column("feed"),
    Column("region", goes=1),
    Column("last good answer (UTC)", goes=2),
    Column("age"),
)
HALF_HOURS: Final = (
    Column("start (UTC)"),
    Column("gCO2/kWh"),
    Column("90 % band", goes=4),
    Column("known from", goes=2, narrowest=24),
    Column("GBP/MWh"),
    Column("90 % band", goes=3),
    Column("known from", goes=1, narrowest=24),
)
SKILL: Final = (
    Column("ahead"),
    Column("source"),
    Column("n", goes=5),
    Column("half-hours", goes=1),
    Column("MAE"),
    Column("RMSE", goes=4),
    Column("bias", goes=6),
    Column("pinball\nloss", goes=2),
    Column("in 90 % band", goes=7),
    Column("in its own", goes=3),
)
BANDS: Final = "bands as plans were made with them; its own: as the source itself said it"

ON_DEMAND: Final = {
    "backfill": Elsewhere(
        "gridflex.cli.backfill:backfill",
        "Ask the providers for the past and keep it; no forecast that is kept is asked for again.",
    )
}

grid_app = typer.Typer(
    no_args_is_help=True,
    cls=on_demand(ON_DEMAND),
)


Region = Annotated[str, typer.Option(help=f"{NATIONAL}, {VALID_PLACE}; of the intensity.")]


@grid_app.command("now")
def grid_now(*, region: Region = NATIONAL, url: Url = None, as_json: AsJson = False) -> None:
    """Show price and intensity of the running half-hour, and how fresh every feed is."""
    with Client(url) as client:
        answer = client.get("/v1/grid/now", region=region)
    if as_json:
        print_json(answer)
        return
    _print_heading(answer, half_hours=1)
    print_fitting(out, *_now(answer))
    if mix := answer["generation_mix"]:
        say(_mix(mix))
    feeds = [
        (feed["source"], feed["region"], minute(feed["last_good_at"], zone=""), _age(feed["age_s"]))
        for feed in answer["feeds"]
    ]
    print_fitting(out, FEEDS, feeds)
    for feed in answer["feeds"]:
        if feed["reason"]:
            say(styled((f"{feed['source']}:", "red"), f" {feed['reason']}"))


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
        print_json(answer)
        return
    _print_heading(answer, half_hours=len(answer["half_hours"]))
    rows = [_half_hour(row, asked=answer["region"]) for row in answer["half_hours"]]
    print_fitting(out, HALF_HOURS, rows)


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
        print_json(answer)
        return
    if not answer["rows"]:
        say(
            f"nothing to score: no forecast of {answer['signal']} that was issued in the last "
            f"{days} days is of a half-hour whose outturn is known by now"
        )
        return
    out.print(f"{answer['signal']}, forecasts of the last {days} days")
    print_fitting(
        out, SKILL, [_skill(row) for row in answer["rows"]], caption=BANDS, has_sections=True
    )
    first, source = answer["own_first"], answer["own_source"]
    if source is not None:
        where = f"goes first at {', '.join(first)}" if first else "goes after the providers'"
        out.print(f"{source} {where}")


def _skill(row: dict[str, Any]) -> tuple[str, ...]:
    n = str(row["count"]) if row["count"] else f"0 of {row['count_alone']}"
    return (
        *(row["lead"], row["source"], n, str(row["half_hours"])),
        *(_figure(row[name]) for name in ("mae", "rmse", "bias", "served_pinball")),
        _share(row["served_coverage_fraction"].get("90")),
        _share(row["coverage_fraction"].get("90")),
    )


def _share(fraction: float | None) -> str:
    return "-" if fraction is None else f"{fraction:.0%}"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _print_heading(answer: dict[str, Any], *, half_hours: int) -> None:
    origin, region = answer["origin"], answer["region"]
    shown = (origin, "" if origin == Origin.LIVE.value else "bold")
    out.print(styled(f"{region} at {minute(answer['now'])}, ", shown))
    if national := answer.get("national_half_hours"):
        how_many = "" if national == half_hours else f" of {national} of {half_hours} half-hours"
        regions = answer.get("regions")
        asked = f"asked for are {', '.join(regions)}" if regions else ""
        say(
            f"intensity{how_many} is national ({NATIONAL}), as none of {region} is known; "
            f"{asked or 'no site has a postcode'}"
        )


def _now(answer: dict[str, Any]) -> tuple[tuple[Column, ...], list[tuple[str, ...]]]:
    half_hour = answer["half_hour"]
    intensity, price = half_hour["intensity"], half_hour["price"]
    known = (Column("value"), Column("90 % band"), Column("known from", narrowest=24))
    rests_on = _known(intensity, asked=answer["region"])
    return (Column(minute(half_hour["start"])), *known), [
        ("intensity", f"{_amount(intensity)} gCO2/kWh", _band(intensity), rests_on),
        ("price", f"{_amount(price)} GBP/MWh", _band(price), _known(price)),
    ]


def _half_hour(row: dict[str, Any], *, asked: str) -> tuple[str, ...]:
    intensity, price = row["intensity"], row["price"]
    return (
        minute(row["start"], zone=""),
        *(_amount(intensity), _band(intensity), _known(intensity, asked=asked)),
        *(_amount(price), _band(price), _known(price)),
    )


def _amount(value: dict[str, Any]) -> str:
    return (
        f"{value['gco2_per_kwh']:.0f}" if "gco2_per_kwh" in value else f"{value['gbp_per_mwh']:.2f}"
    )


def _known(value: dict[str, Any], *, asked: str = NATIONAL) -> str:
    """Source, region where not all is national, rung, age and what the value rests on."""
    region = "" if value["region"] == asked == NATIONAL else f" {value['region']}"
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
