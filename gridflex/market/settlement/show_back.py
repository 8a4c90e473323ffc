"""What an account's net was made of, by contract, job and team, in the newest paying runs."""

from __future__ import annotations

from gridflex.market.settlement.attribution import Shares, attribute
from gridflex.market.settlement.book import SettlementBook, settle_book
from gridflex.market.settlement.runs import newest_paying
from gridflex.market.volumes import Rounding


def newest_shares(book: SettlementBook, *, account: str, rounding: Rounding) -> Shares:
    """Spread the net of an account over what was done, each half-hour in its newest paying run."""
    results = [one for one in settle_book(book).results if one.account == account]
    net = {one.half_hour: one.net_gbp for one in newest_paying(results)}
    return attribute(net, contributions=book.did_for(account), rounding=rounding)
