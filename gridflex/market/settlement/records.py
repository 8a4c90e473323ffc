"""Settlements as events of the ledger, and back again.

One can be run again from its entry alone. The order of the entries is the order of knowledge, so
that of two versions the later one counts.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from gridflex.halfhour import HalfHour
from gridflex.ledger.canonical import canonical_json, digest
from gridflex.ledger.event import Entry, Event, EventType
from gridflex.market.registry import (
    UnitId,
)
from gridflex.market.settlement.account import AccountPeriod
from gridflex.market.settlement.attribution import Contribution
from gridflex.market.settlement.authority import Authority
from gridflex.market.settlement.book import (
    SettlementBook,
    read_book,
    settle_book,
    write_book,
    write_statement,
)
from gridflex.market.settlement.reported import Difference, UnitReport, follows, unconfirmed
from gridflex.market.settlement.runs import Run


def settlement_event(
    period: AccountPeriod,
    *,
    contributions: Iterable[Contribution] = (),
    differences: Iterable[Difference] = (),
) -> Event:
    """Return one account's half-hour in one run: all its inputs, and the digest of the outcome.

    Args:
        period: The inputs.
        contributions: What jobs did, for this account.
        differences: Figures of ours that the run's central report does not confirm.

    Raises:
        ContractError: A contribution is for another account.
    """
    differs = [one.as_json() for one in differences]
    part = _for(None, SettlementBook((period,), tuple(contributions)))
    statement = settle_book(part)
    (result,) = statement.results
    stem = f"settlement:{period.account}:{period.half_hour}:{period.run}:"
    return Event(
        id=f"{stem}{statement.inputs_sha256[:16]}",
        event_type=EventType.SETTLEMENT_RUN,
        body={
            "inputs": json.loads(write_book(part)),
            "outcome_sha256": digest(write_statement(statement)),
            "delivered_mwh": str(result.credited_mwh),
            "sold_mwh": str(result.sold_mwh),
            "net_gbp": str(result.net_gbp),
            **({"report_differences": differs} if differs else {}),
        },
        subject=f"account:{period.account}",
        half_hour=period.half_hour,
        stem=stem,
    )


def differences_of(entry: Entry) -> list[Difference]:
    """Return where a settlement's own figures were off those of the report it follows."""
    at = HalfHour.parse(entry["valid_time"])
    return [
        Difference(at, one["what"], Decimal(one["ours"]), _reported(one["reported"]))
        for one in entry["body"].get("report_differences", ())
    ]


def _reported(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def newest_of_run(entries: Iterable[Entry], run: Run) -> list[Entry]:
    """Return the last settlement of each account and half-hour in one run."""
    last = {(entry["subject"], entry["valid_time"]): entry for entry in _of_run(entries, run)}
    return list(last.values())


def _of_run(entries: Iterable[Entry], run: Run) -> Iterator[Entry]:
    return (one for one in entries if settlement_inputs(one).periods[0].run is run)


def settled_differences(
    entries: Iterable[Entry], reports: Mapping[UnitId, UnitReport], authority: Authority
) -> list[Difference]:
    """Return what reports do not confirm of the settlements of their day and run.

    Where one follows its reports already, what it was off them is kept with it.

    Args:
        entries: Settlements, each account and half-hour once.
        reports: Of one day and run.
        authority: Which of their figures count, and how far ours may be off.
    """
    found: list[Difference] = []
    for entry in entries:
        (period,) = settlement_inputs(entry).periods
        now = unconfirmed(period, reports, authority)
        said = [reports[one.unit] for one in period.units if one.unit in reports]
        is_followed = bool(said) and all(follows(period, one, authority.counts) for one in said)
        kept = differences_of(entry) if is_followed else []
        found += {one.what: one for one in (*now, *kept)}.values()
    return found


def _for(account: str | None, part: SettlementBook) -> SettlementBook:
    """Return one account's half-hour with the account named in what jobs did, or not."""
    did = tuple(replace(one, account=account) for one in part.contributions)
    return replace(part, contributions=did)


def book_of(entries: Iterable[Entry]) -> SettlementBook:
    """Return the settlement inputs that entries hold; of two versions the later one counts.

    What jobs did in a half-hour is what the newest run of each account says; whose it is, is named
    where there are several accounts.
    """
    parts: dict[tuple[str, HalfHour, Run], SettlementBook] = {}
    for entry in entries:
        if entry["event_type"] == EventType.SETTLEMENT_RUN:
            part = settlement_inputs(entry)
            (period,) = part.periods
            parts[period.account, period.half_hour, period.run] = part
    newest = {key[:2]: parts[key] for key in sorted(parts, key=_order)}
    is_one = len({account for account, _ in newest}) == 1
    jobs: dict[tuple[str, HalfHour, str, str | None], Contribution] = {}
    for (account, _), part in newest.items():
        did = _for(None if is_one else account, part).contributions
        jobs |= {(account, one.half_hour, one.job, one.contract): one for one in did}
    return SettlementBook(
        periods=tuple(parts[key].periods[0] for key in sorted(parts, key=_order)),
        contributions=tuple(jobs[key] for key in sorted(jobs, key=str)),
    )


@dataclass(frozen=True, slots=True)
class Replay:
    """One settlement that was run again from its entry.

    Args:
        entry: Id of the event.
        logged_sha256: Digest of the outcome as it was recorded.
        again_sha256: Digest of the outcome now.
    """

    entry: str
    logged_sha256: str
    again_sha256: str

    @property
    def is_same(self) -> bool:
        """Whether the same inputs gave the same bytes."""
        return self.logged_sha256 == self.again_sha256


def replay(entries: Iterable[Entry]) -> Iterator[Replay]:
    """Run every settlement among entries again and yield how it came out."""
    for entry in entries:
        if entry["event_type"] == EventType.SETTLEMENT_RUN:
            again = digest(write_statement(settle_book(settlement_inputs(entry))))
            yield Replay(entry["id"], entry["body"]["outcome_sha256"], again)


def settlement_inputs(entry: Entry) -> SettlementBook:
    """Return the inputs of a settlement from its entry: one half-hour of one account and run."""
    return read_book(canonical_json(entry["body"]["inputs"]))


def _order(key: tuple[str, HalfHour, Run]) -> tuple[str, HalfHour, int]:
    account, half_hour, run = key
    return account, half_hour, run.position
