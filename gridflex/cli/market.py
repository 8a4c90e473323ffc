"""``gridflex market``: offers, contracts and messages over Beckn, and the keys that sign."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from gridflex.adapters.beckn.http import BecknClient
from gridflex.adapters.beckn.keys import BecknKeys, KeyEntry
from gridflex.adapters.beckn.registration import (
    Registration,
    register,
    registration_of,
    require_known,
)
from gridflex.adapters.clock import Clock
from gridflex.beckn.trust.registry import format_record
from gridflex.cli.fitting import Column, print_fitting
from gridflex.cli.instants import minute
from gridflex.cli.options import AsJson, Config, Url
from gridflex.cli.output import out, print_json, say
from gridflex.client import Client, path_of
from gridflex.errors import ContractError
from gridflex.running.launch import in_force
from gridflex.settings import Settings
from gridflex.settings_files import load_settings

market_app = typer.Typer(no_args_is_help=True)
keys_app = typer.Typer(no_args_is_help=True, help="Keys that sign our messages.")
market_app.add_typer(keys_app, name="keys")


OFFERS: Final = (
    Column("job"),
    Column("site", goes=2),
    Column("kWh"),
    Column("planned (UTC)"),
    Column("latest start", goes=1),
    Column("GBP/kWh"),
)
CONTRACTS: Final = (
    Column("transaction"),
    Column("we"),
    Column("with", goes=3),
    Column("stage"),
    Column("kWh"),
    Column("GBP", goes=4),
    Column("opened (UTC)", goes=1),
    Column("why", goes=2, narrowest=16),
)
WHAT: Final = Column("what, or why not", goes=1, narrowest=24)
MESSAGES_OF_ONE: Final = (
    Column("at (UTC)"),
    Column(""),
    Column("action"),
    Column("peer", goes=2),
    Column("answer"),
    WHAT,
)
MESSAGES: Final = (
    Column("at (UTC)", narrowest=10),
    *MESSAGES_OF_ONE[1:4],
    Column("transaction"),
    *MESSAGES_OF_ONE[4:],
)
"""The time is broken after its day where there is no room for it on one line."""

KEYS: Final = (
    Column("key"),
    Column("public", goes=2),
    Column("made (UTC)", goes=1),
    Column("chosen"),
)

OFF: Final = "Beckn is off (market.subscriber_id is not set): nothing is published"

KeyName = Annotated[
    str | None, typer.Argument(help="Unique key id; by default the key that signs.")
]
Limit = Annotated[int, typer.Option(min=1, max=500, help="At most so many, the newest first.")]


@market_app.command("offers")
def market_offers(*, url: Url = None, as_json: AsJson = False) -> None:
    """Show the blocks of waiting jobs that are on offer now, or would be with Beckn on."""
    with Client(url) as client:
        answer = client.get("/v1/market/offers")
    if as_json:
        print_json(answer)
        return
    is_off = answer["subscriber_id"] is None
    if not answer["offers"]:
        out.print(f"{OFF}, and no waiting job would be" if is_off else "no waiting job is on offer")
        return
    if is_off:
        out.print(f"{OFF}; would be offered:")
    print_fitting(out, OFFERS, [_offer_row(offer) for offer in answer["offers"]])


@market_app.command("contracts")
def market_contracts(
    *,
    contract: Annotated[
        str | None, typer.Option("--transaction", help="Show one, with its messages.")
    ] = None,
    limit: Limit = 50,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show contracts, or one of them with everything that was said."""
    with Client(url) as client:
        if contract is None:
            answer = client.get("/v1/market/contracts", limit=limit)
        else:
            answer = client.get(path_of("v1", "market", "contracts", contract))
    if as_json:
        print_json(answer)
    elif contract is None:
        _print_contracts(answer["contracts"])
    else:
        _print_contracts([answer])
        _print_messages(answer["messages"], columns=MESSAGES_OF_ONE)


@market_app.command("messages")
def market_messages(*, limit: Limit = 50, url: Url = None, as_json: AsJson = False) -> None:
    """Show the trade log: every message in and out with what became of it."""
    with Client(url) as client:
        answer = client.get("/v1/market/messages", limit=limit)
    if as_json:
        print_json(answer)
        return
    _print_messages(answer["messages"], columns=MESSAGES)


