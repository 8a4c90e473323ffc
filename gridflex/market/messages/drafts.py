"""Market messages that may be sent, as they are recorded before they are, and read back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from pydantic import TypeAdapter

from gridflex.halfhour import HalfHour
from gridflex.market.messages.artefacts import (
    ActivityNotice,
    Artefact,
    ArtefactKind,
    ContractNotice,
    DeliveredVolumes,
    ExpectedVolumes,
    PairDelivery,
)
from gridflex.market.registry import Pair, UnitId
from gridflex.market.volumes import ExportMWh

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


_PAIR: Final[TypeAdapter[Pair]] = TypeAdapter(Pair)


def draft_body(
    kind: ArtefactKind,
    artefact: Artefact,
    volumes: Mapping[Key, Decimal | None],
    parts: Mapping[Key, Decimal],
    *,
    number: int,
) -> dict[str, object]:
    """Return what the ledger keeps of a message that is sent under a number."""
    body: dict[str, object] = {
        "artefact": str(kind),
        "number": number,
        "positions": [
            {"unit": unit, "half_hour": str(at), "mwh": None if mwh is None else str(mwh)}
            for (unit, at), mwh in sorted(volumes.items(), key=lambda item: item[0][::-1])
        ],
    }
    match artefact:
        case ContractNotice():
            body |= {
                "reference": artefact.reference,
                "authorisation": artefact.ecvnaa_id,
                "notice": _written(artefact.volumes),
                "parts": [
                    {"unit": unit, "half_hour": str(at), "mwh": str(mwh)}
                    for (unit, at), mwh in sorted(parts.items(), key=lambda item: item[0][::-1])
                ],
            }
        case ActivityNotice():
            body["active"] = dict(artefact.active)
        case ExpectedVolumes():
            body["is_default"] = artefact.is_default
        case DeliveredVolumes():
            body["deliveries"] = [_delivery(one) for one in artefact.deliveries]
    return body


def read_draft(body: Mapping[str, Any]) -> tuple[Artefact, dict[Key, Decimal] | None]:
    """Return the message that the ledger keeps, and for a contract notice its parts."""
    positions = [
        (UnitId(one["unit"]), HalfHour.parse(one["half_hour"]), one["mwh"])
        for one in body["positions"]
    ]
    match ArtefactKind(body["artefact"]):
        case ArtefactKind.WMAN:
            active = {UnitId(unit): is_active for unit, is_active in body["active"].items()}
            return ActivityNotice(positions[0][1], active), None
        case ArtefactKind.SEV:
            volumes: dict[UnitId, dict[HalfHour, ExportMWh]] = {}
            for unit, at, mwh in positions:
                volumes.setdefault(unit, {})[at] = ExportMWh(Decimal(mwh))
            return ExpectedVolumes(volumes, is_default=body["is_default"]), None
        case ArtefactKind.ECVN:
            notice = ContractNotice(body["reference"], body["authorisation"], _read(body["notice"]))
            return notice, {
                (UnitId(one["unit"]), HalfHour.parse(one["half_hour"])): Decimal(one["mwh"])
                for one in body["parts"]
            }
        case ArtefactKind.DVN:
            return DeliveredVolumes(tuple(_read_deliveries(body["deliveries"]))), None


def _delivery(one: PairDelivery) -> dict[str, object]:
    return {
        "gsp_group": one.gsp_group,
        "unit": one.unit,
        "pair": _PAIR.dump_python(one.pair, mode="json"),
        "volumes": _written({at: volume.mwh for at, volume in one.volumes.items()}),
    }


def _read_deliveries(rows: Iterable[Mapping[str, Any]]) -> Iterable[PairDelivery]:
    for row in rows:
        volumes = {at: ExportMWh(mwh) for at, mwh in _read(row["volumes"]).items()}
        pair = _PAIR.validate_python(row["pair"])
        yield PairDelivery(row["gsp_group"], UnitId(row["unit"]), pair, volumes)


def _written(volumes: Mapping[HalfHour, Decimal]) -> dict[str, str]:
    return {str(at): str(mwh) for at, mwh in sorted(volumes.items())}


def _read(volumes: Mapping[str, str]) -> dict[HalfHour, Decimal]:
    return {HalfHour.parse(at): Decimal(mwh) for at, mwh in volumes.items()}
