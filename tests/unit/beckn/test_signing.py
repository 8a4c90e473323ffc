"""Signatures against the published vectors, and what may not pass as one."""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.beckn.trust.registry import StaticRegistry, Subscriber
from gridflex.beckn.trust.signing import (
    KeyId,
    SignatureHeader,
    SigningKey,
    digest,
    instant,
    is_signed_by,
    public_key,
    signing_string,
)
from gridflex.beckn.trust.verification import (
    Background,
    Local,
    TrustPolicy,
    check_header,
    check_identity,
    check_key,
    check_signature,
    read_context,
)
from gridflex.beckn.wire.errors import BecknError
from tests.shared import shared_data
from tests.unit.beckn.wire import BAP_KEY, BPP_KEY, NOW, POLICY, key

DEG = "nfh.global/testnet-deg"
OPEN = TrustPolicy(networks=frozenset({DEG}))


def vectors() -> Any:  # noqa: ANN401 - JSON
    return json.loads(shared_data("beckn", "signing", "signing_vectors.json").read_text())


def vector(name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in vectors()["vectors"] if one["name"] == name)
    return found


def signer(role: str, secret: str = "signing_private_seed_b64") -> SigningKey:  # noqa: S107
    named = vectors()["keys"][role]
    key_id = KeyId(named["subscriber_id"], named["unique_key_id"])
    return SigningKey.from_base64(key_id, named[secret])


def published() -> StaticRegistry:
    return StaticRegistry(
        [
            Subscriber(
                key_id=KeyId(one["subscriber_id"], one["unique_key_id"]),
                url=f"https://{one['subscriber_id']}/beckn",
                kind=role.upper(),
                key=public_key(one["signing_public_b64"]),
                networks=frozenset({DEG}),
            )
            for role, one in vectors()["keys"].items()
        ]
    )


POSITIVE = [
    "v1-search-request",
    "v2-confirm-request",
    "v2-ack-response",
    "v2-on_confirm-solicited-callback",
]


@pytest.mark.parametrize("name", POSITIVE)
@pytest.mark.parametrize("secret", ["signing_private_seed_b64", "signing_private_64_b64"])
def test_a_published_message_is_signed_to_the_published_header(name: str, secret: str) -> None:
    known = vector(name)
    body = known["body_utf8"].encode()

    header = signer(known["signer"], secret).sign(
        body,
        now=instant(known["created"]),
        lifetime=timedelta(seconds=known["expires"] - known["created"]),
        request_signature=known["request_signature"],
    )

    assert digest(body) == known["digest_b64"]
    assert (
        signing_string(
            digest(body),
            created=known["created"],
            expires=known["expires"],
            request_signature=known["request_signature"],
        )
        == known["signing_string"]
    )
    assert header.signature == known["signature_b64"]
    assert str(header) == known["header_value"]


@pytest.mark.parametrize("name", POSITIVE)
async def test_a_published_header_is_believed_while_it_is_in_force(name: str) -> None:
    known = vector(name)
    now = instant(known["created"])

    header = check_header(known["header_value"], now=now, policy=OPEN)
    subscriber = await check_key(header, now=now, policy=OPEN, registry=published())
    check_signature(
        known["body_utf8"].encode(),
        header,
        subscriber,
        request_signature=known["request_signature"],
    )

    assert str(header) == known["header_value"]


async def test_one_changed_byte_breaks_the_signature() -> None:
    known = vector("v2-confirm-request")
    now = instant(known["created"])
    header = check_header(known["header_value"], now=now, policy=OPEN)
    subscriber = await check_key(header, now=now, policy=OPEN, registry=published())
    tampered = known["body_utf8"].replace("DRAFT", "DRAFU").encode()

    with pytest.raises(BecknError) as refused:
        check_signature(tampered, header, subscriber)

    assert refused.value.code == "AUT_SIGNATURE_INVALID"


def test_a_header_counts_to_the_last_second_and_no_longer() -> None:
    known = vector("v2-confirm-request")

    check_header(known["header_value"], now=instant(1774865700), policy=OPEN)
    with pytest.raises(BecknError, match="AUT_SIGNATURE_INVALID: expired"):
        check_header(known["header_value"], now=instant(1774865701), policy=OPEN)


@pytest.mark.parametrize(("ahead_s", "is_accepted"), [(3, True), (60, True), (61, False)])
def test_a_senders_clock_may_be_a_minute_ahead(ahead_s: int, *, is_accepted: bool) -> None:
    known = vector("v2-confirm-request")
    now = instant(known["created"] - ahead_s)

    if is_accepted:
        check_header(known["header_value"], now=now, policy=OPEN)
    else:
        with pytest.raises(BecknError, match="ahead"):
            check_header(known["header_value"], now=now, policy=OPEN)


async def test_one_participant_does_not_speak_for_another() -> None:
    known = vector("v2-confirm-request")
    body, now = known["body_utf8"].encode(), instant(known["created"])
    header = signer("bpp").sign(body, now=now)
    subscriber = await check_key(header, now=now, policy=OPEN, registry=published())
    check_signature(body, header, subscriber)

    with pytest.raises(BecknError) as refused:
        check_identity(
            read_context(body)[1],
            subscriber,
            header=header,
            local=Local("bpp.example.com", "https://bpp.example.com/beckn"),
            background=Background(),
            policy=OPEN,
        )

    assert refused.value.code == "AUT_UNAUTHORIZED_ACTION"


