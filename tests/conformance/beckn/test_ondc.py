"""Signatures between GridFlex and a foreign implementation, in both directions.

The npm package ``ondc-crypto-sdk-nodejs`` signs and verifies three-line headers. Point NODE_PATH at
a ``node_modules`` that holds it (``npm install ondc-crypto-sdk-nodejs@2.1.1``).
"""

import base64
import json
import shutil
import subprocess
from datetime import UTC, datetime
from typing import Any

import pytest

from gridflex.beckn.trust.signing import SignatureHeader, is_signed_by, public_key
from tests.unit.beckn.wire import BAP_KEY, BPP_KEY, body

PACKAGE = "ondc-crypto-sdk-nodejs"
BODIES = [
    pytest.param(body("confirm"), id="a confirm"),
    pytest.param(b'{ "spaces" : "kept",\n "n": 1.0 }', id="spaces"),
    pytest.param('{"text":"£0.15/kWh für Müller ⚡"}'.encode(), id="unicode"),
]
CREATE = """
const sdk = require(process.argv[1]); const a = JSON.parse(process.argv[2]);
sdk.createAuthorizationHeader({body: a.body, privateKey: a.secret, subscriberId: a.subscriber,
    subscriberUniqueKeyId: a.key}).then(h => console.log(h));
"""
VERIFY = """
const sdk = require(process.argv[1]); const a = JSON.parse(process.argv[2]);
sdk.isHeaderValid({header: a.header, body: a.body, publicKey: a.public})
    .then(v => console.log(JSON.stringify(v)));
"""


def node(script: str, values: dict[str, Any]) -> str:
    if shutil.which("node") is None:
        pytest.skip("node is not installed")
    probe = subprocess.run(
        ["node", "-e", f"require.resolve('{PACKAGE}')"], check=False, capture_output=True
    )
    if probe.returncode:
        pytest.skip(f"NODE_PATH does not lead to the npm package {PACKAGE}")
    done = subprocess.run(
        ["node", "-e", script, PACKAGE, json.dumps(values)],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("raw", BODIES)
def test_what_they_sign_we_believe(raw: bytes) -> None:
    both = base64.b64decode(BAP_KEY.seed_base64) + base64.b64decode(BAP_KEY.public_base64)
    text = node(
        CREATE,
        {
            "body": raw.decode(),
            "secret": base64.b64encode(both).decode(),
            "subscriber": BAP_KEY.key_id.subscriber_id,
            "key": BAP_KEY.key_id.unique_key_id,
        },
    )

    header = SignatureHeader.parse(text)

    assert header.key_id == BAP_KEY.key_id
    assert is_signed_by(public_key(BAP_KEY.public_base64), header, raw)
    assert not is_signed_by(public_key(BAP_KEY.public_base64), header, raw + b" ")


@pytest.mark.parametrize("raw", BODIES)
def test_what_we_sign_they_believe(raw: bytes) -> None:
    header = str(BAP_KEY.sign(raw, now=datetime.now(UTC)))
    values = {"header": header, "body": raw.decode(), "public": BAP_KEY.public_base64}

    assert node(VERIFY, values) == "true"
    assert node(VERIFY, {**values, "body": raw.decode() + " "}) == "false"
    assert node(VERIFY, {**values, "public": BPP_KEY.public_base64}) == "false"
