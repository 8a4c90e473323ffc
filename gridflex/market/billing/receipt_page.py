"""A receipt in a few lines, or as a page to print with the proof that it is in the ledger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from html import escape
from typing import Any, Final

from gridflex.ledger.verify.notes import parse_checkpoint, parse_note
from gridflex.ledger.verify.receipts import DELIVERED
from gridflex.market.billing.page import facts_list, page
from gridflex.market.billing.receipts import IssuedReceipt
from gridflex.units import gbp_text

FIGURES: Final = (
    ("used_kwh", "Energy used"),
    ("run_now_kwh", "Energy, had it run at once"),
    ("energy_change_kwh", "Change in energy"),
    ("location_based_gco2", "Emissions, location-based, average intensity"),
    ("average_change_gco2", "Change in emissions, average intensity"),
    ("marginal_change_gco2", "Change in emissions, marginal intensity"),
    ("cost_gbp", "Cost of energy, wholesale"),
    ("run_now_cost_gbp", "Cost, had it run at once"),
    ("saved_gbp", "Saved by moving it, wholesale"),
    ("delivered_cost_gbp", "Cost of energy, delivered"),
    ("run_now_delivered_cost_gbp", "Delivered cost, had it run at once"),
    ("delivered_saved_gbp", "Saved by moving it, delivered"),
    ("earned_gbp", "Earned in the market, net"),
)
"""In the order of the page; emissions of different frames are never added up."""

_PLACES: Final = {"kWh": 3, "gCO2": 0}


def receipt_html(receipt: IssuedReceipt) -> str:
    """Return a receipt as a page that needs nothing else."""
    body = receipt.entry["body"]
    title = f"Receipt for job {body['job']}"
    return page(
        title,
        f"<h1>{escape(title)}</h1>",
        f"<h2>Promised</h2>{facts_list(_promised(body['promised']))}",
        f"<h2>Done</h2>{facts_list(_done(body))}",
        _figures(body),
        _settled(receipt.details.get("settled", [])),
        _half_hours(receipt.details["half_hours"]),
        _proof(receipt),
    )


def receipt_facts(receipt: IssuedReceipt) -> Iterable[tuple[str, str]]:
    """Return what became of a job and what that was worth, each with a title."""
    body = receipt.entry["body"]
    yield from _done(body)
    for name, title in FIGURES:
        if name in body["figures"]:
            amount, basis = _stated(body["figures"][name])
            yield title, f"{amount} ({basis})" if amount else basis


def _promised(promised: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    declared = "declared" if promised["duration_is_declared"] else "estimated"
    yield "Tier", promised["tier"]
    yield "Submitted", _minute(promised["submitted_at"])
    yield "Deadline", _minute(promised["deadline"])
    yield "Run time", f"{_hours(promised['duration_s'])}, {declared}"
    yield "May be paused", "yes" if promised["interruptible"] else "no"
    yield "GPUs", str(promised["gpus"])
    for name, title in (("team", "Team"), ("project", "Project")):
        if promised[name]:
            yield title, promised[name]


def _done(body: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    done, lost = body["done"], body["work_lost"]
    yield "Outcome", done["state"]
    yield "Ended", _minute(done["ended_at"]) + (", late" if done["was_late"] else ", in time")
    yield "Ran", f"{_hours(done['run_time_s'])} in {_counted(len(done['attempts']), 'run')}"
    yield "Paused", _counted(done["pauses"], "time")
    gpu_hours = _rounded(lost["redone_gpu_hours"], 2)
    yield "Work lost", f"{_hours(lost['redone_s'])}, {gpu_hours} GPU h ({lost['basis']})"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _figures(body: Mapping[str, Any]) -> str:
    figures = body["figures"]
    rows = "".join(_figure(title, figures[name]) for name, title in FIGURES if name in figures)
    origin = escape(body["grid_origin"])
    return (
        "<h2>Energy, emissions and money</h2>"
        '<table><thead><tr><th></th><th class="money">Amount</th><th>Rests on</th></tr></thead>'
        f"<tbody>{rows}</tbody></table>"
        f"<small>Prices and intensities: {origin}. Negative changes are reductions. "
        "Emissions at average and at marginal intensity answer different questions and are not "
        "added up. Delivered cost is by the site's tariff, losses, networks and levies included; "
        "the wholesale cost is part of it.</small>"
    )


def _stated(figure: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return the amount, and what it rests on."""
    if figure is None:
        return "", "not known"
    unit, value = figure["unit"], figure["value"]
    number = gbp_text(Decimal(value)) if unit == "GBP" else _rounded(value, _PLACES[unit])
    run = f", run {figure['run']}" if "run" in figure else ""
    return f"{number} {unit}", figure["basis"] + run