async def test_a_callback_proves_which_request_it_answers() -> None:
    known = vector("v2-on_confirm-solicited-callback")
    now = instant(known["created"])
    header = check_header(known["header_value"], now=now, policy=OPEN)
    subscriber = await check_key(header, now=now, policy=OPEN, registry=published())
    other = vector("v1-search-request")["signature_b64"]

    with pytest.raises(BecknError) as refused:
        check_signature(known["body_utf8"].encode(), header, subscriber, request_signature=other)

    assert refused.value.code == "AUT_SIGNATURE_INVALID"


def test_the_digests_published_wrongly_are_not_ours() -> None:
    bad = vectors()["known_bad_published_values"]

    assert digest(vector("v1-search-request")["body_utf8"].encode()) not in json.dumps(bad)


@pytest.mark.parametrize(
    "header",
    [
        pytest.param("", id="empty"),
        pytest.param("Basic dXNlcjpwYXNz", id="another scheme"),
        pytest.param("Signature", id="no parameters"),
        pytest.param('Signature keyId="a|b|ed25519"', id="most parameters missing"),
        pytest.param("Signature " + "x" * 3_000, id="too long"),
    ],
)
def test_what_is_not_a_signature_header_is_refused(header: str) -> None:
    with pytest.raises(BecknError) as refused:
        check_header(header, now=NOW, policy=POLICY)

    assert refused.value.code in {"AUT_SIGNATURE_MISSING", "AUT_SIGNATURE_INVALID"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param('algorithm="ed25519"', 'algorithm="rsa"', id="algorithm"),
        pytest.param("|ed25519", "|xed25519", id="algorithm of the key"),
        pytest.param("|k1|", "/k1/", id="slashes in the key id"),
        pytest.param("(created) (expires) digest", "(created) digest", id="a line less"),
        pytest.param('created="', 'created="-', id="a negative time"),
        pytest.param('created="', 'created="9', id="a time far away"),
        pytest.param('=="', '"', id="base64 without its padding"),
        pytest.param('signature="', 'signature="", signature="', id="a parameter twice"),
    ],
)
def test_a_header_with_one_part_wrong_is_refused(old: str, new: str) -> None:
    header = str(BAP_KEY.sign(b"{}", now=NOW))
    assert old in header

    with pytest.raises(BecknError) as refused:
        check_header(header.replace(old, new), now=NOW, policy=POLICY)

    assert refused.value.code == "AUT_SIGNATURE_INVALID"


def test_a_signature_that_would_last_for_days_is_refused() -> None:
    header = BAP_KEY.sign(b"{}", now=NOW, lifetime=timedelta(days=2))

    with pytest.raises(BecknError, match="more than"):
        check_header(str(header), now=NOW, policy=POLICY)


@given(st.binary(max_size=200), st.none() | st.just(base64.b64encode(bytes(64)).decode()))
def test_what_is_signed_verifies_with_its_own_key_and_no_other(
    body: bytes, request_signature: str | None
) -> None:
    header = BAP_KEY.sign(body, now=NOW, request_signature=request_signature)
    read = SignatureHeader.parse(str(header))

    def verifies(signing: SigningKey, text: bytes, answered: str | None) -> bool:
        return is_signed_by(
            public_key(signing.public_base64), read, text, request_signature=answered
        )

    assert read == header
    assert verifies(BAP_KEY, body, request_signature)
    assert not verifies(BPP_KEY, body, request_signature)
    assert not verifies(BAP_KEY, body + b" ", request_signature)
    assert not verifies(BAP_KEY, body, "other" if request_signature is None else None)


def test_nothing_shows_a_private_key() -> None:
    secret = BAP_KEY.seed_base64

    assert secret not in repr(BAP_KEY)
    assert secret not in str(BAP_KEY.key_id)
    with pytest.raises(BecknError) as refused:
        SigningKey.from_base64(BAP_KEY.key_id, secret[:-8])
    assert secret[:-8] not in str(refused.value)


def test_two_halves_of_different_keys_are_no_key() -> None:
    seed = base64.b64decode(BAP_KEY.seed_base64)
    public = base64.b64decode(BPP_KEY.public_base64)

    with pytest.raises(BecknError, match="disagree"):
        SigningKey.from_base64(BAP_KEY.key_id, base64.b64encode(seed + public).decode())


async def test_an_old_and_a_new_key_count_side_by_side_until_one_runs_out() -> None:
    old, new = key("bap.example.com", 1, name="k1"), key("bap.example.com", 3, name="k2")
    end = NOW + timedelta(days=1)

    def record(signing: SigningKey, until: datetime | None) -> Subscriber:
        return Subscriber(
            key_id=signing.key_id,
            url="https://bap.example.com/beckn",
            kind="BAP",
            key=public_key(signing.public_base64),
            networks=POLICY.networks,
            valid_until=until,
        )

    both = StaticRegistry([record(old, end), record(new, None)])

    for signing in (old, new):
        header = signing.sign(b"{}", now=NOW)
        check_signature(
            b"{}", header, await check_key(header, now=NOW, policy=POLICY, registry=both)
        )
    with pytest.raises(BecknError, match="AUT_KEY_EXPIRED_OR_REVOKED"):
        await check_key(old.sign(b"{}", now=end), now=end, policy=POLICY, registry=both)
    await check_key(new.sign(b"{}", now=end), now=end, policy=POLICY, registry=both)


def test_an_instant_is_read_as_utc() -> None:
    assert instant(1641287875) == datetime(2022, 1, 4, 9, 17, 55, tzinfo=UTC)
