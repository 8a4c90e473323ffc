"""Keys are made, listed and changed; their secrets stay with their owner."""

import json
from pathlib import Path

import pytest

from gridflex.adapters.beckn.http import read_registry
from gridflex.adapters.beckn.keys import BecknKeys
from gridflex.beckn.trust.registry import format_record
from gridflex.beckn.trust.signing import KeyId, is_signed_by, public_key
from gridflex.beckn.wire.errors import BecknError
from gridflex.errors import ContractError
from tests.unit.beckn.wire import BAP_KEY, NETWORK, NOW

US = "us.example.com"


@pytest.fixture
def keys(tmp_path: Path) -> BecknKeys:
    return BecknKeys(tmp_path / "keys", subscriber_id=US)


def test_the_first_key_signs_and_its_public_half_verifies(keys: BecknKeys) -> None:
    made = keys.new()

    signing = keys.current()
    header = signing.sign(b"{}", now=NOW)

    assert made.is_current
    assert signing.key_id == made.key_id
    assert is_signed_by(public_key(made.public_base64), header, b"{}")


def test_a_new_key_signs_only_when_it_is_told_to(keys: BecknKeys) -> None:
    keys.new("one")
    keys.new("two")
    assert keys.current().key_id == KeyId(US, "one")

    keys.use("two")

    assert keys.current().key_id == KeyId(US, "two")
    assert [(one.key_id.unique_key_id, one.is_current) for one in keys.all()] == [
        ("one", False),
        ("two", True),
    ]


def test_only_the_owner_may_read_a_key(keys: BecknKeys, tmp_path: Path) -> None:
    keys.new("one")
    path = tmp_path / "keys" / "one.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700

    path.chmod(0o640)

    with pytest.raises(ContractError, match="others may use it"):
        keys.current()


def test_listing_shows_no_secret(keys: BecknKeys, tmp_path: Path) -> None:
    keys.new("one")
    secret = (tmp_path / "keys" / "one.key").read_text().strip()

    assert secret not in repr(keys.all())
    assert secret not in repr(keys.current())


@pytest.mark.parametrize("name", ["", "../x", "a b", "current", "x" * 65])
def test_a_name_that_is_no_name_is_refused(keys: BecknKeys, name: str) -> None:
    with pytest.raises(ContractError, match="valid are"):
        keys.new(name or "-")


def test_a_key_is_not_overwritten_and_an_unknown_one_not_used(keys: BecknKeys) -> None:
    keys.new("one")

    with pytest.raises(ContractError, match="exists already"):
        keys.new("one")
    with pytest.raises(ContractError, match="no key 'two'"):
        keys.use("two")


def test_without_a_key_it_says_how_to_make_one(keys: BecknKeys) -> None:
    with pytest.raises(ContractError, match="gridflex market keys new"):
        keys.current()


async def test_a_registry_can_be_a_file(tmp_path: Path) -> None:
    record = format_record(
        BAP_KEY.key_id,
        url="https://bap.example.com/beckn",
        kind="BAP",
        public_base64=BAP_KEY.public_base64,
        networks=[NETWORK],
        at=NOW,
    )
    path = tmp_path / "registry.json"
    path.write_text(json.dumps([record]))

    registry = read_registry(path)

    assert (await registry.find(BAP_KEY.key_id, now=NOW)).networks == {NETWORK}
    with pytest.raises(BecknError, match="AUT_KEY_NOT_FOUND"):
        await registry.find(KeyId("bap.example.com", "k9"), now=NOW)
    path.write_text('{"a": 1}')
    with pytest.raises(ContractError, match="not a list"):
        read_registry(path)