@keys_app.command("new")
def keys_new(
    name: Annotated[str | None, typer.Argument(help="Unique key id; made up if absent.")] = None,
    *,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Make a key, readable by its owner only, and print the record for the registry."""
    settings = in_force(load_settings(config))
    entry = _keys(settings).new(name)
    record = format_record(
        entry.key_id,
        url=settings.market.url,
        kind="BPP" if settings.market.sells else "BAP",
        public_base64=entry.public_base64,
        networks=[settings.market.network_id],
        at=Clock(settings.clock).wall_now(),
    )
    if as_json:
        print_json(record)
        return
    state = (
        "signs after the next start"
        if entry.is_current
        else "signs after `gridflex market keys use` and the next start"
    )
    out.print(f"{entry.key_id}: {state}")
    print_json(record)


@keys_app.command("use")
def keys_use(
    name: Annotated[str, typer.Argument(help="Unique key id.")], config: Config = None
) -> None:
    """Let a key sign; GridFlex reads it when it starts."""
    _keys(in_force(load_settings(config))).use(name)
    out.print(f"{name} signs after the next start")


@keys_app.command("register")
def keys_register(name: KeyName = None, *, config: Config = None, as_json: AsJson = False) -> None:
    """Put a key into the registry, then look it up as a peer does."""
    settings = in_force(load_settings(config))
    registration = _registration(settings, name)

    async def put() -> None:
        async with BecknClient(timeout_s=settings.market.timeout_s) as client:
            await register(registration, settings.market, client=client)

    asyncio.run(put())
    _check(settings, registration, as_json=as_json)


@keys_app.command("check")
def keys_check(name: KeyName = None, *, config: Config = None, as_json: AsJson = False) -> None:
    """Look a key up in the registry as a peer does, and say what is wrong."""
    settings = in_force(load_settings(config))
    _check(settings, _registration(settings, name), as_json=as_json)


@keys_app.command("list")
def keys_list(*, config: Config = None, as_json: AsJson = False) -> None:
    """Show our keys without their secrets."""
    entries = _keys(in_force(load_settings(config))).all()
    if as_json:
        rows = [
            {
                "key_id": str(one.key_id),
                "signing_public_key": one.public_base64,
                "made_at": one.made_at.isoformat(),
                "is_current": one.is_current,
                "signs_when_started_after": one.signs_since.isoformat()
                if one.signs_since
                else None,
            }
            for one in entries
        ]
        print_json(rows)
        return
    if not entries:
        out.print("there is no key yet; gridflex market keys new makes one")
        return
    print_fitting(out, KEYS, [_key_row(one) for one in entries])
    for one in entries:
        if one.signs_since is not None:
            at = minute(one.signs_since.isoformat())
            out.print(
                f"{one.key_id.unique_key_id} was chosen at {at}: a GridFlex that was started "
                "before signs with the key of its start until its next",
            )


def _registration(settings: Settings, name: str | None) -> Registration:
    keys = _keys(settings)
    wanted = name or keys.current().key_id.unique_key_id
    for entry in keys.all():
        if entry.key_id.unique_key_id == wanted:
            return registration_of(settings.market, entry.key_id, entry.public_base64)
    raise ContractError(f"there is no key {wanted!r} in {settings.market_key_path}")


def _check(settings: Settings, registration: Registration, *, as_json: bool) -> None:
    async def look_up() -> None:
        async with BecknClient(timeout_s=settings.market.timeout_s) as client:
            now = Clock(settings.clock).wall_now()
            await require_known(registration, settings.market, client=client, now=now)

    asyncio.run(look_up())
    if as_json:
        print_json(registration.to_wire())
        return
    where = settings.market.registry_url
    say(f"{registration.key_id} is registered at {where}")


def _keys(settings: Settings) -> BecknKeys:
    name = settings.market.subscriber_id
    if name is None:
        raise ContractError(
            "market.subscriber_id is not set; it is our id in the registry: set it, or "
            "GRIDFLEX_MARKET__SUBSCRIBER_ID=flex.example.com"
        )
    return BecknKeys(settings.market_key_path, subscriber_id=name)


def _key_row(one: KeyEntry) -> tuple[str, ...]:
    made = minute(one.made_at.isoformat(), zone="")
    return str(one.key_id), one.public_base64, made, "yes" if one.is_current else ""


def _offer_row(offer: dict[str, Any]) -> list[str]:
    return [
        offer["job_id"],
        offer["site"],
        f"{offer['energy_kwh']:.2f}",
        minute(offer["planned"], zone=""),
        minute(offer["latest_start"], zone=""),
        offer["price_gbp_per_kwh"],
    ]


def _print_contracts(contracts: list[dict[str, Any]]) -> None:
    if not contracts:
        out.print("there is no contract")
        return
    print_fitting(out, CONTRACTS, [_contract_row(one) for one in contracts])


def _contract_row(one: dict[str, Any]) -> list[str]:
    return [
        one["transaction_id"],
        "sell" if one["role"] == "seller" else "buy",
        one["peer"],
        one["stage"],
        "?" if one["energy_kwh"] is None else f"{one['energy_kwh']:.2f}",
        one["due_gbp"] or "-",
        minute(one["opened_at"], zone=""),
        one["fault"] or one["reason"] or "",
    ]


def _print_messages(messages: list[dict[str, Any]], *, columns: Sequence[Column]) -> None:
    """Print messages, with what they say below the table where there is no room in it."""
    if not messages:
        out.print("there is no message")
        return
    cells = [_message_cells(one) for one in messages]
    shown = print_fitting(
        out, columns, [[one[column.title] for column in columns] for one in cells]
    )
    if WHAT not in shown:
        for one in cells:
            if one[WHAT.title]:
                said = f"{one['at (UTC)']} {one['']} {one['action']}: {one[WHAT.title]}"
                out.print(said, soft_wrap=True)


def _message_cells(one: dict[str, Any]) -> dict[str, str]:
    """The text of a message by the title of its column."""
    return {
        "at (UTC)": one["at"][:19].replace("T", " "),
        "": "→" if one["way"] == "out" else "←",
        "action": one["action"],
        "peer": one["peer"],
        "transaction": one["transaction_id"],
        "answer": "" if one["status"] is None else str(one["status"]),
        WHAT.title: "; ".join(filter(None, (one["says"], one["note"]))),
    }
