"""Central agents that a desk writes to without a folder between."""

from collections import deque
from collections.abc import Iterator
from datetime import datetime

from gridflex.market.trading.desk import OutgoingFile
from gridflex.sandbox.market import SimulatedAgents


class Centre:
    """Simulated agents as a mailbox, at an instant that a test sets."""

    def __init__(self, agents: SimulatedAgents, *, now: datetime) -> None:
        self.agents = agents
        self.now = now
        self._waiting: deque[bytes] = deque()

    def send(self, file: OutgoingFile) -> None:
        self._waiting += self.agents.deliver(file.payload, now=self.now)

    def collect(self) -> Iterator[bytes]:
        while self._waiting:
            yield self._waiting.popleft()

    def refuse(self, why: str) -> None:
        raise AssertionError(why)

    def refused(self) -> dict[str, str]:
        return {}
