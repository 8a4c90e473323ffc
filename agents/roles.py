"""The names of the agents: of their actors, their leadership and their heartbeats."""

from typing import Final

NAMESPACE: Final = "gridflex"
WORKLOAD: Final = "workload"
GRID: Final = "grid"
ORCHESTRATOR: Final = "orchestrator"
BOOKS: Final = "books"
"""The bookkeeper, which lives in the grid agent's actor."""
TRADING: Final = "trading"
"""The Beckn desk, which lives in the grid agent's actor."""
