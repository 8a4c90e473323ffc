"""``gridflex settle``: the ledger and its receipts, checked, exported and handed out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from gridflex.adapters.clock import Clock
from gridflex.adapters.database import connect, embedded_as_before, ensure_database, place
from gridflex.adapters.ledger.files import export_ledger
from gridflex.adapters.ledger.key import LedgerKey
from gridflex.adapters.ledger.store import LedgerStore
from gridflex.cli.fitting import Column, print_fitting
from gridflex.cli.options import AsJson, Config, Url
from gridflex.cli.output import out, print_json, print_json_text, say, warn
from gridflex.client import URL_VARIABLE, Client, named_url, path_of
from gridflex.errors import ContractError, NotFoundError, SourceError
from gridflex.job_ids import refuse_no_job_id
from gridflex.ledger.canonical import canonical_json, digest
from gridflex.ledger.note import Signer
from gridflex.ledger.standalone import standalone_verifier
from gridflex.ledger.tiles import SignedCheckpoint
from gridflex.ledger.verify.command import read_key, summary, verify_paths
from gridflex.ledger.verify.extension import (
    Extension,
    HandOver,
    claimed,
    read_hand_over,
    verify_extension,
)
from gridflex.ledger.verify.folder import read_entries
from gridflex.ledger.verify.notes import Key
from gridflex.ledger.verify.reading import VerificationError, bytes_of, read_text
from gridflex.market.audit import trace
from gridflex.market.billing.receipt_page import receipt_facts, receipt_html
from gridflex.market.billing.receipts import IssuedReceipt
from gridflex.market.settlement.records import replay
from gridflex.running.launch import in_force
from gridflex.settings import Settings
from gridflex.settings_files import load_settings

LEDGER: Final = "/v1/settlement/ledger"


def verify(
    paths: Annotated[list[Path], typer.Argument(help="Ledger folders and receipts.")],
    *,
    key: Annotated[list[str], typer.Option(help="Trusted verifier key, or a file with it.")],
    since: Annotated[
        list[Path] | None, typer.Option(help="A checkpoint you kept; the ledger must extend it.")
    ] = None,
    witness: Annotated[
        list[str] | None, typer.Option(help="Key of a witness that must have cosigned.")
    ] = None,
    run_again: Annotated[
        bool,
        typer.Option(
            "--run-again",
            help="Also settle every logged settlement again and follow its inputs to entries.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Verify exported ledgers and receipts offline; exit code 1 if anything does not hold."""
    try:
        found = verify_paths(
            paths,
            keys=[read_key(one) for one in key],
            since=since or [],
            witnesses=[read_key(one) for one in witness or []],
        )
    except VerificationError as error:
        _refuse(str(error), as_json=as_json)
    if run_again:
        folders = [path for path in paths if path.is_dir()]
        found["settlements"] = _run_again(folders, as_json=as_json)
        found["inputs"] = _trace(folders, as_json=as_json)
    if as_json:
        print_json({"verified": True} | found)
        return
    say(summary(found))
    if run_again:
        say(
            f"VERIFIED {found['settlements']} settlements: run again, the same bytes; "
            f"{found['inputs']['same']} inputs are those of earlier entries, "
            f"{found['inputs']['alone']} stand alone"
        )


