"""RFC 8785, with the examples of the RFC and its reference implementation."""

import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.errors import ContractError
from gridflex.ledger.canonical import canonical_json
from gridflex.ledger.verify import entries
from gridflex.ledger.verify.reading import VerificationError

# RFC 8785 appendix B: IEEE 754 bits and the text they become
NUMBERS = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("41b3de4355555555", "333333333.3333333"),
    ("41b3de4355555556", "333333333.3333334"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(("bits", "text"), NUMBERS)
def test_a_number_is_written_as_ecmascript_writes_it(bits: str, text: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))

    assert canonical_json(number) == text.encode()


@pytest.mark.parametrize("bits", ["7fffffffffffffff", "7ff0000000000000"], ids=["NaN", "infinity"])
def test_what_is_no_number_is_refused(bits: str) -> None:
    (number,) = struct.unpack(">d", bytes.fromhex(bits))

    with pytest.raises(ContractError, match="canonical"):
        canonical_json(number)


def test_the_sample_of_section_3_2_2() -> None:
    sample = json.loads(
        '{"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],'
        r'"string": "\u20ac$\u000F\u000aA'
        "'"
        r'\u0042\u0022\u005c\\\"\/", "literals": [null, true, false]}'
    )

    assert (
        canonical_json(sample)
        == (
            '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
            '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
        ).encode()
    )


def test_keys_are_sorted_by_their_utf_16_units() -> None:
    sample = {
        "€": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "😀": "Emoji: Grinning Face",
        "\u0080": "Control",
        "ö": "Latin Small Letter O With Diaeresis",
    }
    order = ["\r", "1", "\u0080", "ö", "€", "😀", "\ufb33"]

    for written in (canonical_json(sample), entries.canonical_json(sample)):
        assert list(json.loads(written)) == order


@given(JSON)
def test_the_stand_alone_form_agrees_with_the_library(value: object) -> None:
    assert entries.canonical_json(value) == canonical_json(value)


@given(JSON)
def test_canonical_json_means_what_it_meant(value: object) -> None:
    assert json.loads(canonical_json(value)) == value


@pytest.mark.parametrize(
    "value",
    [2**53, {"a": "\ud800"}, {1: 2}, {"a": b"bytes"}],
    ids=["integer beyond 2^53", "half a surrogate pair", "key that is no text", "bytes"],
)
def test_what_json_cannot_carry_is_refused(value: object) -> None:
    with pytest.raises(ContractError, match="canonical"):
        canonical_json(value)


@pytest.mark.parametrize("value", [0.5, 2**53, {"a": [1.0]}, {"a": "\ud800"}])
def test_an_entry_holds_no_fraction(value: object) -> None:
    with pytest.raises(VerificationError):
        entries.canonical_json(value)


@pytest.mark.parametrize(
    "raw",
    [b'{"a":"\\ud800"}', b'{"\\udfff":1}', b"\xff", b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"],
    ids=["half a surrogate pair", "half a pair in a key", "no text", "nested deeply"],
)
def test_hostile_bytes_are_a_finding(raw: bytes) -> None:
    with pytest.raises(VerificationError, match="is not JSON"):
        entries.parse_entry(raw)
