"""Every error becomes one problem+json object with the right status."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from gridflex.errors import (
    ContractError,
    GridFlexError,
    InfeasibleError,
    MetadataError,
    SourceError,
    StaleDataError,
)
from gridflex.serve.bodies import MOST_BYTES, BodyLimit
from gridflex.serve.problems import ProblemError, install_problems


class Body(BaseModel):
    gpus: int


class Numbers(BaseModel):
    numbers: list[int]


def app(error: Exception) -> FastAPI:
    api = FastAPI()
    install_problems(api)

    @api.get("/fail")
    async def fail() -> None:
        raise error

    @api.get("/jobs/{job_id}")
    async def job(job_id: str) -> str:
        return job_id

    @api.post("/list")
    async def numbers(_body: Numbers) -> None:
        return

    @api.post("/body")
    async def body(_body: Body) -> None:
        return

    return api


async def ask(
    error: Exception, path: str = "/fail", *, method: str = "GET", json: object = None
) -> httpx.Response:
    transport = httpx.ASGITransport(app(error), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gf.test") as client:
        return await client.request(method, path, json=json)


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (MetadataError("gridflex.io/tier", "T9", valid="T0 to T5"), 400, "metadata"),
        (ContractError("bad"), 400, "contract"),
        (InfeasibleError("never"), 422, "infeasible"),
        (SourceError("away"), 503, "source"),
        (StaleDataError("old"), 503, "source"),
        (GridFlexError("broken"), 500, "error"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
async def test_each_kind_of_error_has_its_status(
    error: GridFlexError, status: int, kind: str
) -> None:
    answer = await ask(error)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert (body["type"], body["status"]) == (f"urn:gridflex:problem:{kind}", status)
    assert body["detail"] == str(error)
    assert ("retry-after" in answer.headers) is (status == 503)


async def test_wrong_metadata_names_key_value_and_what_is_valid() -> None:
    body = (await ask(MetadataError("gridflex.io/tier", "T9", valid="T0 to T5"))).json()

    assert (body["key"], body["value"], body["valid"]) == ("gridflex.io/tier", "T9", "T0 to T5")


async def test_a_refusal_about_http_has_a_plain_type_and_its_own_members() -> None:
    answer = await ask(ProblemError(409, "taken", id="a"))  # type: ignore[arg-type]

    assert answer.json() == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "taken",
        "id": "a",
    }


async def test_a_wrong_body_names_each_field() -> None:
    answer = await ask(ContractError(""), "/body", method="POST", json={"gpus": "many"})

    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {"field": "gpus", "value": "many", "valid": "a whole number"}
    ]
    assert answer.json()["detail"] == "gpus: 'many' is not valid; valid is a whole number"


async def test_of_a_long_value_is_told_how_it_begins_and_of_a_large_one_what_it_is() -> None:
    long = await ask(ContractError(""), "/body", method="POST", json={"gpus": "x" * 100_000})
    large = await ask(ContractError(""), "/body", method="POST", json=[{"a": 1}] * 1_000)
    lacking = await ask(ContractError(""), "/body", method="POST", json={"a": {"b": 1}})

    assert long.json()["errors"][0]["value"] == "x" * 77 + "..."
    assert large.json()["errors"][0]["value"] == "a list"
    assert lacking.json()["errors"][0]["value"] == "an object"


async def test_of_very_many_faults_the_first_are_told_and_all_are_counted() -> None:
    wrong = {"numbers": ["a"] * 2_000}
    answer = await ask(ContractError(""), "/list", method="POST", json=wrong)

    assert len(answer.json()["errors"]) == 100
    assert answer.json()["detail"].endswith("valid is a whole number; and 1995 more")


async def test_a_body_that_is_too_large_is_refused_with_the_limit_before_it_is_read() -> None:
    limited = httpx.ASGITransport(BodyLimit(app(ContractError(""))))
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 100_000
            yield b" " * 100_000

    async with httpx.AsyncClient(transport=limited, base_url="http://gf.test") as client:
        streamed = await client.post("/body", content=endless())
        declared = await client.post(
            "/body", content=endless(), headers={"content-length": "9" * 9}
        )
        small = await client.post("/body", json={"gpus": 1})

    assert [one.status_code for one in (streamed, declared, small)] == [413, 413, 200]
    assert sent < MOST_BYTES + 300_000
    assert streamed.headers["content-type"] == "application/problem+json"
    assert f"more than {MOST_BYTES} bytes" in streamed.json()["detail"]


async def test_a_body_that_is_too_deep_is_refused() -> None:
    deep = b'{"a": ' + b"[" * 900 + b"]" * 900 + b"}"

    transport = httpx.ASGITransport(app(ContractError("")), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gf.test") as client:
        answer = await client.post(
            "/body", content=deep, headers={"content-type": "application/json"}
        )

    assert (answer.status_code, answer.json()["detail"]) == (400, "gpus is missing")


async def test_a_body_that_cannot_be_read_is_told_as_such() -> None:
    transport = httpx.ASGITransport(app(ContractError("")))
    async with httpx.AsyncClient(transport=transport, base_url="http://gf.test") as client:
        answer = await client.post(
            "/body", content='{"gpus":}', headers={"content-type": "application/json"}
        )

    told = answer.json()
    assert told["detail"] == ("body is not valid; valid is JSON (at character 8: Expecting value)")
    assert [(one["field"], one["value"]) for one in told["errors"]] == [("body", None)]


@pytest.mark.parametrize(
    ("path", "named"), [("/jobs/a%00b", "job_id: 'a\\x00b'"), ("/jobs/a?after=%00", "after: ")]
)
async def test_a_nul_is_refused_by_the_name_of_what_holds_it(path: str, named: str) -> None:
    answer = await ask(ContractError(""), path)

    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(named)
    assert "is not valid; valid is text without NUL" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("sent", "media_type"),
    [
        pytest.param(b'{"gpus": NaN}', "application/json", id="not a number"),
        pytest.param(b'{"gpus": 1e999}', "application/json", id="beyond every float"),
        pytest.param(b'{"gpus": [{"a": -Infinity}]}', "application/json", id="deeper"),
        pytest.param(b"\xff\xfe", "application/json", id="not UTF-8"),
        pytest.param(b"\xff\xfe", "text/plain", id="neither JSON nor UTF-8"),
    ],
)
async def test_a_body_that_no_answer_can_repeat_is_refused_all_the_same(
    sent: bytes, media_type: str
) -> None:
    transport = httpx.ASGITransport(app(ContractError("")), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gf.test") as client:
        answer = await client.post("/body", content=sent, headers={"content-type": media_type})

    assert (answer.status_code, answer.json()["status"]) == (400, 400)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/x", 404), ("PUT", "/fail", 405)])
async def test_what_is_not_served_is_a_problem_too(method: str, path: str, status: int) -> None:
    answer = await ask(ContractError(""), path, method=method)

    assert (answer.status_code, answer.json()["status"]) == (status, status)
    assert answer.json()["detail"].startswith(f"{method} {path}: ")


async def test_a_fault_of_our_own_is_a_problem_that_gives_nothing_away() -> None:
    answer = await ask(RuntimeError("password=hunter2"))

    assert answer.status_code == 500
    assert answer.headers["content-type"] == "application/problem+json"
    assert "hunter2" not in answer.text
