"""The four messages of a P415 sale, and what comes back for them.

Before gate closure: the activity notice (WMAN, which makes the deviation count), the expected
volume (SEV, what would have been used), the contract notice (ECVN, what was sold). After it:
the delivered volumes per meter pair (DVN). Inside, everything is keyed by half-hour; settlement
dates and periods appear only in the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Final

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.messages.flows import FLOWS
from gridflex.market.messages.idd import OPERATIONAL, Header, Record, write
from gridflex.market.messages.idd_items import Value
from gridflex.market.registry import AmsidPair, MsidPair, Pair, UnitId, pair_key
from gridflex.market.volumes import ExportMWh

WMAN_FLOW: Final = "E0511001"
SEV_FLOW: Final = "P0328001"
ECVN_FLOW: Final = "E0041001"
DVN_FLOW: Final = "P0282002"


class ArtefactKind(StrEnum):
    """Which of the four messages."""

    WMAN = "wman"
    SEV = "sev"
    ECVN = "ecvn"
    DVN = "dvn"


FLOW_OF: Final[dict[ArtefactKind, str]] = {
    ArtefactKind.WMAN: WMAN_FLOW,
    ArtefactKind.SEV: SEV_FLOW,
    ArtefactKind.ECVN: ECVN_FLOW,
    ArtefactKind.DVN: DVN_FLOW,
}


@dataclass(frozen=True, slots=True)
class ActivityNotice:
    """Which units trade in one half-hour.

    Args:
        half_hour: When.
        active: Per unit, whether it trades.
    """

    kind: ClassVar[ArtefactKind] = ArtefactKind.WMAN
    half_hour: HalfHour
    active: Mapping[UnitId, bool]

    @property
    def day(self) -> date:
        """The settlement day."""
        return self.half_hour.settlement[0]


@dataclass(frozen=True, slots=True)
class ExpectedVolumes:
    """What units would do without flexibility, on one settlement day.

    Args:
        volumes: Per unit and half-hour, export positive.
        is_default: Whether it stands from that day on until replaced.
    """

    kind: ClassVar[ArtefactKind] = ArtefactKind.SEV
    volumes: Mapping[UnitId, Mapping[HalfHour, ExportMWh]]
    is_default: bool = False

    @property
    def day(self) -> date:
        """The settlement day."""
        return _one_day(half_hour for unit in self.volumes.values() for half_hour in unit)


@dataclass(frozen=True, slots=True)
class ContractNotice:
    """Energy sold from the trading party's Energy Account to one buyer, on one settlement day.

    Args:
        reference: Our id, 10 characters at most; sending it again replaces the notice.
        ecvnaa_id: Authorisation under which it is sent.
        volumes: MWh from seller to buyer per half-hour.
    """

    kind: ClassVar[ArtefactKind] = ArtefactKind.ECVN
    reference: str
    ecvnaa_id: str
    volumes: Mapping[HalfHour, Decimal]

    @property
    def day(self) -> date:
        """The settlement day."""
        return _one_day(iter(self.volumes))


@dataclass(frozen=True, slots=True)
class PairDelivery:
    """Delivered volumes of one meter pair.

    Args:
        gsp_group: Letter of the GSP Group.
        unit: The unit it is allocated to.
        pair: The meters.
        volumes: Deviation per half-hour, positive for less import.
    """

    gsp_group: str
    unit: UnitId
    pair: Pair
    volumes: Mapping[HalfHour, ExportMWh]


@dataclass(frozen=True, slots=True)
class DeliveredVolumes:
    """Delivered volumes of one settlement day.

    Args:
        deliveries: Per pair.
    """

    kind: ClassVar[ArtefactKind] = ArtefactKind.DVN
    deliveries: tuple[PairDelivery, ...]

    @property
    def day(self) -> date:
        """The settlement day."""
        return _one_day(half_hour for one in self.deliveries for half_hour in one.volumes)


Artefact = ActivityNotice | ExpectedVolumes | ContractNotice | DeliveredVolumes


@dataclass(frozen=True, slots=True)
class Channel:
    """From whom to whom files go, and which number the next one has.

    Trading party and notification agent are two identities with two counts.

    Args:
        from_role: ``VT`` for the trading party, ``EN`` for its notification agent.
        from_party: Its id.
        to_role: ``EC`` for contract notification, ``SV`` for supplier volume allocation.
        to_party: Its id.
        phase: ``OPER``, or a test phase.
    """

    from_role: str
    from_party: str
    to_role: str
    to_party: str
    phase: str = OPERATIONAL

    def header(self, flow: str, *, sequence: int, at: datetime) -> Header:
        """Return the header of the next file."""
        return Header(
            file_type=flow,
            created_at=at,
            from_role=self.from_role,
            from_party=self.from_party,
            to_role=self.to_role,
            to_party=self.to_party,
            sequence=sequence,
            phase=self.phase,
        )


def channels_of(party: str, *, phase: str = OPERATIONAL) -> dict[ArtefactKind, Channel]:
    """Return the usual channels of a trading party that is its own notification agent.

    Args:
        party: Its id.
        phase: See `Channel`.
    """
    return {
        ArtefactKind.WMAN: Channel("VT", party, "EC", "ECVAA", phase),
        ArtefactKind.SEV: Channel("VP", party, "SV", "SVAA", phase),
        ArtefactKind.ECVN: Channel("EN", party, "EC", "ECVAA", phase),
        ArtefactKind.DVN: Channel("VP", party, "SV", "SVAA", phase),
    }


def artefact_file(
    artefact: Artefact, *, channel: Channel, sequence: int, at: datetime, key: str = ""
) -> bytes:
    """Return the file that transmits an artefact.

    Args:
        artefact: What to say.
        channel: From whom to whom.
        sequence: Number of the file on that channel.
        at: When it is made; aware UTC.
        key: Credential of the contract authorisation; only for contract notices, and never
            kept with them.

    Raises:
        FileError: A value does not fit the format.
        ContractError: The artefact is empty or spans settlement days.
    """
    flow, body = _body(artefact, key)
    header = channel.header(flow, sequence=sequence, at=at)
    return write(header, layouts=FLOWS[flow], body=body)


def _body(artefact: Artefact, key: str) -> tuple[str, tuple[Record, ...]]:
    match artefact:
        case ActivityNotice():
            return WMAN_FLOW, (_activity(artefact),)
        case ExpectedVolumes():
            return SEV_FLOW, (_expected(artefact),)
        case ContractNotice():
            return ECVN_FLOW, (_contract(artefact, key),)
        case DeliveredVolumes():
            return DVN_FLOW, (_delivered(artefact),)


def _activity(notice: ActivityNotice) -> Record:
    day, period = notice.half_hour.settlement
    units = tuple(
        Record("WMA", {"bm_unit_id": unit, "is_active": is_active})
        for unit, is_active in sorted(notice.active.items())
    )
    return Record("SDP", {"settlement_date": day, "settlement_period": period}, units)


def _expected(expected: ExpectedVolumes) -> Record:
    units = tuple(
        Record(
            "BSB",
            {"bm_unit_id": unit},
            _periods("BSP", "expected_volume", {at: one.mwh for at, one in volumes.items()}),
        )
        for unit, volumes in sorted(expected.volumes.items())
    )
    day = expected.day
    until = None if expected.is_default else day
    return Record("BSD", {"effective_from": day, "effective_to": until}, units)


def _contract(notice: ContractNotice, key: str) -> Record:
    return Record(
        "EDN",
        {
            "ecvnaa_id": notice.ecvnaa_id,
            "ecvnaa_key": key,
            "ecvn_ecvnaa_id": notice.ecvnaa_id,
            "reference": notice.reference,
            "effective_from": notice.day,
            "effective_to": notice.day,
        },
        _periods("CD9", "contract_volume", notice.volumes),
    )


def _delivered(delivered: DeliveredVolumes) -> Record:
    groups = {one.gsp_group for one in delivered.deliveries}
    return Record(
        "MSA",
        {"settlement_date": delivered.day},
        tuple(_group(delivered, group) for group in sorted(groups)),
    )


def _group(delivered: DeliveredVolumes, group: str) -> Record:
    here = [one for one in delivered.deliveries if one.gsp_group == group]
    units = tuple(
        Record("MSC", {"bm_unit_id": unit}, _pairs([one for one in here if one.unit == unit]))
        for unit in sorted({one.unit for one in here})
    )
    return Record("MSB", {"gsp_group_id": f"_{group}"}, units)


def _pairs(deliveries: list[PairDelivery]) -> tuple[Record, ...]:
    boundaries = {_boundary(one.pair).import_msid: _boundary(one.pair) for one in deliveries}
    return tuple(_boundary_record(pair, deliveries) for _, pair in sorted(boundaries.items()))


def _boundary(pair: Pair) -> MsidPair:
    return pair.boundary if isinstance(pair, AmsidPair) else pair


def _boundary_record(boundary: MsidPair, deliveries: list[PairDelivery]) -> Record:
    own = [one for one in deliveries if one.pair == boundary]
    assets = sorted(
        (
            one
            for one in deliveries
            if isinstance(one.pair, AmsidPair) and one.pair.boundary == boundary
        ),
        key=lambda one: pair_key(one.pair),
    )
    periods = [record for one in own for record in _delivered_periods("MSP", one)]
    below = tuple(
        Record(
            "ASJ",
            _ids("amsid", one.pair.import_amsid, one.pair.export_amsid),
            _delivered_periods("ASP", one),
        )
        for one in assets
        if isinstance(one.pair, AmsidPair)
    )
    ids = _ids("msid", boundary.import_msid, boundary.export_msid)
    return Record("MSJ", ids, (*periods, *below))


def _ids(kind: str, import_id: str, export_id: str | None) -> dict[str, Value]:
    return {
        f"import_{kind}": int(import_id),
        f"export_{kind}": None if export_id is None else int(export_id),
    }


def _delivered_periods(tag: str, one: PairDelivery) -> tuple[Record, ...]:
    return _periods(tag, "delivered_volume", {at: volume.mwh for at, volume in one.volumes.items()})


def _periods(tag: str, item: str, volumes: Mapping[HalfHour, Decimal]) -> tuple[Record, ...]:
    return tuple(
        Record(tag, {"settlement_period": half_hour.settlement[1], item: volumes[half_hour]})
        for half_hour in sorted(volumes)
    )


def _one_day(half_hours: Iterable[HalfHour]) -> date:
    days = {half_hour.settlement[0] for half_hour in half_hours}
    if len(days) != 1:
        raise ContractError(f"a message is about one settlement day, got {sorted(days) or 'none'}")
    return days.pop()
