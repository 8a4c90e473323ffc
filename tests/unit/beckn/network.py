"""Two participants over a network that can lose, repeat, delay and refuse."""

import uuid
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gridflex.beckn.contracts.phrasing import in_state
from gridflex.beckn.contracts.states import ContractState, Patience, Side, Step
from gridflex.beckn.messaging.acknowledging import nack
from gridflex.beckn.messaging.delivery import Answered, Courier
from gridflex.beckn.messaging.keeping import Hold, Store
from gridflex.beckn.messaging.memory import MemoryStore
from gridflex.beckn.messaging.participant import Participant, screen_contract
from gridflex.beckn.messaging.reacting import Reaction, Saying, Trader, sayings
from gridflex.beckn.messaging.receiving import Receiver, Screen
from gridflex.beckn.messaging.writing import Author, Peer
from gridflex.beckn.trust.signing import SigningKey
from gridflex.beckn.trust.verification import Local
from gridflex.beckn.wire.entities import CommitmentCode, Contract, ContractCode
from gridflex.beckn.wire.errors import BecknError, Code
from gridflex.beckn.wire.messages import Message
from gridflex.beckn.wire.payloads import ContractMessage
from gridflex.errors import SourceError
from gridflex.halfhour import HalfHour
from tests.unit.beckn.wire import (
    BAP,
    BAP_KEY,
    BPP,
    BPP_KEY,
    CONTRACT_ID,
    NETWORK,
    NOW,
    POLICY,
    contract,
    registry,
)

PATIENCE = Patience(answer=timedelta(minutes=5), draft=timedelta(minutes=30))
SECOND = timedelta(seconds=1)
SELLER = Peer(BPP.subscriber_id, BPP.url)
DRAFT = ContractMessage(contract=Contract.model_validate(contract()))

Mischief = Callable[[str, int], str | None]
"""What happens to the nth attempt to send an action: lose, drop-ack, refuse, twice."""


class ScriptedBuyer:
    """Says the next thing whenever it can."""

    def __init__(self) -> None:
        self.ends: list[ContractState] = []

    async def react(self, message: Message, step: Step | None, *, now: datetime) -> Reaction:  # noqa: ARG002 - port
        if step is None or step.is_stale or step.state.stage.is_final:
            return Reaction()
        following = {"on_select": "init", "on_init": "confirm"}.get(message.action)
        if following is None:
            return Reaction()
        return sayings(Saying(ContractMessage(contract=step.state.contract), following))

    async def ended(self, state: ContractState) -> None:
        self.ends.append(state)


class ScriptedSeller(ScriptedBuyer):
    """Sells one thing once."""

    def __init__(self, thing: str = "job-1") -> None:
        super().__init__()
        self.thing = thing

    async def react(self, message: Message, step: Step | None, *, now: datetime) -> Reaction:
        assert step is not None
        told = step.state.contract.model_copy(update={"id": CONTRACT_ID})
        if message.action == "confirm":
            active = in_state(told, ContractCode.ACTIVE, CommitmentCode.ACTIVE)
            start = HalfHour.containing(now) + 4
            hold = Hold(message.context.transaction_id, self.thing, start, 8, 150.0)
            return Reaction((Saying(ContractMessage(contract=active)),), (hold,))
        if message.action == "cancel":
            over = in_state(told, ContractCode.CANCELLED, CommitmentCode.CLOSED)
            return sayings(Saying(ContractMessage(contract=over)))
        return sayings(Saying(ContractMessage(contract=told)))


@dataclass
class Place:
    """One participant with its receiver."""

    participant: Participant
    receiver: Receiver
    store: Store
    trader: Trader


@dataclass
class Network:
    """Delivers between places, with mischief."""

    places: dict[str, Place]
    mischief: Mischief = lambda _action, _attempt: None
    attempts: Counter[str] = field(default_factory=Counter)
    log: deque[tuple[str, int]] = field(default_factory=deque)
    now: datetime = NOW

    async def post(self, url: str, body: bytes, *, authorization: str) -> Answered:
        base = next((one for one in self.places if url.startswith(f"{one}/")), "")
        action = url.removeprefix(f"{base}/")
        self.attempts[action] += 1
        what = self.mischief(action, self.attempts[action])
        if what == "lose" or base not in self.places:
            raise SourceError(f"{url}: lost")
        receiver = self.places[base].receiver
        if what == "refuse":
            error = BecknError(Code.POL_ENGAGEMENT_REFUSED, "not with you")
            reply = nack(None, error, realm="x")
        else:
            reply = await receiver.receive(action, body, authorization=authorization, now=self.now)
        if what == "twice":
            await receiver.receive(action, body, authorization=authorization, now=self.now)
        self.log.append((action, int(reply.status)))
        if what == "drop-ack":
            raise SourceError(f"{url}: the answer was lost")
        return Answered(int(reply.status), reply.body, reply.headers.get("Signature"))

    async def run(self, *, until: datetime) -> None:
        """Let everybody work, second by second."""
        while self.now < until:
            for place in self.places.values():
                await self.turn(place)
            self.now += SECOND

    async def turn(self, place: Place) -> None:
        note = place.participant.note_outcome
        courier = Courier(store=place.store, transport=self, registry=registry(), note=note)
        await place.participant.handle(self.now)
        await place.participant.lapse(self.now)
        await courier.send(self.now)


def place(
    local: Local,
    key: SigningKey,
    trader: Trader,
    store: Store | None = None,
    *,
    screen: Screen = screen_contract,
) -> Place:
    kept = store or MemoryStore()
    author = Author(local, key=key, network_id=NETWORK, new_id=lambda: str(uuid.uuid4()))
    return Place(
        Participant(author, store=kept, trader=trader, patience=PATIENCE),
        Receiver(
            local,
            key=key,
            inbox=kept,
            registry=registry(),
            policy=POLICY,
            screen=screen,
        ),
        kept,
        trader,
    )


def network(
    mischief: Mischief | None = None,
    *,
    stores: tuple[Store | None, Store | None] = (None, None),
    seller: Trader | None = None,
    buyer: Trader | None = None,
) -> Network:
    places = {
        BAP.url: place(BAP, BAP_KEY, buyer or ScriptedBuyer(), stores[0]),
        BPP.url: place(BPP, BPP_KEY, seller or ScriptedSeller(), stores[1]),
    }
    return Network(places, mischief or (lambda _action, _attempt: None))


async def buy(net: Network, *, until: timedelta = timedelta(minutes=1)) -> str:
    """Start one transaction and let it run; return its id."""
    buyer = net.places[BAP.url]
    transaction = await buyer.participant.start("select", DRAFT, peer=SELLER, now=net.now)
    await net.run(until=net.now + until)
    return transaction


async def say(net: Network, reaction: Reaction) -> None:
    """Let the buyer begin what it decided to, and both talk for a minute."""
    for saying in reaction.sayings:
        assert saying.peer is not None
        await net.places[BAP.url].participant.start(
            "select", saying.payload, peer=saying.peer, now=net.now
        )
    await net.run(until=net.now + timedelta(minutes=1))


async def both(net: Network, transaction: str) -> tuple[ContractState, ContractState]:
    """Return the contract as buyer and seller see it."""
    states = []
    for url, side in ((BAP.url, Side.BAP), (BPP.url, Side.BPP)):
        state = await net.places[url].store.contract(transaction, side)
        assert state is not None
        states.append(state)
    return states[0], states[1]


def memory(net: Network, url: str) -> MemoryStore:
    """Return what a participant keeps, where that is in memory."""
    store = net.places[url].store
    assert isinstance(store, MemoryStore)
    return store
