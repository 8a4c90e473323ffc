"""By when each message must have arrived, as UTC instants."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

from gridflex.halfhour import HalfHour
from gridflex.market.messages.artefacts import ArtefactKind
from gridflex.market.policy import Dated, Effective
from gridflex.market.working_days import DAY, WorkingCalendar, end_of_day, gate_closure

DEFAULT_SEV_LEAD: Final = timedelta(minutes=1)
"""BSCP602 2.13.1: a default is registered by 23:59 of the day before."""

DELIVERED_WORKING_DAYS: Final = 1
"""BSCP602 2.2A.1: delivered volumes by one working day after the settlement day."""


class ContractDeadline(StrEnum):
    """Up to when a contract notice is taken."""

    GATE_CLOSURE = "gate-closure"
    PERIOD_START = "period-start"


CONTRACT_DEADLINE: Final = Dated(
    "contract notice deadline",
    (
        Effective(
            date(2017, 11, 2),
            ContractDeadline.GATE_CLOSURE,
            "P342 moved it to the start of the half-hour (unconfirmed); gate closure is the "
            "cautious reading that live trading parties use",
        ),
    ),
)


def deadline(
    kind: ArtefactKind,
    *,
    half_hour: HalfHour,
    calendar: WorkingCalendar,
    contract_deadline: Dated[ContractDeadline] = CONTRACT_DEADLINE,
) -> datetime:
    """Return the instant by which a message about ``half_hour`` must have arrived.

    Args:
        kind: Which message.
        half_hour: When the energy flows.
        calendar: Working days, for delivered volumes.
        contract_deadline: Which rule holds for contract notices.
    """
    day = half_hour.settlement[0]
    if kind is ArtefactKind.DVN:
        return end_of_day(calendar.after(day, working_days=DELIVERED_WORKING_DAYS))
    if kind is ArtefactKind.ECVN and contract_deadline.on(day) is ContractDeadline.PERIOD_START:
        return half_hour.start
    return gate_closure(half_hour)


def default_expected_volume_deadline(day: date) -> datetime:
    """Return by when a default expected volume for ``day`` onwards must be registered."""
    return end_of_day(day - DAY) - DEFAULT_SEV_LEAD
