"""What is wrong with data from outside, in words for people: field, value and what is valid.

Pydantic finds the faults; how they are told is decided here. One number or text is shown, unless
its field is named like a secret; of a list or an object only that it is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

MOST_TOLD: Final = 5
MOST_SEEN: Final = 100
"""Faults that are looked at; data may have one for every key."""

LONGEST_VALUE: Final = 80
SECRETS: Final = ("token", "database", "credential", "password", "secret")
"""Words in the name of a field whose value is never shown."""

NO_JSON: Final = "json_invalid"
"""Kind of what cannot be read at all. FastAPI's names where reading ended and not what was sent."""

PLACES: Final = frozenset({"body", "query", "path", "header", "cookie"})
"""Parts of a request; the name of a field says enough without them."""

_OWN_WORDS: Final = {"value_error": "Value error, ", "assertion_error": "Assertion failed, "}
"""Kinds of which the message is ours, and what Pydantic puts before it."""

_LIMITS: Final[Mapping[str, str]] = {
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "multiple_of": "a multiple of {multiple_of}",
    "finite_number": "a finite number",
    "decimal_max_places": "a number with at most {decimal_places} digits after the point",
    "string_too_short": "text of at least {min_length} characters",
    "string_too_long": "text of at most {max_length} characters",
    "string_pattern_mismatch": "text that matches {pattern}",
    "too_short": "at least {min_length} of them",
    "too_long": "at most {max_length} of them",
    "enum": "{expected}",
    "literal_error": "{expected}",
}
"""Kind of fault to what is valid, with what Pydantic knows of the limit."""

_INSTANT: Final = "2026-11-24T18:00:00Z"
_KINDS: Final[Mapping[str, str]] = {
    "int": "a whole number",
    "float": "a number",
    "decimal": "a number",
    "bool": "true or false",
    "string": "text",
    "time_delta": "an ISO 8601 duration such as PT30S",
    "timezone": f"an instant with its time zone, such as {_INSTANT}",
    "datetime": f"an instant such as {_INSTANT}",
    "date": "a date such as 2026-11-24",
    "list": "a list",
    "tuple": "a list",
    "dict": "an object",
    "model": "an object",
    "dataclass": "an object",
    "url": "an address such as https://example.org",
    "uuid": "a UUID",
    "json": "JSON",
}
"""Beginning of a kind of fault to what is valid."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Args:
        kind: Pydantic's name of it, such as ``missing`` or ``int_parsing``.
        field: Where, names and places joined by dots; empty for the whole.
        value: What was sent.
        valid: What would have been accepted, for a person to read.
    """

    kind: str
    field: str
    value: object
    valid: str

    def text(self, name: str | None = None) -> str:
        """Return it as a part of a sentence.

        Args:
            name: What to call the field; None calls it as it is.
        """
        field = name or self.field or "it"
        if self.kind == "missing":
            return f"{field} is missing"
        if self.kind == NO_JSON and self.value is None:
            return f"{field} is not valid; valid is {self.valid}"
        if self.kind in {"extra_forbidden", "unexpected_keyword_argument"}:
            return f"{field} is not known"
        shown = "this" if self._is_secret else _shown(self.value)
        if self.kind not in _OWN_WORDS:
            return f"{field}: {shown} is not valid; valid is {self.valid}"
        is_told = self._is_secret or isinstance(self.value, list | dict) or shown in self.valid
        return f"{field}: {self.valid}" if is_told else f"{field}: {shown}: {self.valid}"

    @property
    def _is_secret(self) -> bool:
        return any(word in self.field.lower() for word in SECRETS)


def faults_of(found: ValidationError | Iterable[Mapping[str, Any]]) -> list[Fault]:
    """Return what Pydantic found, in its order; of very many the first.

    It does not count what is wrong in a list, and calls one too short that has as many as it
    needs; the faults of what is in it say enough.

    Args:
        found: Its error, or the list of faults of one.
    """
    return _faults(_listed(found))


def _listed(found: ValidationError | Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return list(found.errors(include_url=False) if isinstance(found, ValidationError) else found)


def _faults(listed: list[Mapping[str, Any]]) -> list[Fault]:
    first = listed[:MOST_SEEN]
    told = [Fault(one["type"], _field(one), _value(one), _valid(one)) for one in first]
    return [one for one in told if not _is_miscounted(one, told)]


def faults_text(
    found: ValidationError | Iterable[Mapping[str, Any]],
    *,
    whole: str = "it",
    most: int = MOST_TOLD,
    name: Callable[[str], str] = str,
) -> str:
    """Return what is wrong, for an error message.

    Args:
        found: Pydantic's error, or the list of faults of one.
        whole: What to call the whole.
        most: How many faults to tell.
        name: Gives a field the name that it is told by.
    """
    listed = _listed(found)
    faults = _faults(listed)
    told = [one.text(_name(one.field, whole, name)) for one in faults[:most]]
    left = len(faults) - most + max(0, len(listed) - MOST_SEEN)
    more = [f"and {left} more"] if len(faults) > most else []
    return "; ".join([*told, *more])


def excerpt(value: object) -> str | float | bool | None:
    """Return a value as an answer repeats it: no long text, and of what holds more what it is."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple | dict):
        return _shown(value)
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return _cut(text)


def _name(field: str, whole: str, name: Callable[[str], str]) -> str:
    """Return what a field is told by; an element of the whole by its name and the index."""
    if not field:
        return whole
    return f"{whole}.{field}" if field[0].isdigit() else name(field)


def _field(fault: Mapping[str, Any]) -> str:
    """Return where a fault is; an element of a body that is a list is told as the body's."""
    parts = fault["loc"][:1] if _is_unread(fault) else fault["loc"]
    has_name = len(parts) > 1 and parts[0] in PLACES and not isinstance(parts[1], int)
    return ".".join(map(str, parts[1:] if has_name else parts))


def _value(fault: Mapping[str, Any]) -> object:
    return None if _is_unread(fault) else fault.get("input")


def _is_unread(fault: Mapping[str, Any]) -> bool:
    place = fault["loc"]
    return fault["type"] == NO_JSON and len(place) > 1 and place[0] == "body"


def _is_miscounted(one: Fault, all_: Iterable[Fault]) -> bool:
    return one.kind == "too_short" and any(
        other.field.startswith(f"{one.field}.") for other in all_
    )


def _valid(fault: Mapping[str, Any]) -> str:
    kind, message = str(fault["type"]), str(fault["msg"])
    if kind == "missing":
        return "a value; it is required"
    if _is_unread(fault):
        why = fault.get("ctx", {}).get("error", fault["msg"])
        return f"JSON (at character {fault['loc'][1]}: {why})"
    if kind in _OWN_WORDS:
        return message.removeprefix(_OWN_WORDS[kind])
    if kind in _LIMITS:
        return _LIMITS[kind].format(**fault.get("ctx", {}))
    told = (valid for start, valid in _KINDS.items() if kind.startswith(f"{start}_"))
    return next(told, message.removeprefix("Input should be "))


def _shown(value: object) -> str:
    """Return one value as it is, and of what holds more only what it is."""
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if isinstance(value, dict):
        return "an object"
    return _cut("null" if value is None else repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."
