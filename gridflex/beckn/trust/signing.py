"""Signatures on Beckn messages: digest, signing string, headers.

A message is signed over its raw body bytes; nothing here ever re-serialises. Lines of the
signing string are joined by one LF, with none at the end. Times are whole Unix seconds.

Source:
    NFH-007 "Authentication and Trust" (July 2026 draft); BECKN-006 for the worked example.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gridflex.beckn.wire.errors import Code, refuse

ALGORITHM: Final = "ed25519"
DIGEST_LABEL: Final = "BLAKE-512"
DEFAULT_LIFETIME: Final = timedelta(seconds=300)
"""What ONIX signs; ONDC software uses an hour."""

_THREE: Final = ("(created)", "(expires)", "digest")
_FOUR: Final = (*_THREE, "request-signature")
_PARAMETER: Final = re.compile(r'\s*([A-Za-z]+)="([^"]*)"\s*(,|$)')
_SEED_BYTES: Final = 32
_SIGNATURE_BYTES: Final = 64
_LONGEST_HEADER: Final = 2_048
_LATEST: Final = 2**40


@dataclass(frozen=True, slots=True)
class KeyId:
    """Which key of which participant: ``subscriber_id|unique_key_id|ed25519`` on the wire."""

    subscriber_id: str
    unique_key_id: str

    @classmethod
    def parse(cls, text: str) -> KeyId:
        """Return the key id written in a header.

        Raises:
            BecknError: It has not three parts, an empty part, or another algorithm.
        """
        parts = text.split("|")
        if len(parts) != 3 or not all(map(_is_name, parts)):  # noqa: PLR2004 - parts of a key id
            refuse(
                Code.AUT_SIGNATURE_INVALID,
                f"keyId {text!r} is not subscriber_id|unique_key_id|{ALGORITHM}",
            )
        if parts[2] != ALGORITHM:
            refuse(Code.AUT_SIGNATURE_INVALID, f"keyId algorithm {parts[2]!r} is not {ALGORITHM}")
        return cls(parts[0], parts[1])

    def __str__(self) -> str:
        return f"{self.subscriber_id}|{self.unique_key_id}|{ALGORITHM}"


@dataclass(frozen=True, slots=True)
class SignatureHeader:
    """The value of an ``Authorization`` or ``Signature`` header.

    Args:
        key_id: Who says to have signed.
        created: Unix seconds from which the signature is valid.
        expires: Unix seconds after which it is not.
        is_bound: Whether the signature also covers the signature that it answers.
        signature: Standard base64 of the 64 bytes.
    """

    key_id: KeyId
    created: int
    expires: int
    is_bound: bool
    signature: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> SignatureHeader:
        """Return what a header value says; nothing about it is verified.

        Raises:
            BecknError: It is not a Beckn signature header, names another algorithm or signs
                other lines.
        """
        values = _parameters(text)
        if values["algorithm"] != ALGORITHM:
            refuse(
                Code.AUT_SIGNATURE_INVALID,
                f"algorithm {values['algorithm']!r} is not {ALGORITHM}",
            )
        lines = tuple(values["headers"].split())
        if lines not in (_THREE, _FOUR):
            refuse(
                Code.AUT_SIGNATURE_INVALID,
                f"headers {values['headers']!r}; valid is {' '.join(_THREE)!r}, "
                "with request-signature after it on an answer",
            )
        return cls(
            key_id=KeyId.parse(values["keyId"]),
            created=_unix("created", values["created"]),
            expires=_unix("expires", values["expires"]),
            is_bound=lines == _FOUR,
            signature=_signature(values["signature"]),
        )

    def __str__(self) -> str:
        lines = " ".join(_FOUR if self.is_bound else _THREE)
        return (
            f'Signature keyId="{self.key_id}",algorithm="{ALGORITHM}",created="{self.created}",'
            f'expires="{self.expires}",headers="{lines}",signature="{self.signature}"'
        )


@dataclass(frozen=True, slots=True, eq=False)
class SigningKey:
    """A private key under the name by which the registry knows it.

    Args:
        key_id: Its name.
        private: The key; never shown.
    """

    key_id: KeyId
    private: Ed25519PrivateKey = field(repr=False)

    @classmethod
    def from_base64(cls, key_id: KeyId, secret: str) -> SigningKey:
        """Return the key of a 32-byte seed, or of 64 bytes seed and public, in base64.

        Raises:
            BecknError: It is neither; the message does not repeat it.
        """
        try:
            raw = base64.b64decode(secret, validate=True)
        except (binascii.Error, ValueError):
            raw = b""
        if len(raw) not in (_SEED_BYTES, 2 * _SEED_BYTES):
            refuse(
                Code.AUT_KEY_NOT_FOUND,
                f"the private key of {key_id} is not 32 or 64 bytes in base64",
            )
        key = cls(key_id, Ed25519PrivateKey.from_private_bytes(raw[:_SEED_BYTES]))
        if (
            len(raw) > _SEED_BYTES
            and raw[_SEED_BYTES:] != key.private.public_key().public_bytes_raw()
        ):
            refuse(
                Code.AUT_KEY_NOT_FOUND, f"the two halves of the private key of {key_id} disagree"
            )
        return key

    @property
    def public_base64(self) -> str:
        """The 32 public bytes in base64, as registries hold them."""
        return base64.b64encode(self.private.public_key().public_bytes_raw()).decode()

    @property
    def seed_base64(self) -> str:
        """The 32-byte seed in base64; secret."""
        return base64.b64encode(self.private.private_bytes_raw()).decode()

    def sign(
        self,
        body: bytes,
        *,
        now: datetime,
        lifetime: timedelta = DEFAULT_LIFETIME,
        request_signature: str | None = None,
    ) -> SignatureHeader:
        """Return the header that signs ``body``.

        Args:
            body: The bytes that are sent.
            now: When; the signature is valid from here.
            lifetime: How long it is valid.
            request_signature: Base64 signature of the message that this one answers.
        """
        created = int(now.timestamp())
        expires = created + int(lifetime.total_seconds())
        text = signing_string(
            digest(body), created=created, expires=expires, request_signature=request_signature
        )
        return SignatureHeader(
            key_id=self.key_id,
            created=created,
            expires=expires,
            is_bound=request_signature is not None,
            signature=base64.b64encode(self.private.sign(text.encode())).decode(),
        )


def digest(body: bytes) -> str:
    """Return the base64 BLAKE2b-512 digest of raw body bytes."""
    return base64.b64encode(hashlib.blake2b(body, digest_size=64).digest()).decode()


def signing_string(
    body_digest: str, *, created: int, expires: int, request_signature: str | None = None
) -> str:
    """Return what is signed: three lines, or four when it answers a signed request."""
    lines = [
        f"(created): {created}",
        f"(expires): {expires}",
        f"digest: {DIGEST_LABEL}={body_digest}",
    ]
    if request_signature is not None:
        lines.append(f"request-signature: {request_signature}")
    return "\n".join(lines)


def is_signed_by(
    public: Ed25519PublicKey,
    header: SignatureHeader,
    body: bytes,
    *,
    request_signature: str | None = None,
) -> bool:
    """Return whether the header's signature is this key's over these bytes.

    Says nothing about time, identity or replay.

    Args:
        public: The key to try.
        header: Parsed header.
        body: The bytes as received.
        request_signature: Signature of the request that the message must answer.
    """
    text = signing_string(
        digest(body),
        created=header.created,
        expires=header.expires,
        request_signature=request_signature,
    )
    try:
        public.verify(base64.b64decode(header.signature), text.encode())
    except InvalidSignature:
        return False
    return True


def public_key(text: str) -> Ed25519PublicKey:
    """Return the key of 32 public bytes in base64.

    Raises:
        BecknError: It is anything else.
    """
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        refuse(Code.AUT_KEY_NOT_FOUND, "the registered public key is not 32 bytes in base64")


def answers_request(claimed_digest: str, request_body: bytes) -> bool:
    """Return whether ``context.requestDigest.digest`` is that of the request body."""
    return hmac.compare_digest(claimed_digest, f"{DIGEST_LABEL}={digest(request_body)}")


def instant(unix_s: int) -> datetime:
    """Return Unix seconds as aware UTC."""
    return datetime.fromtimestamp(unix_s, UTC)


def _is_name(text: str) -> bool:
    return bool(text.strip(".")) and text.isprintable() and " " not in text


def _parameters(text: str) -> dict[str, str]:
    scheme, _, rest = text.strip().partition(" ")
    if scheme != "Signature" or len(text) > _LONGEST_HEADER:
        refuse(
            Code.AUT_SIGNATURE_INVALID,
            f"the header must start with 'Signature ' and have at most {_LONGEST_HEADER} "
            f"characters, got {text[:20]!r} of {len(text)}",
        )
    values: dict[str, str] = {}
    position = 0
    while position < len(rest):
        found = _PARAMETER.match(rest, position)
        if found is None or found[1] in values:
            refuse(
                Code.AUT_SIGNATURE_INVALID,
                f'the header is not a list of different name="value" at character {position}',
            )
        values[found[1]] = found[2]
        position = found.end()
    missing = {"keyId", "algorithm", "created", "expires", "headers", "signature"} - values.keys()
    if missing:
        refuse(Code.AUT_SIGNATURE_INVALID, f"the header lacks {', '.join(sorted(missing))}")
    return values


def _unix(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_LATEST))):
        refuse(Code.AUT_SIGNATURE_INVALID, f"{name} {text!r} is not whole Unix seconds")
    return int(text)


def _signature(text: str) -> str:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != _SIGNATURE_BYTES or base64.b64encode(raw).decode() != text:
        refuse(Code.AUT_SIGNATURE_INVALID, "signature is not 64 bytes in standard base64")
    return text
