"""What contract notices sell of each position, version by version."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.messages.artefacts import ContractNotice
from gridflex.market.messages.drafts import Key


class NoticedSales:
    """The sales that contract notices stand for; a notice sent again replaces its last version."""

    def __init__(self) -> None:
        self._sold: dict[tuple[str, date], Mapping[Key, Decimal]] = {}

    def with_others(
        self, notice: ContractNotice, parts: Mapping[Key, Decimal]
    ) -> Iterator[tuple[Key, Decimal]]:
        """Yield what each position has sold in all once a notice stands.

        Args:
            notice: The one that is to be sent.
            parts: Per position, what it alone sells.
        """
        others = [sold for name, sold in self._sold.items() if name != _name(notice)]
        for key, mwh in parts.items():
            yield key, mwh + sum((sold.get(key, Decimal(0)) for sold in others), Decimal(0))

    def stand(self, notice: ContractNotice, parts: Mapping[Key, Decimal]) -> Mapping[Key, Decimal]:
        """Count a version of a notice as sold, and return the parts that it replaces."""
        replaced = self._sold.get(_name(notice), {})
        self._sold[_name(notice)] = parts
        return replaced


def split_over(
    positions: Iterable[Key], notice: ContractNotice, split: Mapping[Key, Decimal] | None
) -> Mapping[Key, Decimal]:
    """Return which part of a notice's volumes each position delivers.

    Args:
        positions: All that are open.
        notice: What is sold.
        split: As it was given; None leaves each half-hour to the one position it has.

    Raises:
        ContractError: The parts do not add up to the notice.
    """
    if split is None:
        split = {
            key: mwh for at, mwh in notice.volumes.items() for key in positions if key[1] == at
        }
    total: dict[HalfHour, Decimal] = {}
    for (_, at), mwh in split.items():
        total[at] = total.get(at, Decimal(0)) + mwh
    if total != dict(notice.volumes):
        raise ContractError(
            f"contract notice {notice.reference}: its volumes are not the sum over positions"
        )
    return split


def _name(notice: ContractNotice) -> tuple[str, date]:
    return notice.reference, notice.day
