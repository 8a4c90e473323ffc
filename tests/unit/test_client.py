"""What a program is told when GridFlex answers, refuses, fails or is not there."""

import httpx
import pytest

from gridflex.client import Client, path_of
from gridflex.errors import (
    ConflictError,
    ContractError,
    GridFlexError,
    InfeasibleError,
    NotFoundError,
    SourceError,
)
from gridflex.serve.problems import problem_of

PROBLEM = {"title": "Bad Request", "detail": "plan: 'x' is not valid"}


def told(error: GridFlexError) -> httpx.Response:
    """What a GridFlex answers in which something raised an error."""
    answer = problem_of(error)
    return httpx.Response(answer.status_code, content=bytes(answer.body))


def client(answer: httpx.Response | Exception, seen: list[httpx.Request] | None = None) -> Client:
    def reply(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Client("http://gf.test/", token="abc", transport=httpx.MockTransport(reply))  # noqa: S106


def test_an_answer_is_its_json_and_the_question_has_the_token() -> None:
    seen: list[httpx.Request] = []
    with client(httpx.Response(200, json={"id": 7}), seen) as gridflex:
        assert gridflex.get("/v1/plans/newest", limit=5) == {"id": 7}
        assert gridflex.post("/v1/x", {"a": 1}) == {"id": 7}

    assert str(seen[0].url) == "http://gf.test/v1/plans/newest?limit=5"
    assert seen[0].headers["authorization"] == "Bearer abc"
    assert (seen[1].method, seen[1].content) == ("POST", b'{"a":1}')


@pytest.mark.parametrize(
    ("part", "asked"),
    [("a b", "a%20b"), ("../../etc", "..%2F..%2Fetc"), ("..", "%2E%2E"), ("a?b#c", "a%3Fb%23c")],
)
def test_an_id_stays_one_part_of_the_path(part: str, asked: str) -> None:
    seen: list[httpx.Request] = []
    with client(httpx.Response(200, json={}), seen) as gridflex:
        gridflex.get(path_of("v1", "jobs", part, "explain"))

    assert seen[0].url.raw_path.decode() == f"/v1/jobs/{asked}/explain"


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        pytest.param(httpx.Response(400, json=PROBLEM), ContractError, "plan: 'x'", id="a refusal"),
        pytest.param(httpx.Response(503, json=PROBLEM), SourceError, "plan: 'x'", id="a failure"),
        pytest.param(
            httpx.Response(404, json={"title": "Not Found"}), NotFoundError, "Not Found", id="title"
        ),
        *(
            pytest.param(told(error), type(error), "^why$", id=type(error).__name__)
            for error in (InfeasibleError("why"), ConflictError("why"), SourceError("why"))
        ),
        pytest.param(
            httpx.Response(404, text="<!DOCTYPE HTML>\n<html>\n<p>none</p>"),
            SourceError,
            r"^what answers at http://gf\.test is not GridFlex \(HTTP 404: <!DOCTYPE HTML>\); "
            r"name it in GRIDFLEX_URL or --url$",
            id="another server",
        ),
        pytest.param(
            httpx.Response(500, text="x" * 5000),
            SourceError,
            r"HTTP 500: x{60}\.\.\.\);",
            id="long",
        ),
        pytest.param(
            httpx.Response(302), SourceError, r"not GridFlex \(HTTP 302\);", id="elsewhere"
        ),
        pytest.param(
            httpx.Response(502, text="<html>"),
            SourceError,
            r"is not GridFlex, or cannot reach it \(HTTP 502: <html>\); name it in GRIDFLEX_URL",
            id="a proxy",
        ),
        pytest.param(
            httpx.Response(418, json=[1]),
            SourceError,
            r"not GridFlex \(HTTP 418: \[1\]\)",
            id="list",
        ),
        pytest.param(
            httpx.Response(404, json={"error": 1}), SourceError, "is not GridFlex", id="other JSON"
        ),
        pytest.param(
            httpx.Response(409, json={"type": [], "detail": "why"}), ContractError, "why", id="type"
        ),
        pytest.param(
            httpx.Response(200, text="<html>"),
            SourceError,
            r"is not GridFlex \(HTTP 200: <html>\); name it in",
            id="something else there",
        ),
        pytest.param(
            httpx.ConnectError("refused"), SourceError, "http://gf.test: refused; is it up", id="-"
        ),
    ],
)
def test_what_goes_wrong_is_said_in_our_own_errors(
    answer: httpx.Response | Exception, kind: type[Exception], says: str
) -> None:
    with client(answer) as gridflex, pytest.raises(kind, match=says):
        gridflex.get("/v1/jobs")


def test_the_address_comes_from_the_environment_else_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("GRIDFLEX_URL", raising=False)
    assert Client().url == "http://127.0.0.1:8000"
    monkeypatch.setenv("GRIDFLEX_URL", "http://elsewhere:1/")
    assert Client().url == "http://elsewhere:1"


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ContractError, match="'http://a:b' is not an address"):
        Client("http://a:b")
