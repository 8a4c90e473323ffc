"""A trader in a process of its own that kills itself: ``URL ENTRIES FOLDER``.

It dies by SIGKILL once the ledger has taken so many of its events, in the middle of the sale.
Files go to a mailbox folder, the order to ``order.json``; nobody answers.
"""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from gridflex.adapters.database import connect
from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.market.mailbox import MarketFolder
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import Event
from gridflex.market.trading.desk import TradingDesk
from gridflex.market.trading.messenger import Messenger
from gridflex.market.trading.reconciliation import Trade
from gridflex.sandbox.exchange import SimulatedExchange
from tests.e2e.database.test_trader import CHANNELS, DEPTH_MW, SIX, TRADED, Market
from tests.unit.market.days import CALENDAR


class DyingLedger(LedgerStore):
    """Takes some events, and no more."""

    left = 0

    async def append(self, events: Sequence[Event], *, now: datetime) -> list[int]:
        """Record events; dies once it recorded the last one."""
        indexes = await super().append(events, now=now)
        self.left -= len(events)
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)
        return indexes


class WrittenExchange(SimulatedExchange):
    """Writes down the order it took."""

    folder = Path()

    def sell(
        self,
        *,
        first: HalfHour,
        half_hours: int,
        mw: Decimal,
        limit_gbp_per_mwh: Decimal,
        reference: str | None = None,
    ) -> Trade | None:
        """Take it."""
        trade = super().sell(
            first=first,
            half_hours=half_hours,
            mw=mw,
            limit_gbp_per_mwh=limit_gbp_per_mwh,
            reference=reference,
        )
        if trade is not None:
            body = {"mw": str(trade.mw), "reference": trade.reference}
            (self.folder / "order.json").write_text(json.dumps(body))
        return trade


async def main(url: str, entries: int, folder: Path) -> None:
    """Trade until the end."""
    engine = connect(url)
    market = Market(engine)
    ledger = DyingLedger(engine)
    ledger.left = entries
    exchange = WrittenExchange({TRADED: market.prices[TRADED].sale_gbp_per_mwh}, depth_mw=DEPTH_MW)
    exchange.folder = folder
    desk = TradingDesk([], channels=CHANNELS, keys={"AUTH000001": "SECRET"}, calendar=CALENDAR)
    market.use(
        Messenger(desk, ledger=ledger, mailbox=MarketFolder(folder)),
        ledger=ledger,
        exchange=exchange,
    )
    await market.trader.tick(SIX, prices=market.prices)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
