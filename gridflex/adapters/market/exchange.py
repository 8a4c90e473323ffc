"""An exchange that is reached through a folder: an order is a file, and so is its answer.

Whoever stands between the folder and an exchange (a broker's program, a person, the simulated
market) reads ``orders`` and writes ``trades``, under the same name.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

from gridflex.adapters.whole_files import make_folders, write_whole
from gridflex.errors import ContractError, SourceError
from gridflex.halfhour import HalfHour
from gridflex.market.trading.orders import Order, OrderPendingError, read_answer, write_order
from gridflex.market.trading.reconciliation import Trade

LATE_ANSWERS: Final = timedelta(minutes=5)
"""How long after an order's time an answer may still come; without one it was not taken."""


class FolderExchange:
    """Places orders through a folder.

    Args:
        root: Folder with ``orders`` and ``trades``; made where they are missing.
        now: GridFlex time.

    Raises:
        SourceError: They cannot be made.
    """

    def __init__(self, root: Path, *, now: Callable[[], datetime]) -> None:
        self._orders, self._trades = (root / name for name in ("orders", "trades"))
        self._now = now
        make_folders(self._orders, self._trades)

    def sell(
        self,
        *,
        first: HalfHour,
        half_hours: int,
        mw: Decimal,
        limit_gbp_per_mwh: Decimal,
        reference: str,
    ) -> Trade | None:
        """Sell a block; None if it is not taken, or if it is too late to offer it.

        The same order again is placed once; another one under its name is refused.

        Raises:
            OrderPendingError: It is placed and has no answer yet.
            SourceError: The folder cannot be used.
            ContractError: Another order has that name, or the answer is not valid.
        """
        order = Order(reference, first, half_hours, mw, limit_gbp_per_mwh)
        answered = self._trades / f"{order.file_name}.json"
        placed = self._orders / f"{order.file_name}.json"
        try:
            if answered.exists():
                return read_answer(answered.read_bytes(), order)
            if not placed.exists() and self._now() < order.good_until:
                write_whole(placed, write_order(order))
            elif placed.exists() and placed.read_bytes() != write_order(order):
                raise ContractError(f"{placed}: another order has this name")
        except OSError as error:
            raise SourceError(f"{placed}: {error.strerror}") from error
        if self._now() < order.good_until + LATE_ANSWERS and placed.exists():
            raise OrderPendingError(f"order {reference} has no answer yet")
        return None
