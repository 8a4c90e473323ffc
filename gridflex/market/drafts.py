"""Market messages that may be sent, as they are recorded before they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from gridflex.halfhour import HalfHour
from gridflex.market.artefacts import Artefact, ArtefactKind, ContractNotice
from gridflex.market.registry import UnitId

Key = tuple[UnitId, HalfHour]
"""Which position."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that may be sent, once it is in the ledger.

    Args:
        kind: Which message.
        artefact: What it says.
        volumes: Per position, what it says about it; None for an activity notice. For a contract
            notice what the position has sold with it, other notices included.
        parts: Per position, what this contract notice alone sells; empty for other messages.
        body: What the ledger keeps; without any credential.
    """

    kind: ArtefactKind
    artefact: Artefact
    volumes: Mapping[Key, Decimal | None]
    parts: Mapping[Key, Decimal]
    body: Mapping[str, object]


def draft_body(
    kind: ArtefactKind,
    artefact: Artefact,
    volumes: Mapping[Key, Decimal | None],
    parts: Mapping[Key, Decimal],
) -> dict[str, object]:
    """Return what the ledger keeps of a message."""
    body: dict[str, object] = {
        "artefact": str(kind),
        "positions": [
            {"unit": unit, "half_hour": str(at), "mwh": None if mwh is None else str(mwh)}
            for (unit, at), mwh in sorted(volumes.items(), key=lambda item: item[0][::-1])
        ],
    }
    if isinstance(artefact, ContractNotice):
        body |= {
            "reference": artefact.reference,
            "authorisation": artefact.ecvnaa_id,
            "notice": {str(at): str(mwh) for at, mwh in sorted(artefact.volumes.items())},
            "parts": [
                {"unit": unit, "half_hour": str(at), "mwh": str(mwh)}
                for (unit, at), mwh in sorted(parts.items(), key=lambda item: item[0][::-1])
            ],
        }
    return body
