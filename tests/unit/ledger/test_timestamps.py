"""RFC 3161 tokens from an authority that OpenSSL plays."""

import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from gridflex.adapters.ledger.timestamps import TimestampAuthority
from gridflex.errors import ContractError, SourceError
from tests.unit.ledger.ledgers import ledger

NOTE = ledger(3, signed_at=(3,)).checkpoints[0].note
CONFIG = """
[req]
distinguished_name = name
[name]
[authority]
extendedKeyUsage = critical, timeStamping
[tsa]
serial = {folder}/serial
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
"""


class OpenSslAuthority:
    """Answers as an authority with a certificate of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.requests = 0
        (folder / "openssl.cnf").write_text(CONFIG.format(folder=folder))
        (folder / "serial").write_text("01")
        self.run(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key.pem"),
            *("-out", "cert.pem", "-days", "2", "-subj", "/CN=Test TSA"),
            *("-config", "openssl.cnf", "-extensions", "authority"),
        )

    def run(self, *arguments: str) -> None:
        subprocess.run(
            ["openssl", *arguments], cwd=self.folder, check=True, capture_output=True, timeout=60
        )

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        (self.folder / "query.tsq").write_bytes(request.content)
        self.run(
            *("ts", "-reply", "-config", "openssl.cnf", "-section", "tsa", "-queryfile"),
            *("query.tsq", "-signer", "cert.pem", "-inkey", "key.pem", "-out", "reply.tsr"),
        )
        return httpx.Response(200, content=(self.folder / "reply.tsr").read_bytes())


@pytest.fixture(scope="module")
def openssl(tmp_path_factory: pytest.TempPathFactory) -> OpenSslAuthority:
    if shutil.which("openssl") is None:
        pytest.skip("OpenSSL is not installed")
    return OpenSslAuthority(tmp_path_factory.mktemp("tsa"))


def authority(answer: object) -> TimestampAuthority:
    transport = httpx.MockTransport(answer)  # type: ignore[arg-type]
    return TimestampAuthority("https://tsa.example/tsr", transport=transport)


async def test_a_token_over_a_checkpoint_is_one_that_openssl_verifies(
    openssl: OpenSslAuthority, tmp_path: Path
) -> None:
    token = await authority(openssl.answer).stamp(NOTE)

    (tmp_path / "3.tsr").write_bytes(token)
    (tmp_path / "3").write_text(NOTE)
    command = ("ts", "-verify", "-data", str(tmp_path / "3"), "-in", str(tmp_path / "3.tsr"))
    openssl.run(*command, "-CAfile", "cert.pem")
    (tmp_path / "3").write_text(NOTE.replace("\n3\n", "\n4\n"))
    with pytest.raises(subprocess.CalledProcessError):
        openssl.run(*command, "-CAfile", "cert.pem")


async def test_a_token_of_another_request_is_refused(openssl: OpenSslAuthority) -> None:
    old = await authority(openssl.answer).stamp(NOTE)

    with pytest.raises(ContractError, match="another request"):
        await authority(lambda _: httpx.Response(200, content=old)).stamp(NOTE)


async def test_a_token_over_something_else_is_refused(openssl: OpenSslAuthority) -> None:
    old = await authority(openssl.answer).stamp("another\n")

    with pytest.raises(ContractError, match="something else"):
        await authority(lambda _: httpx.Response(200, content=old)).stamp(NOTE)


async def test_what_is_no_token_is_refused() -> None:
    with pytest.raises(ContractError, match="no token"):
        await authority(lambda _: httpx.Response(200, content=b"<html>")).stamp(NOTE)


async def test_an_authority_that_fails_is_a_source_error() -> None:
    def unreachable(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with pytest.raises(SourceError, match=r"tsa\.example: HTTP 503"):
        await authority(lambda _: httpx.Response(503)).stamp(NOTE)
    with pytest.raises(SourceError, match=r"tsa\.example: .*refused"):
        await authority(unreachable).stamp(NOTE)
