"""One item of a settlement file: its type, how it is written, and what the receiver refuses.

Numbers have no leading zeros and no trailing decimals; text has no outer spaces and no
separator; instants are UTC. A value that does not fit is refused here, before it costs a
sequence number.

Source: NETA Interface Definition and Design, Part 1, section 2.2.3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from enum import IntEnum, StrEnum
from typing import Final

from gridflex.errors import ContractError

Value = str | int | Decimal | bool | date | datetime | None

_ALLOWED: Final = re.compile(r"[ !\"#%&'()*+,\-./0-9:;=?@A-Z\[\\\]^_a-z{}]*")
_DATE: Final = "%Y%m%d"
_INSTANT: Final = "%Y%m%d%H%M%S"


class Response(IntEnum):
    """What a receipt says about a file; 1 to 3 leave the sequence number unused."""

    RECEIVED = 0
    HEADER = 1
    FILE_TYPE = 2
    SEQUENCE = 3
    BODY = 4
    FOOTER = 5
    RECORD_COUNT = 6
    CHECKSUM = 7


class FileError(ContractError):
    """A file breaks the format.

    Args:
        message: What is wrong.
        response: What the receipt says.
    """

    def __init__(self, message: str, response: Response = Response.BODY) -> None:
        super().__init__(message)
        self.response = response

    def __reduce__(self) -> tuple[object, ...]:
        return (FileError, (str(self), self.response))


class Kind(StrEnum):
    """Type of an item on the wire."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    DATE = "date"
    INSTANT = "datetime"


@dataclass(frozen=True, slots=True)
class Item:
    """One field of a record.

    Args:
        name: Key of its value.
        kind: Type.
        length: Characters or digits at most.
        places: Decimals at most.
        is_optional: Whether it may be empty.
    """

    name: str
    kind: Kind
    length: int = 0
    places: int = 0
    is_optional: bool = False


def encoded(value: Value, *, item: Item, tag: str) -> str:
    """Return a value as it is written.

    Raises:
        FileError: It is missing or does not fit the item.
    """
    if value is None:
        if item.is_optional:
            return ""
        raise FileError(f"{tag}: {item.name} is missing")
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise FileError(f"{tag}: {item.name} {value} has no zone")
        text = value.astimezone(UTC).strftime(_INSTANT)
    elif isinstance(value, date):
        text = value.strftime(_DATE)
    elif isinstance(value, bool):
        text = "T" if value else "F"
    else:
        text = _number(value) if isinstance(value, Decimal) else str(value)
    decoded(text, item=item, tag=tag)
    return text


def _number(value: Decimal) -> str:
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in {"", "-0"} else text


def decoded(text: str, *, item: Item, tag: str) -> Value:
    """Return what was written.

    Raises:
        FileError: It does not fit the item.
    """
    try:
        return _READERS[item.kind](text, item)
    except (ValueError, InvalidOperation) as error:
        size = f"({item.length},{item.places})" if item.places else f"({item.length})"
        raise FileError(
            f"{tag}: {item.name} {text!r} is not valid; valid is {item.kind}{size}"
        ) from error


def _read_text(text: str, item: Item) -> Value:
    if not 0 < len(text) <= item.length or text != text.strip() or not _ALLOWED.fullmatch(text):
        raise ValueError(text)
    return text


def _read_integer(text: str, item: Item) -> Value:
    if not re.fullmatch(rf"-?(0|[1-9]\d{{0,{item.length - 1}}})", text):
        raise ValueError(text)
    return int(text)


def _read_decimal(text: str, item: Item) -> Value:
    whole = item.length - item.places
    if not re.fullmatch(rf"-?(0|[1-9]\d{{0,{whole - 1}}})(\.\d{{1,{item.places}}})?", text):
        raise ValueError(text)
    return Decimal(text)


def _read_boolean(text: str, item: Item) -> Value:
    if text not in {"T", "F"}:
        raise ValueError(f"{item.name} {text}")
    return text == "T"


def _read_date(text: str, item: Item) -> Value:
    if len(text) != len("20260101"):
        raise ValueError(f"{item.name} {text}")
    return datetime.strptime(text, _DATE).replace(tzinfo=UTC).date()


def _read_instant(text: str, item: Item) -> Value:
    if len(text) != len("20260101000000"):
        raise ValueError(f"{item.name} {text}")
    return datetime.strptime(text, _INSTANT).replace(tzinfo=UTC)


_READERS: Final = {
    Kind.TEXT: _read_text,
    Kind.INTEGER: _read_integer,
    Kind.DECIMAL: _read_decimal,
    Kind.BOOLEAN: _read_boolean,
    Kind.DATE: _read_date,
    Kind.INSTANT: _read_instant,
}
