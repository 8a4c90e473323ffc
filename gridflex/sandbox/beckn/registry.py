"""A registry with the DeDi lookup, in which everybody may register: a sandbox has no secrets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BaseModel, Field

from gridflex.beckn.trust.registry import format_record
from gridflex.beckn.trust.signing import KeyId, public_key
from gridflex.errors import ContractError


class Registration(BaseModel, extra="forbid"):
    """One key of one participant.

    Attributes:
        subscriber_id: Whose.
        unique_key_id: Its name.
        url: Where the participant receives messages.
        type: BAP, BPP, CS, DS or another.
        signing_public_key: 32 bytes in base64.
        networks: Networks it is a member of.
        valid_until: First instant at which it no longer counts.
        ttl: Seconds for which an answer may be kept.
        is_revoked: Whether it was taken back.
    """

    subscriber_id: str = Field(pattern=r'^[^\s|"/]{1,200}$')
    unique_key_id: str = Field(pattern=r'^[^\s|"/]{1,200}$')
    url: str = Field(pattern=r"^https?://")
    type: str
    signing_public_key: str
    networks: list[str]
    valid_until: AwareDatetime | None = None
    ttl: int = Field(default=5, ge=0)
    is_revoked: bool = False


def create_registry(*, clock: Callable[[], datetime]) -> FastAPI:
    """Return the registry; its base URL for lookups is ``/dedi``.

    Args:
        clock: Wall time.
    """
    app = FastAPI(title="GridFlex sandbox registry", openapi_url=None)
    records: dict[tuple[str, str], dict[str, Any]] = {}

    @app.get("/dedi/lookup/{subscriber_id}/{registry}/{key_id}")
    async def lookup(subscriber_id: str, registry: str, key_id: str) -> JSONResponse:
        record = records.get((subscriber_id, key_id))
        if record is None:
            return JSONResponse({"message": f"no such record in {registry}"}, status_code=404)
        return JSONResponse(record)

    @app.get("/dedi/records")
    async def everything() -> JSONResponse:
        return JSONResponse(list(records.values()))

    @app.put("/dedi/records")
    async def register(new: Registration) -> JSONResponse:
        try:
            public_key(new.signing_public_key)
        except ContractError as error:
            return JSONResponse({"message": str(error)}, status_code=400)
        records[new.subscriber_id, new.unique_key_id] = format_record(
            KeyId(new.subscriber_id, new.unique_key_id),
            url=new.url,
            kind=new.type,
            public_base64=new.signing_public_key,
            networks=new.networks,
            at=clock(),
            is_revoked=new.is_revoked,
            valid_until=new.valid_until,
            ttl_s=new.ttl,
        )
        return JSONResponse(records[new.subscriber_id, new.unique_key_id])

    @app.get("/healthz")
    async def healthz() -> JSONResponse:
        return JSONResponse({"status": "ok", "records": len(records)})

    return app
