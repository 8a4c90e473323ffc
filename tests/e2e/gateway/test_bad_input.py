"""What is wrong about a request to the Job API is said clearly and leaves nothing behind."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from gridflex.serve.api import create_api
from gridflex.serve.bodies import MOST_BYTES
from tests.e2e.gateway.test_job_api import NAME, submit
from tests.e2e.world import ONE_SERVER, World


@ONE_SERVER
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/jobs/ghost"),
        ("DELETE", "/api/jobs/ghost"),
        ("POST", "/api/jobs/ghost/stop"),
        ("GET", "/api/jobs/ghost/logs"),
        ("GET", "/v1/jobs/ghost"),
        ("GET", "/v1/jobs/ghost/explain"),
        ("GET", "/v1/plans/99"),
        ("GET", "/v1/plans/newest"),
        ("GET", "/v1/nowhere"),
    ],
)
async def test_what_is_unknown_is_not_found(
    http: httpx.AsyncClient, method: str, path: str
) -> None:
    answer = await http.request(method, path)

    assert answer.status_code == 404
    if path.startswith("/api"):
        assert answer.text == "Job ghost does not exist"
    else:
        assert answer.headers["content-type"] == "application/problem+json"


@ONE_SERVER
@pytest.mark.parametrize(
    ("body", "says"),
    [
        pytest.param({"metadata": {"gridflex.io/teir": "T2"}}, "gridflex.io/teir", id="key"),
        pytest.param({"metadata": {"gridflex.io/duration": "4h"}}, "'4h'", id="duration"),
        pytest.param(
            {"metadata": {"gridflex.io/deadline": "2026-07-01T11:00:00Z"}},
            "2026-07-01T11:00:00Z",
            id="a deadline in the past",
        ),
        pytest.param(
            {"metadata": {"gridflex.io/gpus": "9"}}, "from 0 to 8, the GPUs", id="too many GPUs"
        ),
        pytest.param({"entrypoint_num_gpus": 9}, "at least the 9", id="too many in Ray's field"),
        pytest.param(
            {"runtime_env": {"working_dir": f"gcs://{NAME}"}}, f"{NAME} never arrived", id="package"
        ),
        pytest.param({"runtime_env": {"env_vars": ["A"]}}, "runtime_env.env_vars", id="env_vars"),
        pytest.param({"runtime_env": {"py_modules": 3}}, "runtime_env.py_modules", id="modules"),
        pytest.param({"entrypoint": None}, "entrypoint", id="no entrypoint"),
        pytest.param({"entrypoint": "a\x00b"}, "storing a job|NUL", id="text no database holds"),
        pytest.param({"submission_id": "a/b"}, "submission_id: 'a/b'", id="id"),
        pytest.param({"submission_id": "a-a2"}, "GridFlex's own", id="an id of ours"),
        pytest.param({"bogus": 1}, "bogus is not known", id="field"),
        pytest.param({"entrypoint": "x" * 30_001}, "at most 30000 characters", id="long command"),
        pytest.param(
            {"metadata": {"gridflex.io/tier": "T2"} | {f"k{i}": "" for i in range(100)}},
            "metadata: an object is not valid; valid is at most 100 of them",
            id="many keys",
        ),
        pytest.param(
            {"metadata": {"gridflex.io/tier": "T2", "note": "x" * 4_001}},
            "metadata.note: 'xxx",
            id="a long value",
        ),
    ],
)
async def test_bad_input_is_a_clear_problem_and_leaves_nothing(
    world: World, http: httpx.AsyncClient, body: Mapping[str, Any], says: str
) -> None:
    answer = await submit(http, **body)

    assert answer.status_code == 400, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert any(one in answer.json()["detail"] for one in says.split("|")), answer.text
    assert await world.jobs.newest() == []
    assert world.london.accepted == []


@ONE_SERVER
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"entrypoint": "a", "metadata": {"gridflex.io/tier": "T1"}, "entrypoint_num_cpus": NaN}',
        b'{"entrypoint": "a", "runtime_env": {"x": 1e999}}',
        b'{"entrypoint": "\\ud800", "metadata": {"gridflex.io/tier": "T1"}}',
        b'{"a":' * 100_000,
        b'{"entrypoint": "a", "runtime_env": ' + b'{"a":' * 900 + b"1" + b"}" * 901,
    ],
    ids=[
        "empty",
        "cut",
        "a list",
        "null",
        "no text",
        "NaN",
        "infinite",
        "half a letter",
        "deep",
        "deeper than it can be kept",
    ],
)
async def test_a_body_that_is_no_json_object_is_refused(
    http: httpx.AsyncClient, content: bytes
) -> None:
    answer = await http.post("/api/jobs/", content=content)

    assert answer.status_code == 400
    assert "body of a job submission must be" in answer.json()["detail"]


@ONE_SERVER
@pytest.mark.parametrize("runtime_env", [3, [], {"py_modules": 3}, {"working_dir": 3}])
async def test_what_a_plain_job_asks_for_is_rays_to_judge(
    world: World, http: httpx.AsyncClient, runtime_env: object
) -> None:
    body = {"entrypoint": "a", "submission_id": "plain", "metadata": {}, "runtime_env": {}}
    answer = await http.post("/api/jobs/", json={**body, "runtime_env": runtime_env})

    assert answer.status_code == 200
    assert world.london.jobs["plain"].request["runtime_env"] == runtime_env
    assert await world.jobs.newest() == []


@ONE_SERVER
async def test_a_job_of_more_bytes_than_are_kept_is_refused_and_a_package_of_as_many_is_taken(
    world: World, http: httpx.AsyncClient
) -> None:
    large = b" " * (MOST_BYTES + 1)

    answer = await http.post("/api/jobs/", content=large)
    package = await http.put(f"/api/packages/gcs/{NAME}", content=large)

    assert answer.status_code == 413
    assert f"more than {MOST_BYTES} bytes" in answer.json()["detail"]
    assert package.status_code == 200
    assert await world.jobs.newest() == []


async def test_an_id_with_a_nul_is_refused_or_unknown(http: httpx.AsyncClient) -> None:
    for path in ("/api/jobs/a%00b", "/v1/jobs/a%00b"):
        answer = await http.get(path)

        assert answer.status_code in {400, 404}, answer.text


@pytest.mark.parametrize(
    ("metadata", "status", "says"),
    [
        pytest.param({"gridflex.io/gpus": "2"}, 200, "job_id", id="for a site that is there"),
        pytest.param({"gridflex.io/tier": "T5", "gridflex.io/gpus": "2"}, 200, "job_id", id="any"),
        pytest.param({"gridflex.io/gpus": "9"}, 400, "from 0 to 8", id="too many for it"),
        pytest.param(
            {"gridflex.io/sites": "slough", "gridflex.io/gpus": "2"},
            503,
            "is not known yet: size of slough: http://slough.test:8265",
            id="for the site that is away alone",
        ),
        pytest.param(
            {"gridflex.io/sites": "slough", "gridflex.io/duration": "4h"}, 400, "'4h'", id="wrong"
        ),
    ],
)
async def test_a_site_that_never_said_its_size_holds_up_no_other(
    world: World, metadata: Mapping[str, str], status: int, says: str
) -> None:
    world.forget_size("slough")
    world.rays["slough"].is_down = True
    transport = httpx.ASGITransport(create_api(world.ports()))
    async with httpx.AsyncClient(transport=transport, base_url="http://gf.test") as http:
        answer = await http.post("/api/jobs/", json={"entrypoint": "a", "metadata": metadata})

    assert answer.status_code == status, answer.text
    assert says in answer.text
