"""The names of the agents: of their actors, their leadership and their heartbeats."""

from collections.abc import Mapping
from typing import Final

NAMESPACE: Final = "gridflex"
WORKLOAD: Final = "workload"
GRID: Final = "grid"
ORCHESTRATOR: Final = "orchestrator"
BOOKS: Final = "books"
"""The bookkeeper, which lives in the grid agent's actor."""
TRADING: Final = "trading"
"""The Beckn desk, which lives in the grid agent's actor."""
ENERGY: Final = "energy"
"""The seller of energy, which lives in the grid agent's actor."""

BOOKS_EVERY_S: Final = 300.0
"""GridFlex time between two looks at what is to be recorded."""

TRADING_EVERY_S: Final = 5.0
"""Wall time between two looks at what is due; a message that arrives wakes the desk earlier."""

ENERGY_EVERY_S: Final = 60.0
"""GridFlex time between two looks at answers, deadlines and what is due."""

ON_HEAD: Final[Mapping[str, float]] = {"node:__internal_head__": 0.001}
"""Resources of the head node alone: workers come and go, and the embedded database is there."""
