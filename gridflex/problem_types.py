"""Types of the problems that the HTTP interface tells, for both of its sides."""

from __future__ import annotations

from typing import Final

PREFIX: Final = "urn:gridflex:problem:"
CONFLICT: Final = "conflict"
INFEASIBLE: Final = "infeasible"
