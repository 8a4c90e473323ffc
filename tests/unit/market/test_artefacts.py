"""The four messages as files, and the answers to them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.messages.artefacts import (
    ActivityNotice,
    Artefact,
    ArtefactKind,
    Channel,
    ContractNotice,
    DeliveredVolumes,
    ExpectedVolumes,
    PairDelivery,
    artefact_file,
)
from gridflex.market.messages.feedback import Feedback, read_feedback
from gridflex.market.messages.flows import FLOWS
from gridflex.market.messages.idd import Header, Record, write
from gridflex.market.messages.idd_items import FileError, Value
from gridflex.market.registry import AmsidPair, Msid, MsidPair, UnitId
from gridflex.market.volumes import ExportMWh

UNIT = UnitId("V__CGRID001")
OTHER = UnitId("V__CGRID002")
PAIR = MsidPair(Msid("1200012345679"))
ASSET = AmsidPair(PAIR, Msid("9900000000001"), Msid("0900000000002"))
AT = datetime(2026, 10, 24, 9, 30, tzinfo=UTC)
LONG_DAY = date(2026, 10, 25)
CHANNEL = Channel("VT", "GRIDFLEX", "SV", "SVAA")


def half_hour(period: int, day: date = LONG_DAY) -> HalfHour:
    return HalfHour.from_settlement(day, period)


def body(artefact: Artefact, key: str = "") -> list[str]:
    text = artefact_file(artefact, channel=CHANNEL, sequence=7, at=AT, key=key).decode()
    return text.split("\n")[1:-2]


def test_an_activity_notice_names_its_half_hour_by_the_clock_in_london() -> None:
    notice = ActivityNotice(half_hour(6), {OTHER: False, UNIT: True})

    assert body(notice) == ["SDP|20261025|6|", "WMA|V__CGRID001|T|", "WMA|V__CGRID002|F|"]


def test_an_expected_import_is_negative() -> None:
    expected = ExpectedVolumes(
        {UNIT: {half_hour(50): ExportMWh(Decimal("-9.5")), half_hour(49): ExportMWh(Decimal(-10))}}
    )

    assert body(expected) == [
        "BSD|20261025|20261025|",
        "BSB|V__CGRID001|",
        "BSP|49|-10|",
        "BSP|50|-9.5|",
    ]


def test_all_fifty_half_hours_of_the_long_day_fit_in_one_message() -> None:
    volumes = {half_hour(n): ExportMWh(Decimal(-n)) for n in range(1, 51)}

    lines = body(ExpectedVolumes({UNIT: volumes}))

    assert len(lines) == 52
    assert lines[-1] == "BSP|50|-50|"


def test_a_default_expected_volume_has_no_end() -> None:
    expected = ExpectedVolumes({UNIT: {half_hour(1): ExportMWh(Decimal(-10))}}, is_default=True)

    assert body(expected)[0] == "BSD|20261025||"


def test_a_contract_notice_carries_the_credential_only_in_the_file() -> None:
    notice = ContractNotice("REF1", "ECVNAA0001", {half_hour(35): Decimal("3.000")})

    assert body(notice, key="SECRET") == [
        "EDN|ECVNAA0001|SECRET|ECVNAA0001|REF1|20261025|20261025|",
        "CD9|35|3|",
    ]
    assert "SECRET" not in repr(notice)


def test_delivered_volumes_nest_assets_below_their_boundary() -> None:
    delivered = DeliveredVolumes(
        (
            PairDelivery("C", UNIT, ASSET, {half_hour(35): ExportMWh(Decimal("0.8"))}),
            PairDelivery("C", UNIT, PAIR, {half_hour(35): ExportMWh(Decimal("2.0"))}),
        )
    )

    assert body(delivered) == [
        "MSA|20261025|",
        "MSB|_C|",
        "MSC|V__CGRID001|",
        "MSJ|1200012345679||",
        "MSP|35|2|",
        "ASJ|9900000000001|900000000002|",
        "ASP|35|0.8|",
    ]


@pytest.mark.parametrize(
    "artefact",
    [
        pytest.param(
            ContractNotice(
                "R", "A", {half_hour(1): Decimal(1), half_hour(1, date(2026, 10, 24)): Decimal(1)}
            ),
            id="two days",
        ),
        pytest.param(ContractNotice("R", "A", {}), id="nothing"),
    ],
)
def test_a_message_is_about_one_day(artefact: Artefact) -> None:
    with pytest.raises(ContractError, match="one settlement day"):
        body(artefact, key="K")


def answer(flow: str, *records: Record) -> tuple[Feedback, ...]:
    header = Header(flow, AT, "EC", "ECVAA", "VT", "GRIDFLEX", sequence=1)
    return read_feedback(write(header, layouts=FLOWS[flow], body=records))


def test_a_rejected_half_hour_of_activity_is_about_all_units() -> None:
    record = Record(
        "WMR", {"settlement_date": LONG_DAY, "settlement_period": 6, "rejection_reason": "late"}
    )

    assert answer("E0521001", record) == (
        Feedback(ArtefactKind.WMAN, is_accepted=False, reason="late", half_hours=(half_hour(6),)),
    )


def test_a_rejected_unit_leaves_the_others_active() -> None:
    units = (Record("WMJ", {"bm_unit_id": UNIT, "rejection_reason": "not trading"}),)
    record = Record("WMR", {"settlement_date": LONG_DAY, "settlement_period": 6}, units)

    (one,) = answer("E0521001", record)

    assert (one.unit, one.reason) == (UNIT, "not trading")


def test_an_accepted_contract_names_its_half_hours() -> None:
    values: dict[str, Value] = {
        "ecvna_id": "GRIDFLEX",
        "ecvnaa_id": "A1",
        "ecvn_ecvnaa_id": "A1",
        "reference": "REF1",
        "effective_from": LONG_DAY,
        "first_effective_period": 35,
        "file_name": "EN000000000001",
        "sequence": 1,
        "transaction": 99,
    }
    period = Record("CD9", {"settlement_period": 35, "contract_volume": Decimal(3)})

    (one,) = answer("E0281001", Record("EDA", values, (period,)))

    assert one.is_accepted
    assert (one.reference, one.half_hours) == ("REF1", (half_hour(35),))


def test_an_accepted_expected_volume_names_the_unit_only() -> None:
    assert answer("P0330001", Record("BSA", {"bm_unit_id": UNIT})) == (
        Feedback(ArtefactKind.SEV, is_accepted=True, unit=UNIT),
    )


def test_a_rejection_of_an_expected_volume_may_say_next_to_nothing() -> None:
    (one,) = answer("P0329001", Record("BSR", {"rejection_reason": "unknown unit"}))

    assert (one.is_accepted, one.unit, one.half_hours) == (False, None, ())


def test_a_warning_about_an_expected_volume_is_no_rejection() -> None:
    warning = Record(
        "BSW",
        {"settlement_period": 3, "expected_volume": Decimal(-1), "warning_reason": "no S pair"},
    )
    record = Record("BSX", {"bm_unit_id": UNIT, "settlement_date": LONG_DAY}, (warning,))

    (one,) = answer("P0331001", record)

    assert one.is_accepted
    assert (one.reason, one.half_hours) == ("no S pair", (half_hour(3),))


def test_a_rejected_delivery_keeps_the_leading_zero_of_its_meter() -> None:
    record = Record(
        "MSR",
        {
            "settlement_date": LONG_DAY,
            "import_msid": 900000000002,
            "settlement_period": 35,
            "rejection_reason": "not allocated",
        },
    )

    (one,) = answer("P0283002", record)

    assert (one.meter, one.half_hours) == ("0900000000002", (half_hour(35),))


def test_a_confirmed_delivery_names_the_day_only() -> None:
    (one,) = answer("P0284001", Record("MSF", {"settlement_date": LONG_DAY}))

    assert (one.kind, one.is_accepted, one.day) == (ArtefactKind.DVN, True, LONG_DAY)


def test_a_file_that_is_no_answer_is_refused() -> None:
    notice = ActivityNotice(half_hour(6), {UNIT: True})

    with pytest.raises(FileError, match="E0511001 is not feedback"):
        read_feedback(artefact_file(notice, channel=CHANNEL, sequence=1, at=AT))
