"""A settlement that can be run again: all inputs in one file, the outcome in another.

The same inputs give the same bytes, whenever and wherever they are settled; an auditor needs the
inputs, this code and nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Final

from pydantic import TypeAdapter, ValidationError

from gridflex.checked_values import Rows
from gridflex.errors import ContractError
from gridflex.faults import excerpt, faults_text
from gridflex.halfhour import HalfHour
from gridflex.ledger.canonical import canonical_json, digest
from gridflex.market.amounts import MOST, PLACES
from gridflex.market.settlement.account import AccountPeriod, AccountResult, settle
from gridflex.market.settlement.attribution import Contribution
from gridflex.market.settlement.calendar import PublishedDays
from gridflex.market.settlement.runs import HalfHourCash, Run, payment_day
from gridflex.market.volumes import ZERO
from gridflex.market.working_days import WorkingCalendar

VERSION: Final = 1

COMPUTED_PLACES: Final = 2 * PLACES
"""Decimals of a small amount with all digits that a division gives."""


@dataclass(frozen=True, slots=True)
class SettlementBook:
    """Logged inputs.

    Args:
        periods: Inputs per account, half-hour and run.
        contributions: What jobs did; each for one account, named where several have its half-hour.
        version: Of this file's form.
    """

    periods: Rows[AccountPeriod]
    contributions: Rows[Contribution] = ()
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.version != VERSION:
            raise ContractError(f"book version {self.version} is not {VERSION}")
        seen: set[tuple[str, HalfHour, Run]] = set()
        for one in self.periods:
            key = (one.account, one.half_hour, one.run)
            if key in seen:
                raise ContractError(f"{one.account} {one.half_hour} {one.run}: given twice")
            seen.add(key)
        known = {one.account for one in self.periods}
        for did in self.contributions:
            if did.account not in {None, *known}:
                raise ContractError(
                    f"{_of(did)}: account {did.account} is not valid; valid is {_any_of(known)}"
                )

    def did(self) -> dict[tuple[str, HalfHour], tuple[Contribution, ...]]:
        """Return what jobs did by account and half-hour, as far as these are settled.

        Raises:
            ContractError: A contribution names no account where several have its half-hour.
        """
        accounts: dict[HalfHour, set[str]] = {}
        for period in self.periods:
            accounts.setdefault(period.half_hour, set()).add(period.account)
        found: dict[tuple[str, HalfHour], tuple[Contribution, ...]] = {}
        for one in self.contributions:
            having = accounts.get(one.half_hour, set())
            if one.account is None and len(having) > 1:
                raise ContractError(f"{_of(one)}: no account; valid is {_any_of(having)}")
            for account in having & {one.account} if one.account else having:
                found[account, one.half_hour] = (*found.get((account, one.half_hour), ()), one)
        return found

    def did_for(self, account: str) -> list[Contribution]:
        """Return what jobs did for one account.

        Raises:
            ContractError: A contribution names no account where several have its half-hour.
        """
        return [one for (whose, _), some in self.did().items() if whose == account for one in some]


@dataclass(frozen=True, slots=True)
class DayTotal:
    """One account's settlement day in one run, which may lack half-hours that another run has.

    Args:
        account: Which account.
        day: Settlement day.
        run: Which run.
        half_hours: How many were settled in this run; the totals are of these alone.
        delivered_mwh: Sum of credited deviations.
        sold_mwh: Sum of notified sales.
        net_gbp: Sum of net revenue, exact.
    """

    account: str
    day: date
    run: Run
    half_hours: int
    delivered_mwh: Decimal
    sold_mwh: Decimal
    net_gbp: Decimal


@dataclass(frozen=True, slots=True)
class Statement:
    """Outcome of a book.

    Args:
        inputs_sha256: Digest of the book.
        results: Per account, half-hour and run, in that order.
        days: Totals.
        version: Of this file's form.
    """

    inputs_sha256: str
    results: tuple[AccountResult, ...]
    days: tuple[DayTotal, ...]
    version: int = VERSION

    def of(self, account: str) -> Statement:
        """Return the outcome of one account, of the same book.

        Raises:
            ContractError: Nothing is settled for it.
        """
        known = sorted({one.account for one in self.days})
        if account not in known:
            valid = ", ".join(known) or "none, as nothing is settled yet"
            raise ContractError(f"account {account} has no settlement; valid is {valid}")
        return replace(
            self,
            results=tuple(one for one in self.results if one.account == account),
            days=tuple(one for one in self.days if one.account == account),
        )

    def cash(
        self, account: str, *, calendar: WorkingCalendar, published: PublishedDays
    ) -> list[HalfHourCash]:
        """Return each half-hour's net of an account per run, with the day on which that pays.

        Args:
            account: Which account; one that nothing is settled for has none.
            calendar: Working days.
            published: Rows of the published Settlement Calendar, which come first.
        """
        paid_on = {
            (one.day, one.run): payment_day(
                one.day, run=one.run, calendar=calendar, published=published
            )
            for one in self.days
            if one.account == account
        }
        return [
            HalfHourCash(
                account=account,
                half_hour=one.half_hour,
                run=one.run,
                net_gbp=one.net_gbp,
                paid_on=paid_on[one.half_hour.settlement[0], one.run],
            )
            for one in self.results
            if one.account == account
        ]


_BOOK: Final = TypeAdapter(SettlementBook)
_STATEMENT: Final = TypeAdapter(Statement)


def write_book(book: SettlementBook) -> bytes:
    """Return the book as canonical JSON."""
    return canonical_json(_BOOK.dump_python(book, mode="json"))


def read_book(payload: bytes | str) -> SettlementBook:
    """Return a book that `write_book` wrote.

    Raises:
        ContractError: It is not valid; the message names each wrong value.
    """
    try:
        given = json.loads(payload, parse_float=_refuse_float)
        book = _BOOK.validate_python(given)
    except ValidationError as error:
        raise ContractError(f"settlement book: {faults_text(error, whole='book')}") from error
    except (ValueError, RecursionError) as error:
        raise ContractError(f"settlement book is not JSON: {error}") from error
    unknown = list(_unknown(given, _BOOK.dump_python(book, mode="json"), "book"))
    if unknown:
        raise ContractError(f"settlement book: unknown {', '.join(unknown[:5])}")
    return book


def refuse_endless(book: SettlementBook) -> None:
    """Refuse a new book with amounts that no sum of them survives; ledgers may hold older ones.

    Raises:
        ContractError: One is beyond `MOST`, or has too many decimals even for a computed one.
    """
    for path, value in _amounts(_BOOK.dump_python(book), "book"):
        exponent = value.as_tuple().exponent
        if abs(value) > MOST or not isinstance(exponent, int) or exponent < -COMPUTED_PLACES:
            raise ContractError(
                f"settlement book: {path} {excerpt(value)} is not valid; valid is a number from "
                f"-{MOST} to {MOST}, with at most {COMPUTED_PLACES} decimals"
            )


def settle_book(book: SettlementBook) -> Statement:
    """Return the outcome of a book."""
    ordered = sorted(book.periods, key=lambda one: (one.account, one.half_hour, one.run.position))
    results = tuple(settle(one) for one in ordered)
    return Statement(digest(write_book(book)), results, tuple(_days(results)))


def write_statement(statement: Statement) -> bytes:
    """Return the outcome as canonical JSON: the bytes that a second run must reproduce."""
    return canonical_json(_STATEMENT.dump_python(statement, mode="json"))


def _days(results: Iterable[AccountResult]) -> Iterator[DayTotal]:
    groups: dict[tuple[str, date, int], list[AccountResult]] = {}
    for one in results:
        key = (one.account, one.half_hour.settlement[0], one.run.position)
        groups.setdefault(key, []).append(one)
    for (account, day, _), group in sorted(groups.items()):
        yield DayTotal(
            account=account,
            day=day,
            run=group[0].run,
            half_hours=len(group),
            delivered_mwh=sum((one.credited_mwh for one in group), ZERO),
            sold_mwh=sum((one.sold_mwh for one in group), ZERO),
            net_gbp=sum((one.net_gbp for one in group), ZERO),
        )


def _of(one: Contribution) -> str:
    return f"settlement book: contribution of job {one.job} at {one.half_hour}"


def _any_of(accounts: Iterable[str]) -> str:
    return " or ".join(sorted(accounts)) or "none, as nothing is settled"


def _refuse_float(text: str) -> None:
    raise ContractError(f"settlement book: {text} must be a string, so that it stays exact")


def _amounts(part: object, path: str) -> Iterator[tuple[str, Decimal]]:
    """Yield the amounts of a part of a book, with where they are."""
    if isinstance(part, Decimal):
        yield path, part
    elif isinstance(part, dict):
        for key, value in part.items():
            yield from _amounts(value, f"{path}.{key}")
    elif isinstance(part, list | tuple):
        for number, value in enumerate(part):
            yield from _amounts(value, f"{path}[{number}]")


def _unknown(given: object, known: object, path: str) -> Iterator[str]:
    """Yield the keys of what was given that a book does not have."""
    if isinstance(given, dict) and isinstance(known, dict):
        for key, value in given.items():
            if key not in known:
                yield f"{path}.{key}"
            else:
                yield from _unknown(value, known[key], f"{path}.{key}")
    elif isinstance(given, list) and isinstance(known, list):
        for number, (one, other) in enumerate(zip(given, known, strict=True)):
            yield from _unknown(one, other, f"{path}[{number}]")
