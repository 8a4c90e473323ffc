"""Settlement files, byte by byte."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.market.messages.flows import FLOWS
from gridflex.market.messages.idd import (
    Header,
    Receipt,
    Record,
    checksum,
    file_name,
    read,
    read_header,
    read_receipt,
    write,
    write_receipt,
)
from gridflex.market.messages.idd_items import FileError, Response, Value

HEADER = Header(
    file_type="E0041001",
    created_at=datetime(2026, 8, 10, 9, 30, tzinfo=UTC),
    from_role="EN",
    from_party="GRIDFLEX",
    to_role="EC",
    to_party="ECVAA",
    sequence=1,
    phase="TST1",
)
NOTICE: dict[str, Value] = {
    "ecvnaa_id": "ECVNAA0001",
    "ecvnaa_key": "KEY0000001",
    "ecvn_ecvnaa_id": "ECVNAA0001",
    "reference": "REF0000001",
    "effective_from": date(2026, 8, 11),
    "effective_to": None,
}


def contract(*volumes: tuple[int, str], **changed: Value) -> Record:
    periods = tuple(
        Record("CD9", {"settlement_period": n, "contract_volume": Decimal(mwh)})
        for n, mwh in volumes
    )
    return Record("EDN", NOTICE | changed, periods)


def contract_file(record: Record | None = None) -> bytes:
    body = record or contract((1, "12.500"), (2, "-0.001"))
    return write(HEADER, layouts=FLOWS["E0041001"], body=[body])


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        pytest.param([b""], 0, id="nothing"),
        pytest.param([b"AAA|"], 0x4141417C, id="one word"),
        pytest.param([b"ABCDE"], 0x41424344 ^ 0x45000000, id="padded on the right"),
        pytest.param([b"AAA|", b"ABCDE"], 0x4141417C ^ 0x41424344 ^ 0x45000000, id="two records"),
        pytest.param([b"AAA|", b"AAA|"], 0, id="equal records cancel"),
    ],
)
def test_the_checksum_combines_words(records: list[bytes], expected: int) -> None:
    assert checksum(records) == expected


def test_a_contract_notice_looks_like_this() -> None:
    lines = contract_file().decode().split("\n")

    assert lines[:4] == [
        "AAA|E0041001|D|20260810093000|EN|GRIDFLEX|EC|ECVAA|1|TST1|",
        "EDN|ECVNAA0001|KEY0000001|ECVNAA0001|REF0000001|20260811||",
        "CD9|1|12.5|",
        "CD9|2|-0.001|",
    ]
    assert lines[4].startswith("ZZZ|5|")
    assert lines[5:] == [""]
    assert file_name(HEADER) == "EN000000000001"


def test_what_is_written_is_read() -> None:
    header, (record,) = read(contract_file(), layouts=FLOWS["E0041001"])

    assert header == HEADER == read_header(contract_file())
    assert record.values["reference"] == "REF0000001"
    assert "effective_to" not in record.values
    assert [one.values["contract_volume"] for one in record.below("CD9")] == [
        Decimal("12.5"),
        Decimal("-0.001"),
    ]


@given(
    st.lists(
        st.tuples(st.integers(1, 50), st.decimals(-9_999_999, 9_999_999, places=3)), max_size=50
    ),
    st.integers(0, 999_999_999),
)
def test_any_contract_volume_survives_the_wire(
    volumes: list[tuple[int, Decimal]], sequence: int
) -> None:
    header = Header(
        "E0041001", HEADER.created_at, "EN", "GRIDFLEX", "EC", "ECVAA", sequence=sequence
    )
    body = [contract(*[(n, str(mwh)) for n, mwh in volumes])]

    read_back, (record,) = read(
        write(header, layouts=FLOWS["E0041001"], body=body), layouts=FLOWS["E0041001"]
    )

    assert read_back == header
    assert [tuple(one.values.values()) for one in record.below("CD9")] == volumes


@pytest.mark.parametrize(
    ("broken", "response"),
    [
        pytest.param(b"", Response.HEADER, id="empty"),
        pytest.param(b"AAA|E0041001|X|2026|\n", Response.HEADER, id="header"),
        pytest.param(
            contract_file().replace(b"|D|", b"|X|", 1), Response.HEADER, id="message role"
        ),
        pytest.param(
            contract_file().replace(b"GRIDFLEX", b"GRIDFLE\xc9"), Response.HEADER, id="not ASCII"
        ),
        pytest.param(contract_file()[:-20], Response.FOOTER, id="cut off"),
        pytest.param(
            contract_file().replace(b"CD9|2|-0.001|\n", b""), Response.RECORD_COUNT, id="lost line"
        ),
        pytest.param(
            contract_file().replace(b"12.5", b"13.5"), Response.CHECKSUM, id="changed value"
        ),
    ],
)
def test_a_damaged_file_is_refused_where_it_is_damaged(broken: bytes, response: Response) -> None:
    with pytest.raises(FileError) as caught:
        read(broken, layouts=FLOWS["E0041001"])

    assert caught.value.response is response


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        pytest.param(contract((1, "12.3456")), "decimal\\(10,3\\)", id="too many decimals"),
        pytest.param(contract((1, "12345678")), "decimal\\(10,3\\)", id="too large"),
        pytest.param(contract((100, "1")), "integer\\(2\\)", id="period of three digits"),
        pytest.param(contract((1, "1"), reference="A|B"), "reference", id="separator in text"),
        pytest.param(contract((1, "1"), reference=" A"), "reference", id="outer space"),
        pytest.param(contract((1, "1"), reference="A" * 11), "reference", id="too long"),
        pytest.param(contract((1, "1"), reference=None), "reference is missing", id="missing"),
        pytest.param(contract((1, "1"), colour="red"), "unknown items colour", id="unknown item"),
        pytest.param(Record("EDX", NOTICE), "no place here", id="record of another flow"),
    ],
)
def test_what_does_not_fit_the_format_is_never_sent(record: Record, reason: str) -> None:
    with pytest.raises(FileError, match=reason):
        contract_file(record)


def test_one_notice_per_file() -> None:
    with pytest.raises(FileError, match="2 records EDN, valid is 1 to 1"):
        write(HEADER, layouts=FLOWS["E0041001"], body=[contract((1, "1")), contract((2, "1"))])


def test_a_receipt_turns_the_header_round_and_keeps_its_number() -> None:
    receipt = Receipt(
        "EN000000000001",
        datetime(2026, 8, 10, 9, 30, 15, tzinfo=UTC),
        Response.CHECKSUM,
        "footer has checksum 1, not 2",
    )

    header, read_back = read_receipt(write_receipt(HEADER, receipt))

    assert read_back == receipt
    assert (header.from_role, header.to_role, header.sequence) == ("EC", "EN", 1)
    assert header.is_response
    assert header.created_at == HEADER.created_at


@pytest.mark.parametrize("flow", sorted(FLOWS))
def test_every_layout_has_distinct_items_and_known_tags(flow: str) -> None:
    for layout in FLOWS[flow]:
        names = [item.name for item in layout.items]

        assert len(set(names)) == len(names)
        assert len(layout.tag) == 3
