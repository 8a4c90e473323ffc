"""Two participants with keys of their own, and messages between them, for the tests."""

import base64
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

from gridflex.beckn.trust.registry import StaticRegistry, Subscriber
from gridflex.beckn.trust.signing import KeyId, SigningKey, public_key
from gridflex.beckn.trust.verification import Local, TrustPolicy
from gridflex.beckn.wire.context import zulu
from gridflex.beckn.wire.messages import Message, parse

NETWORK = "gridflex.example/testnet"
NOW = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
TRANSACTION = "3d39df73-a4c0-4374-9836-ec6c365a7ecc"
CONTRACT_ID = "0b8a9d9e-3a7f-4c39-b0c7-0c6f1e0d5a11"
POLICY = TrustPolicy(networks=frozenset({NETWORK}))


def key(subscriber_id: str, fill: int, *, name: str = "k1") -> SigningKey:
    seed = base64.b64encode(bytes([fill]) * 32).decode()
    return SigningKey.from_base64(KeyId(subscriber_id, name), seed)


BAP = Local("bap.example.com", "https://bap.example.com/beckn")
BPP = Local("bpp.example.com", "https://bpp.example.com/beckn")
SERVICE = Local("ds.example.com", "https://ds.example.com/beckn", is_service=True)
BAP_KEY = key("bap.example.com", 1)
BPP_KEY = key("bpp.example.com", 2)
SERVICE_KEY = key("ds.example.com", 3)


def subscriber(signing: SigningKey, local: Local, kind: str, **more: Any) -> Subscriber:  # noqa: ANN401 - passed on
    return Subscriber(
        key_id=signing.key_id,
        url=local.url,
        kind=kind,
        key=public_key(signing.public_base64),
        **{"networks": frozenset({NETWORK}), **more},
    )


def registry() -> StaticRegistry:
    return StaticRegistry(
        [
            subscriber(BAP_KEY, BAP, "BAP"),
            subscriber(BPP_KEY, BPP, "BPP"),
            subscriber(SERVICE_KEY, SERVICE, "CDS"),
        ]
    )


def context(action: str, /, **changes: object) -> dict[str, Any]:
    values = {
        "action": action,
        "version": "2.0.0",
        "networkId": NETWORK,
        "transactionId": TRANSACTION,
        "messageId": str(uuid.uuid4()),
        "timestamp": zulu(NOW),
        "bapId": BAP.subscriber_id,
        "bapUri": BAP.url,
        "bppId": BPP.subscriber_id,
        "bppUri": BPP.url,
        **changes,
    }
    return {name: value for name, value in values.items() if value is not None}


def contract(
    code: str = "DRAFT", *, commitment: str | None = None, **more: object
) -> dict[str, Any]:
    promised = {"DRAFT": "DRAFT", "ACTIVE": "ACTIVE"}.get(code, "CLOSED")
    return {
        "status": {"code": code},
        "commitments": [
            {
                "id": "c1",
                "status": {"descriptor": {"code": commitment or promised}},
                "resources": [{"id": "r1", "quantity": {"unitCode": "kWh", "unitQuantity": 150}}],
                "offer": {"id": "o1", "resourceIds": ["r1"]},
            }
        ],
        **more,
    }


def body(action: str, payload: dict[str, Any] | None = None, /, **changes: object) -> bytes:
    message = {"contract": contract()} if payload is None else payload
    return json.dumps({"context": context(action, **changes), "message": message}).encode()


def message(
    action: str,
    code: str = "DRAFT",
    /,
    *,
    after: timedelta = timedelta(0),
    error: dict[str, Any] | None = None,
    commitment: str | None = None,
    contract_id: str | None = CONTRACT_ID,
    is_trial: bool | None = None,
    **changes: object,
) -> Message:
    named = {"id": contract_id} if contract_id else {}
    values = {
        "context": context(action, timestamp=zulu(NOW + after), **{"try": is_trial}, **changes),
        "message": {"contract": contract(code, commitment=commitment, **named)},
        **({"error": error} if error else {}),
    }
    return parse(json.dumps(values).encode())
