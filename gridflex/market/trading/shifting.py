"""What a job that is sold to run at other half-hours takes of a meter's flexibility.

Its energy leaves the half-hours in which it was planned and comes into the ones in which it is
to run; both ends of the move are the contract's, and what lies in both is nobody's.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from gridflex.halfhour import HalfHour
from gridflex.market.trading.exclusivity import Direction, Product, Reservation


def shift_reservations(
    *,
    meter: str,
    contract: str,
    job: str,
    planned: Iterable[HalfHour],
    promised: Iterable[HalfHour],
    mwh: Decimal,
) -> list[Reservation]:
    """Return what a contract that moves a job has to hold, in order of time.

    Args:
        meter: Import id of the pair behind which the job runs.
        contract: Which contract.
        job: Which job.
        planned: Half-hours in which the job would run by the plan.
        promised: Half-hours in which it is to run.
        mwh: What it uses in each, above zero.
    """
    old, new = frozenset(planned), frozenset(promised)
    moves = [(at, Direction.DOWN) for at in old - new] + [(at, Direction.UP) for at in new - old]
    return [
        Reservation(meter, at, direction, Product.BECKN, mwh, contract, job)
        for at, direction in sorted(moves)
    ]
