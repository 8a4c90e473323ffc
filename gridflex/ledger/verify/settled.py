"""Parts of settlements that receipts name, against the settlements themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from gridflex.ledger.verify.reading import VerificationError

PAYING_RUNS: Final = ("SF", "R1", "R2", "R3", "RF", "DF")
"""Settlement runs that pay, each in place of those before it."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a receipt says of one settlement in which its job has a part.

    Args:
        entry: Index of the settlement.
        start: Half-hour, as text.
        account: Which account.
        run: Which run.
        net_gbp: What the account earned, as text.
        reduction_mwh: By the job, as text.
        all_reductions_mwh: By all jobs, as text.
    """

    entry: int
    start: str
    account: str
    run: str
    net_gbp: str
    reduction_mwh: str
    all_reductions_mwh: str

    @property
    def place(self) -> tuple[str, str]:
        """Account, as an entry names it, and half-hour; one settlement of each counts."""
        return f"account:{self.account}", self.start


def read_parts(rows: Sequence[Mapping[str, Any]], *, evidence: set[int]) -> tuple[Part, ...]:
    """Return the parts that a receipt names; each is among the evidence, and named once.

    Raises:
        VerificationError: One is not.
    """
    names = ("start", "account", "run", "net_gbp", "reduction_mwh", "all_reductions_mwh")
    found = tuple(Part(int(row["entry"]), *(str(row[name]) for name in names)) for row in rows)
    entries, places = {one.entry for one in found}, {one.place for one in found}
    if min(len(entries), len(places)) < len(found) or not entries <= evidence:
        raise VerificationError("a settlement is counted twice or is not among the evidence")
    return found


class GivenParts:
    """Parts against their ledger, whose entries it is given in order.

    Args:
        parts: Each with the subject of its receipt.
    """

    def __init__(self, parts: Sequence[tuple[str, Part]]) -> None:
        self._parts = parts
        self._counts: dict[tuple[str, str], tuple[int, int]] = {}
        self._places = {part.place for _, part in parts}

    def take(self, index: int, event: dict[str, Any]) -> None:
        """Check what receipts say about one entry.

        Raises:
            VerificationError: One takes a part of something else, or more than its part.
        """
        place = (event["subject"], (event["valid_time"] or "").replace(":00.000000Z", "Z"))
        is_settlement = event["event_type"] == "settlement.run"
        named = [(subject, part) for subject, part in self._parts if part.entry == index]
        for _, part in named:
            if not is_settlement or place != part.place:
                raise VerificationError(
                    f"entry {index} is no settlement of {part.account} at {part.start}"
                )
        if not is_settlement or place not in self._places:
            return
        try:
            run = event["body"]["inputs"]["periods"][0]["run"]
            if run in PAYING_RUNS:
                newest = (PAYING_RUNS.index(run), index)
                self._counts[place] = max(self._counts.get(place, newest), newest)
            for subject, part in named:
                _check_part(event["body"], part, subject=subject, run=run)
        except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError) as error:
            raise VerificationError(f"settlement {index} is malformed: {error!r}") from error

    def replaced(self) -> dict[int, int]:
        """Return the settlements in place of which another one counts by now, each with it."""
        counts = {part.entry: self._counts[part.place][1] for _, part in self._parts}
        return {old: new for old, new in sorted(counts.items()) if old != new}


def _check_part(body: Any, part: Part, *, subject: str, run: str) -> None:  # noqa: ANN401 - JSON
    if run != part.run or run not in PAYING_RUNS:
        raise VerificationError(f"entry {part.entry} is run {run}, a receipt says {part.run}")
    if (settled := body["net_gbp"]) != part.net_gbp:
        raise VerificationError(
            f"entry {part.entry} settles {settled} GBP, a receipt says {part.net_gbp}"
        )
    said = body["inputs"]["contributions"]
    every = [(f"job:{one['job']}", Decimal(one["reduction_mwh"])) for one in said]
    reductions = [(whose, mwh) for whose, mwh in every if mwh > 0]
    own = sum((mwh for whose, mwh in reductions if whose == subject), Decimal(0))
    whole = sum((mwh for _, mwh in reductions), Decimal(0))
    stated = Decimal(part.reduction_mwh), Decimal(part.all_reductions_mwh)
    if stated != (own, whole):
        raise VerificationError(
            f"{subject} reduced {own} of {whole} MWh in entry {part.entry}, "
            f"its receipt says {stated[0]} of {stated[1]}"
        )
