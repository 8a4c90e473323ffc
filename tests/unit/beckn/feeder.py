"""A utility that wants less load from 22:00 to 24:00 UTC, and a site whose jobs can leave."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from gridflex.beckn.contracts.states import ContractState, Side
from gridflex.beckn.flexibility.needs import OFFERED, Bid, Need
from gridflex.beckn.messaging.memory import MemoryStore
from gridflex.beckn.roles.answering import Answerer
from gridflex.beckn.roles.procuring import (
    Metered,
    Procurer,
    catalog_of_needs,
    need_item,
    need_table,
)
from gridflex.beckn.roles.trading import Desk, report_all
from gridflex.beckn.wire.entities import Catalog
from gridflex.halfhour import HalfHour
from tests.unit.beckn.house import TEN_PM, House
from tests.unit.beckn.network import Mischief, Network, network, say
from tests.unit.beckn.wire import BAP, BPP, NOW

HALF_HOURS = 4


def need(*, kw: float = 100.0, price: float = 0.6, name: str = "need-1") -> Need:
    """Less load from 22:00 to 24:00."""
    return need_item(
        resource_id=name,
        buyer=BPP.subscriber_id,
        name="Evening",
        table=need_table(
            TEN_PM,
            requested_kw=[kw] * HALF_HOURS,
            price_gbp_per_kwh=price,
            penalty_gbp_per_kwh=0.2,
        ),
        until=NOW + timedelta(hours=4),
        methodology={"bestOf": 5, "outOf": 10},
    )


@dataclass
class Feeder:
    """Reads meters that show what was offered, or a share of it."""

    trade: "NeedTrade"
    wanted: list[Need] = field(default_factory=lambda: [need()])
    delivered: float = 1.0
    methodology: str = "5of10"

    async def now(self) -> HalfHour:
        return HalfHour.containing(self.trade.clock())

    async def needs(self) -> Sequence[Need]:
        return self.wanted

    async def metered(self, bid: Bid) -> Metered:
        return {
            meter: {
                one: (offered, offered * (1 - self.delivered))
                for one in bid.table.start.span(bid.table.half_hours)
                for offered in [bid.table.at(OFFERED, one) / len(bid.meters)]
            }
            for meter in bid.meters
        }


class NeedTrade:
    """The utility is asked (BPP), the site asks (BAP)."""

    def __init__(
        self,
        mischief: Mischief | None = None,
        *,
        meters_per_page: int = 1_000,
        **house: Any,  # noqa: ANN401 - of `House`
    ) -> None:
        self.stores = (MemoryStore(), MemoryStore())
        self.house = House(self.clock, self.stores[0], **house)
        self.feeder = Feeder(self)
        self.answerer = Answerer(BAP.subscriber_id, house=self.house, store=self.stores[0])
        self.utility = Desk(
            procurer=Procurer(BPP.subscriber_id, feeder=self.feeder, store=self.stores[1]),
            meters_per_page=meters_per_page,
        )
        self._size = meters_per_page
        self.net: Network = network(
            mischief,
            stores=self.stores,
            seller=self.utility,
            buyer=Desk(answerer=self.answerer),
        )

    def clock(self) -> datetime:
        return self.net.now if hasattr(self, "net") else NOW

    def catalog(self, *needs: Need) -> Catalog:
        """Return the catalogue of some needs, as the service gives it."""
        return catalog_of_needs(
            needs or self.feeder.wanted,
            catalog_id="needs",
            provider=BPP.subscriber_id,
            name="Utility",
        ).model_copy(update={"bpp_id": BPP.subscriber_id, "bpp_uri": BPP.url})

    async def discover(self, *needs: Need) -> None:
        """Let the site look at some needs, and both talk for a minute."""
        reaction = await self.answerer._choose([self.catalog(*needs)])
        await say(self.net, reaction)

    async def go_to(self, half_hour: HalfHour) -> None:
        """Let time pass, half-hour by half-hour, with reports in each."""
        now = HalfHour.containing(self.net.now)
        for one in (now + 1).span(now.until(half_hour)):
            self.net.now = one.start + timedelta(seconds=10)
            place = self.net.places[BPP.url]
            await report_all(
                place.participant,
                self.utility,
                place.store,
                now=self.net.now,
                meters_per_page=self._size,
            )
            await self.net.run(until=self.net.now + timedelta(seconds=20))

    async def contracts(self) -> tuple[list[ContractState], list[ContractState]]:
        """Return all contracts as site and utility see them, ended ones included."""
        return (
            [one for one in self.stores[0]._contracts.values() if one.side is Side.BAP],
            [one for one in self.stores[1]._contracts.values() if one.side is Side.BPP],
        )
