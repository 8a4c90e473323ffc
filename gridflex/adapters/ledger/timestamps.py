"""Timestamps of an outside authority over checkpoints (RFC 3161).

The token says that the checkpoint existed at an instant, on the word of somebody who is not the
operator. It is kept whole, as DER, so that anybody can check it with ``openssl ts -verify``; here
it is only checked that it answers what was asked.
"""

from __future__ import annotations

import hashlib
from typing import Final
from urllib.parse import urlsplit

import httpx
from rfc3161_client import (
    HashAlgorithm,
    PKIStatus,
    TimestampRequestBuilder,
    TimeStampResponse,
    decode_timestamp_response,
)

from gridflex.adapters.http_errors import http_errors
from gridflex.errors import ContractError, SourceError

MEDIA_TYPE: Final = "application/timestamp-query"
TIMEOUT_S: Final = 10.0


class TimestampAuthority:
    """Asks one authority.

    Args:
        url: Where it answers.
        transport: Replaces the network in tests.
    """

    def __init__(self, url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.name = urlsplit(url).hostname or url
        self._url = url
        self._http = httpx.AsyncClient(transport=transport, timeout=TIMEOUT_S)

    async def stamp(self, note: str) -> bytes:
        """Return a token over a checkpoint, DER.

        Raises:
            SourceError: The authority does not answer, or refuses.
            ContractError: Its answer is no token over this note.
        """
        request = (
            TimestampRequestBuilder()
            .data(note.encode())
            .hash_algorithm(HashAlgorithm.SHA256)
            .build()
        )
        with http_errors(f"timestamp authority {self.name}"):
            answer = await self._http.post(
                self._url, content=request.as_bytes(), headers={"Content-Type": MEDIA_TYPE}
            )
        if not answer.is_success:
            raise SourceError(f"timestamp authority {self.name}: HTTP {answer.status_code}")
        self._check(answer.content, note=note, nonce=request.nonce)
        return answer.content

    def _check(self, raw: bytes, *, note: str, nonce: int | None) -> None:
        try:
            response = decode_timestamp_response(raw)
        except ValueError as error:
            raise ContractError(f"timestamp authority {self.name}: no token: {error}") from error
        if response.status not in {PKIStatus.GRANTED, PKIStatus.GRANTED_WITH_MODS}:
            raise SourceError(f"timestamp authority {self.name}: refused: {_why(response)}")
        info = response.tst_info
        if info.message_imprint.message != hashlib.sha256(note.encode()).digest():
            raise ContractError(f"timestamp authority {self.name}: stamped something else")
        if info.nonce != nonce:
            raise ContractError(f"timestamp authority {self.name}: answered another request")


def _why(response: TimeStampResponse) -> str:
    return "; ".join(response.status_string) or f"status {response.status}"
