"""Who and what requests may name: what the registry has, or the ledger has something about."""

from __future__ import annotations

from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.market.baseline_facts import BaselineFacts
from gridflex.errors import ContractError
from gridflex.ledger.event import EventType
from gridflex.market.registry import Msid, Registry, UnitId
from gridflex.serve.clock import Clock


class Known:
    """Refuses names that nobody registered.

    Args:
        ledger: Where everything is recorded.
        clock: GridFlex time.
    """

    def __init__(self, ledger: LedgerStore, clock: Clock) -> None:
        self._ledger = ledger
        self._clock = clock

    async def meter(self, meter: str) -> Msid:
        """Return a meter of the registry, or one that has readings.

        Raises:
            ContractError: It is neither.
        """
        registry = await self._registry()
        has_readings = await self._ledger.newest(EventType.METER_RECEIVED, subject=f"meter:{meter}")
        if not has_readings:
            registry.refuse_unknown_meter(Msid(meter))
        return Msid(meter)

    async def unit(self, unit: str) -> UnitId:
        """Return a unit of the registry.

        Raises:
            ContractError: It is none.
        """
        return (await self._registry()).unit(UnitId(unit)).id

    async def account(self, account: str) -> str:
        """Return the account of a registered unit, or one that something was settled for.

        Raises:
            ContractError: It is neither.
        """
        parties = sorted({one.party for one in (await self._registry()).units})
        is_settled = await self._ledger.newest(
            EventType.SETTLEMENT_RUN, subject=f"account:{account}"
        )
        if account not in parties and not is_settled:
            raise ContractError(
                f"account {account} has no unit and no settlement; valid is "
                f"{', '.join(parties) or 'one that has (gridflex settle register)'}"
            )
        return account

    async def _registry(self) -> Registry:
        return await BaselineFacts(self._ledger).registry(self._clock.now())
