"""Files in the form the central settlement systems exchange: header, records, footer.

ASCII lines; a record of n items has n + 1 separators, the last one before the line feed. The
footer counts all records and carries a checksum; the receiver answers with a receipt, which
says that the bytes arrived and parsed and nothing about their content.

Source: NETA Interface Definition and Design, Part 1, section 2.2 (v47).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

from gridflex.market.messages.idd_items import (
    FileError,
    Item,
    Kind,
    Response,
    Value,
    decoded,
    encoded,
)

OPERATIONAL: Final = "OPER"


@dataclass(frozen=True, slots=True)
class Layout:
    """One type of record and what may stand below it, in this order.

    Args:
        tag: Its three letters.
        items: Fields in order.
        children: Record types below.
        least: Fewest occurrences.
        most: Most occurrences; None for no limit.
    """

    tag: str
    items: tuple[Item, ...]
    children: tuple[Layout, ...] = ()
    least: int = 1
    most: int | None = 1


@dataclass(frozen=True, slots=True)
class Record:
    """One record with its values, in the order of its layout, and the records below it.

    Args:
        tag: Its three letters.
        values: By item name; a missing optional item is absent.
        children: Records below.
    """

    tag: str
    values: dict[str, Value]
    children: tuple[Record, ...] = ()

    def below(self, tag: str) -> tuple[Record, ...]:
        """Return the records of one type directly below."""
        return tuple(child for child in self.children if child.tag == tag)


@dataclass(frozen=True, slots=True)
class Header:
    """First record of a file.

    Args:
        file_type: Flow and version, such as ``E0041001``.
        created_at: Aware UTC.
        from_role: Two letters.
        from_party: Participant id.
        to_role: Two letters.
        to_party: Participant id.
        sequence: Counted per sender and receiver.
        is_response: Whether it is a receipt.
        phase: ``OPER`` or a test phase.
    """

    file_type: str
    created_at: datetime
    from_role: str
    from_party: str
    to_role: str
    to_party: str
    sequence: int
    is_response: bool = False
    phase: str = OPERATIONAL


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the receiver says about a file.

    Args:
        file_name: Name of the file received.
        received_at: When; aware UTC.
        response: Whether it parsed.
        detail: What was wrong; empty if nothing.
    """

    file_name: str
    received_at: datetime
    response: Response
    detail: str = ""


_HEADER: Final = Layout(
    "AAA",
    (
        Item("file_type", Kind.TEXT, 8),
        Item("role", Kind.TEXT, 1),
        Item("created_at", Kind.INSTANT),
        Item("from_role", Kind.TEXT, 2),
        Item("from_party", Kind.TEXT, 8),
        Item("to_role", Kind.TEXT, 2),
        Item("to_party", Kind.TEXT, 8),
        Item("sequence", Kind.INTEGER, 9),
        Item("phase", Kind.TEXT, 4, is_optional=True),
    ),
)
_FOOTER: Final = Layout("ZZZ", (Item("records", Kind.INTEGER, 10), Item("sum", Kind.INTEGER, 10)))
_RECEIPT: Final = Layout(
    "ADT",
    (
        Item("received_at", Kind.INSTANT),
        Item("answered_at", Kind.INSTANT),
        Item("file_name", Kind.TEXT, 14),
        Item("response", Kind.INTEGER, 3),
        Item("detail", Kind.TEXT, 80, is_optional=True),
    ),
)


def file_name(header: Header) -> str:
    """Return the 14 characters under which a file travels: role and sequence number."""
    return f"{header.from_role}{header.sequence:012d}"


def checksum(records: Sequence[bytes]) -> int:
    """Return the footer's checksum of the records before it.

    Each record, without its line feed, is cut into 32-bit words, the last one padded with
    zeros, and all words are combined by exclusive or.
    """
    total = 0
    for record in records:
        padded = record + b"\0" * (-len(record) % 4)
        for start in range(0, len(padded), 4):
            total ^= int.from_bytes(padded[start : start + 4])
    return total


def write(header: Header, *, layouts: Sequence[Layout], body: Sequence[Record]) -> bytes:
    """Return a file.

    Args:
        header: Its first record.
        layouts: Record types of its flow.
        body: Records, in the order of the layouts.

    Raises:
        FileError: A value does not fit its item, or the records do not fit the layouts.
    """
    return _framed(header, list(_lines(body, layouts, header.file_type)))


def write_receipt(received: Header, receipt: Receipt) -> bytes:
    """Return the receipt for a file; it repeats the file's time and sequence number."""
    header = Header(
        file_type=received.file_type,
        created_at=received.created_at,
        from_role=received.to_role,
        from_party=received.to_party,
        to_role=received.from_role,
        to_party=received.from_party,
        sequence=received.sequence,
        is_response=True,
        phase=received.phase,
    )
    values: dict[str, Value] = {
        "received_at": receipt.received_at,
        "answered_at": receipt.received_at,
        "file_name": receipt.file_name,
        "response": int(receipt.response),
        "detail": receipt.detail[:80] or None,
    }
    return _framed(header, [_line(Record("ADT", values), _RECEIPT)])