def _figure(title: str, figure: Mapping[str, Any] | None) -> str:
    amount, basis = _stated(figure)
    return (
        f'<tr><td>{escape(title)}</td><td class="money">{escape(amount)}</td>'
        f"<td>{escape(basis)}</td></tr>"
    )


def _settled(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return ""
    body = "".join(
        f"<tr><td>{escape(row['start'])}</td><td>{escape(row['run'])}</td><td>{row['entry']}</td>"
        f'<td class="money">{_rounded(row["reduction_mwh"], 4)} of '
        f"{_rounded(row['all_reductions_mwh'], 4)}</td>"
        f'<td class="money">{_rounded(row["net_gbp"], 4)}</td>'
        f'<td class="money">{_rounded(row["earned_gbp"], 4)}</td></tr>'
        for row in rows
    )
    return (
        '<h2>Earned by half-hour</h2><div class="wide"><table><thead><tr><th>Starts (UTC)</th>'
        '<th>Run</th><th>Entry</th><th class="money">MWh of all reduced</th>'
        '<th class="money">Net GBP</th><th class="money">Earned GBP</th></tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
        "<small>The net of each settled half-hour is spread over the jobs that used less in it "
        "than had they run at once, in proportion. Later settlement runs may change it; each "
        "change is a further receipt.</small>"
    )


def _half_hours(rows: Iterable[Mapping[str, Any]]) -> str:
    rows = list(rows)
    columns = ["used_kwh", "run_now_kwh", "price_gbp_per_mwh", "average_gco2_per_kwh"]
    titles = ["Used kWh", "Run now kWh", "GBP/MWh", "gCO2/kWh, average"]
    if all(DELIVERED in row for row in rows):
        columns.insert(3, DELIVERED)
        titles.insert(3, "GBP/MWh, delivered")
    body = "".join(
        f"<tr><td>{escape(row['start'])}</td>"
        + "".join(f'<td class="money">{_rounded(row[name], 3)}</td>' for name in columns)
        + "</tr>"
        for row in rows
    )
    heads = "".join(f'<th class="money">{escape(title)}</th>' for title in titles)
    return (
        '<h2>By half-hour</h2><div class="wide"><table><thead><tr><th>Starts (UTC)</th>'
        f"{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _proof(receipt: IssuedReceipt) -> str:
    checkpoint = parse_checkpoint(parse_note(receipt.checkpoint).text)
    before = receipt.entry["prev_ref"]
    facts = [
        ("Ledger", checkpoint.origin),
        ("Entry", f"{receipt.index} of {checkpoint.size}"),
        ("Recorded", receipt.entry["recorded_time"]),
        *([("Follows receipt", f"entry {before}")] if before is not None else []),
        ("Root", checkpoint.root.hex()),
        ("Details SHA-256", receipt.entry["body"]["details_sha256"]),
    ]
    return (
        f"<h2>Proof</h2>{facts_list(facts)}"
        "<p><small>Anybody can verify the JSON form of this receipt offline, and against the "
        "published ledger.</small></p>"
    )


def _rounded(text: str, places: int) -> str:
    return f"{Decimal(text):,.{places}f}"


def _hours(seconds: str) -> str:
    return f"{Decimal(seconds) / 3600:.2f} h"


def _minute(instant: str) -> str:
    return f"{instant[:16].replace('T', ' ')} UTC"
