"""What an account's net was made of, by contract, job and team, in the newest paying runs."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from gridflex.halfhour import HalfHour
from gridflex.market.settlement.account import AccountResult
from gridflex.market.settlement.attribution import Shares, attribute
from gridflex.market.settlement.book import SettlementBook, settle_book
from gridflex.market.volumes import Rounding


def newest_shares(book: SettlementBook, *, account: str, rounding: Rounding) -> Shares:
    """Spread the net of an account over what was done, each half-hour in its newest paying run."""
    results = [one for one in settle_book(book).results if one.account == account]
    return attribute(_newest(results), contributions=book.contributions, rounding=rounding)


def _newest(results: Iterable[AccountResult]) -> dict[HalfHour, Decimal]:
    """Return the net per half-hour; results are in the order of their runs."""
    return {one.half_hour: one.net_gbp for one in results if one.run.pays}