def read_header(payload: bytes) -> Header:
    """Return the header of a file without reading the rest.

    Raises:
        FileError: It is not a valid header.
    """
    try:
        values = _values(_decoded(payload).split("\n", 1)[0], _HEADER)
    except FileError as error:
        raise FileError(str(error), Response.HEADER) from error
    role = values.pop("role")
    if role not in ("D", "R"):
        raise FileError(f"message role must be D or R, got {role!r}", Response.HEADER)
    values.setdefault("phase", OPERATIONAL)
    return Header(**values, is_response=role == "R")  # type: ignore[arg-type]  # by the layout


def read(payload: bytes, *, layouts: Sequence[Layout]) -> tuple[Header, tuple[Record, ...]]:
    """Return header and records of a file after checking count, checksum and layout.

    Raises:
        FileError: The file breaks the format; ``response`` says where.
    """
    header, lines = read_header(payload), _checked_lines(payload)
    records, rest = _records(lines, layouts, header.file_type)
    if rest:
        raise FileError(f"{header.file_type}: unexpected record {rest[0][:3]!r}")
    return header, records


def read_receipt(payload: bytes) -> tuple[Header, Receipt]:
    """Return what the receiver said about a file of ours.

    Raises:
        FileError: It is not a receipt.
    """
    header, (record, *_) = read(payload, layouts=(_RECEIPT,))
    values = record.values
    return header, Receipt(
        file_name=str(values["file_name"]),
        received_at=values["received_at"],  # type: ignore[arg-type]  # by the layout
        response=Response(int(str(values["response"]))),
        detail=str(values.get("detail", "")),
    )


def _framed(header: Header, body: list[str]) -> bytes:
    values: dict[str, Value] = {
        "file_type": header.file_type,
        "role": "R" if header.is_response else "D",
        "created_at": header.created_at,
        "from_role": header.from_role,
        "from_party": header.from_party,
        "to_role": header.to_role,
        "to_party": header.to_party,
        "sequence": header.sequence,
        "phase": header.phase,
    }
    lines = [line.encode("ascii") for line in (_line(Record("AAA", values), _HEADER), *body)]
    tail: dict[str, Value] = {"records": len(lines) + 1, "sum": checksum(lines)}
    lines.append(_line(Record("ZZZ", tail), _FOOTER).encode("ascii"))
    return b"\n".join(lines) + b"\n"


def _lines(records: Sequence[Record], layouts: Sequence[Layout], above: str) -> Iterator[str]:
    order = [layout.tag for layout in layouts]
    for record in records:
        if record.tag not in order:
            raise FileError(f"{above}: a record {record.tag} has no place here")
    if any(order.index(a.tag) > order.index(b.tag) for a, b in pairwise(records)):
        raise FileError(f"{above}: records must come in the order {', '.join(order)}")
    for layout in layouts:
        same = [record for record in records if record.tag == layout.tag]
        _check_count(layout, len(same), above)
        for record in same:
            yield _line(record, layout)
            yield from _lines(record.children, layout.children, layout.tag)


def _line(record: Record, layout: Layout) -> str:
    unknown = set(record.values) - {item.name for item in layout.items}
    if unknown:
        raise FileError(f"{layout.tag}: unknown items {', '.join(sorted(unknown))}")
    fields = [
        encoded(record.values.get(item.name), item=item, tag=layout.tag) for item in layout.items
    ]
    return "|".join([layout.tag, *fields, ""])


def _checked_lines(payload: bytes) -> list[str]:
    lines = _decoded(payload).removesuffix("\n").split("\n")
    try:
        footer = _values(lines[-1], _FOOTER)
    except FileError as error:
        raise FileError(str(error), Response.FOOTER) from error
    if footer["records"] != len(lines):
        raise FileError(
            f"footer counts {footer['records']} records, the file has {len(lines)}",
            Response.RECORD_COUNT,
        )
    found = checksum([line.encode("ascii") for line in lines[:-1]])
    if footer["sum"] != found:
        raise FileError(f"footer has checksum {footer['sum']}, not {found}", Response.CHECKSUM)
    return lines[1:-1]


def _records(
    lines: list[str], layouts: Sequence[Layout], above: str
) -> tuple[tuple[Record, ...], list[str]]:
    found: list[Record] = []
    for layout in layouts:
        count = 0
        while lines and lines[0].startswith(f"{layout.tag}|"):
            values = _values(lines[0], layout)
            children, lines = _records(lines[1:], layout.children, layout.tag)
            found.append(Record(layout.tag, values, children))
            count += 1
        _check_count(layout, count, above)
    return tuple(found), lines


def _values(line: str, layout: Layout) -> dict[str, Value]:
    tag, *fields = line.split("|")
    if tag != layout.tag or len(fields) != len(layout.items) + 1 or fields[-1]:
        raise FileError(f"not a record {layout.tag} of {len(layout.items)} items: {line[:60]!r}")
    return {
        item.name: decoded(text, item=item, tag=layout.tag)
        for item, text in zip(layout.items, fields, strict=False)
        if text or not item.is_optional
    }


def _check_count(layout: Layout, count: int, above: str) -> None:
    if count < layout.least or (layout.most is not None and count > layout.most):
        most = "any" if layout.most is None else layout.most
        raise FileError(f"{above}: {count} records {layout.tag}, valid is {layout.least} to {most}")


def _decoded(payload: bytes) -> str:
    try:
        return payload.decode("ascii")
    except UnicodeDecodeError as error:
        raise FileError(f"file is not ASCII: {error}", Response.HEADER) from error