def extends(
    kept: Annotated[Path, typer.Argument(help="A checkpoint you kept.")],
    *,
    key: Annotated[list[str], typer.Option(help="Trusted verifier key, or a file with it.")],
    file: Annotated[
        Path | None, typer.Option("--out", help="Where to keep the newest checkpoint.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Have a running GridFlex prove that its ledger extends a checkpoint; exit code 1 if not.

    Two checkpoints, some hashes and the entries that hand the key over are fetched; what other
    entries say is not looked at.
    """
    try:
        keys = [read_key(one) for one in key]
        note = read_text(kept)
        with Client(url) as client:
            newest, found = _extension(client, note, keys=keys)
    except VerificationError as error:
        _refuse(str(error), as_json=as_json)
    if file is not None:
        write(file, newest.encode())
    old, new = found.old, found.new
    if as_json:
        told = {"keys": [str(one) for one in found.keys], "hand_overs": list(found.followed)}
        print_json({"verified": True, "old": old.size, "new": new.size} | told)
        return
    say(f"VERIFIED: the {new.size} entries of {new.origin} begin with the {old.size} of {kept}")
    if found.followed:
        led = ", ".join(str(one) for one in found.followed)
        say(f"  note: trust was handed over (entry {led}) to {found.keys[-1]}")


def export(
    *,
    folder: Annotated[Path, typer.Option("--out", help="Folder for the static files.")],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Write the ledger up to its newest checkpoint as files that any web server can publish.

    It is for the machine of the database. A database that did not run is started for it and ended
    again.
    """
    settings = in_force(load_settings(config))
    where = place(settings)
    _warn_of_another(settings)
    with embedded_as_before(settings):
        try:
            newest = asyncio.run(_export(folder, settings))
        except ContractError as error:
            raise ContractError(f"the ledger of {where}: {error}") from error
    origin, root = claimed(newest.note).origin, newest.root.hex()
    if as_json:
        shown = {"folder": str(folder), "size": newest.size, "root": root}
        print_json(shown | {"origin": origin, "ledger": where})
        return
    say(f"{newest.size} entries of {origin}, root {root}, in {folder}; from the ledger of {where}")


def rotate_key(*, config: Config = None, as_json: AsJson = False) -> None:
    """Let a new key sign the ledger from here on; both keys sign the entry that says so.

    It is for the machine that holds the key. A running GridFlex takes the new key up by itself.
    """
    settings = in_force(load_settings(config))
    where = place(settings)
    _warn_of_another(settings)
    with embedded_as_before(settings):
        index, key = asyncio.run(_rotate(settings))
    if as_json:
        print_json({"index": index, "key": key, "ledger": where})
        return
    say(f"entry {index} hands over to {key}, in the ledger of {where}")
    if index == 0:
        say("that ledger had no entry before: is it the one that you mean? (--config, state_dir)")


def receipt(
    job: Annotated[str, typer.Argument(help="Id of a job that ended.")],
    *,
    file: Annotated[
        Path | None, typer.Option("--out", help="File: .html for the page, else JSON.")
    ] = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show a job's receipt, or write it: JSON to verify, or a page to print."""
    refuse_no_job_id(job, name="job")
    with Client(url) as client:
        found = client.get(path_of("v1", "settlement", "receipts", job))
    body = canonical_json(found)
    issued = IssuedReceipt(**{name: one for name, one in found.items() if name != "schema"})
    if file is not None:
        write(file, receipt_html(issued).encode() if file.suffix == ".html" else body)
    if as_json:
        print_json_text(body.decode())
    elif file is not None:
        say(str(file))
    else:
        _print_receipt(job, issued)


def _print_receipt(job: str, issued: IssuedReceipt) -> None:
    columns = (Column(f"receipt for {job}"), Column(f"entry {issued.index} of the ledger"))
    print_fitting(out, columns, list(receipt_facts(issued)))
    say(
        "each half-hour and the proof: --out receipt.json (or --json) to verify, "
        "--out receipt.html to print"
    )


def verifier(
    *, file: Annotated[Path, typer.Option("--out", help="Where to write the archive.")]
) -> None:
    """Write the stand-alone verifier: one file that needs Python 3.11 and ``cryptography``."""
    archive = standalone_verifier()
    write(file, archive)
    say(f"{file} SHA-256 {digest(archive)}")


def write(path: Path, body: bytes) -> None:
    """Write a file, with the folders above it.

    Raises:
        SourceError: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    except OSError as error:
        raise SourceError(f"{path}: cannot be written: {error.strerror}") from error


async def _rotate(settings: Settings) -> tuple[int, str]:
    key = LedgerKey(settings.ledger_key_path, origin=settings.ledger.origin)
    engine = connect(ensure_database(settings))
    try:
        store = LedgerStore(engine, key=key)
        now = Clock(settings.clock).now()
        index = await store.rotate_key(Signer.generate(settings.ledger.origin), now=now)
        await store.sign(now=now)
    finally:
        await engine.dispose()
    return index, str(key.signer.key)


def _warn_of_another(settings: Settings) -> None:
    """Say so where ``GRIDFLEX_URL`` names a GridFlex that is not the one of these settings."""
    hosts = (settings.http.host, "127.0.0.1", "localhost")
    named = named_url()
    if named and named.rstrip("/") not in {f"http://{one}:{settings.http.port}" for one in hosts}:
        warn(
            f"warning: {URL_VARIABLE} ({named}) is not asked: this is about the ledger of "
            f"{place(settings)}"
        )


async def _export(folder: Path, settings: Settings) -> SignedCheckpoint:
    engine = connect(ensure_database(settings))
    try:
        return await export_ledger(LedgerStore(engine), folder)
    finally:
        await engine.dispose()


def _extension(client: Client, kept: str, *, keys: Sequence[Key]) -> tuple[str, Extension]:
    """Return the newest checkpoint as signed, and what it was shown to extend."""
    old = claimed(kept).size
    newest = client.get_text(f"{LEDGER}/checkpoint")
    new = claimed(newest).size
    hashes = client.get(f"{LEDGER}/consistency", old=old, new=new)["hashes"] if new > old else []
    found = verify_extension(
        kept,
        newest,
        keys=keys,
        hand_overs=_hand_overs(client, new),
        proof=[bytes_of(one, what="a hash of the proof") for one in hashes],
    )
    return newest, found


def _hand_overs(client: Client, size: int) -> list[HandOver]:
    """Return the hand-overs that are told; a GridFlex too old to tell any tells none."""
    try:
        told = client.get(f"{LEDGER}/hand-overs", size=size)["hand_overs"]
    except NotFoundError:
        return []
    return [read_hand_over(one) for one in told]


def _run_again(folders: Sequence[Path], *, as_json: bool) -> int:
    count = 0
    for folder in folders:
        for one in replay(read_entries(folder)):
            if not one.is_same:
                _refuse(
                    f"{folder}: {one.entry}: logged with outcome {one.logged_sha256}, "
                    f"its inputs now give {one.again_sha256}",
                    as_json=as_json,
                )
            count += 1
    return count


def _trace(folders: Sequence[Path], *, as_json: bool) -> dict[str, int]:
    same = alone = 0
    for folder in folders:
        for one in trace(read_entries(folder)):
            if one.different:
                _refuse(f"{folder}: {one.entry}: {one.different[0]}", as_json=as_json)
            same, alone = same + len(one.same), alone + len(one.alone)
    return {"same": same, "alone": alone}


def _refuse(problem: str, *, as_json: bool) -> NoReturn:
    if as_json:
        print_json({"verified": False, "problem": problem})
    else:
        say(f"NOT VERIFIED: {problem}")
    raise typer.Exit(1)
