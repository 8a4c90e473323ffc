"""One cluster asked over its Job API, whatever happens to the question and the answer."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import httpx
import pytest
from pydantic import SecretStr

from gridflex.adapters.clusters.ray_gpus import Gpus
from gridflex.adapters.clusters.ray_jobs import RayJobs, submission
from gridflex.errors import ContractError, SourceError
from gridflex.lifecycle import JobRequest
from gridflex.settings import SiteSettings
from tests.fake_ray import FakeRay

TRAIN = JobRequest(
    "python train.py",
    runtime_env={"env_vars": {"A": "1"}},
    metadata={"team": "vision"},
    resources={"num_gpus": 2},
)
PACKAGE = "gcs://_ray_pkg_0123456789abcdef.zip"


def client(ray: FakeRay, token: str | None = None) -> RayJobs:
    return RayJobs("http://ray.test:8265/", token, transport=ray.transport)


def answering(status: int, body: object) -> RayJobs:
    transport = httpx.MockTransport(lambda _request: httpx.Response(status, json=body))
    return RayJobs("http://ray.test:8265", transport=transport)


def test_a_submission_has_the_fields_that_rays_client_sends() -> None:
    assert submission("a", TRAIN) == {
        "entrypoint": "python train.py",
        "submission_id": "a",
        "runtime_env": {"env_vars": {"A": "1"}},
        "metadata": {"team": "vision"},
        "entrypoint_num_gpus": 2,
    }


async def test_a_submitted_job_is_found_and_listed() -> None:
    ray = FakeRay()
    async with client(ray) as jobs:
        await jobs.submit("a", TRAIN)
        found, listed = await jobs.get("a"), await jobs.list()

    assert found is not None
    assert (found.ray_id, found.status) == ("a", "PENDING")
    assert found.started_wall == datetime(2026, 7, 1, 12, tzinfo=UTC)
    assert listed == [found]


async def test_what_a_job_printed_last_is_made_fit_to_be_stored() -> None:
    body = (
        b'{"submission_id": "a", "status": "FAILED", "message": "NUL \\u0000, half a pair \\ud83d"'
        b', "driver_info": {"id\\u0000": ["\\ude00", "\\ud83d\\ude00", 1, null]}}'
    )
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, content=body))

    found = await RayJobs("http://ray.test:8265", transport=transport).get("a")

    assert found is not None
    assert found.driver["message"] == "NUL \ufffd, half a pair \ufffd"
    assert found.driver["driver_info"] == {"id\ufffd": ["\ufffd", "\U0001f600", 1, None]}


async def test_submitting_again_is_harmless() -> None:
    ray = FakeRay()
    async with client(ray) as jobs:
        await jobs.submit("a", TRAIN)
        await jobs.submit("a", TRAIN)

    assert ray.accepted == ["a"]


async def test_a_lost_reply_is_settled_by_asking_for_the_job() -> None:
    ray = FakeRay(lost_replies=1)
    async with client(ray) as jobs:
        await jobs.submit("a", TRAIN)

    assert ray.accepted == ["a"]


async def test_a_submission_that_never_arrived_is_an_error_to_repeat() -> None:
    ray = FakeRay(hangs=True)
    async with client(ray) as jobs:
        with pytest.raises(SourceError, match="no answer in time"):
            await jobs.submit("a", TRAIN)
        ray.hangs = False
        await jobs.submit("a", TRAIN)

    assert ray.accepted == ["a"]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(replace(TRAIN, entrypoint="python other.py"), id="entrypoint"),
        pytest.param(replace(TRAIN, metadata={"team": "speech"}), id="metadata"),
    ],
)
async def test_another_job_under_the_same_id_is_refused(other: JobRequest) -> None:
    ray = FakeRay()
    async with client(ray) as jobs:
        await jobs.submit("a", other)
        with pytest.raises(ContractError, match="another job under the submission id a"):
            await jobs.submit("a", TRAIN)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        pytest.param({"bogus": 1}, "JobSubmitRequest", id="by the head with 400"),
        pytest.param({"label_selector": {"zone": "a b"}}, "a b", id="by its agent inside a 500"),
    ],
)
async def test_what_ray_refuses_for_good_is_not_tried_again(
    bad: dict[str, object], says: str
) -> None:
    async with client(FakeRay()) as jobs:
        with pytest.raises(ContractError, match=says):
            await jobs.submit("a", replace(TRAIN, resources=bad))


async def test_a_duplicate_that_is_called_a_bad_request_is_settled_too() -> None:
    text = "ValueError: Job with submission_id a already exists. Please use another."

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(400, text=text)
        details = {"submission_id": "a", "status": "RUNNING", "entrypoint": TRAIN.entrypoint}
        return httpx.Response(200, json={**details, "metadata": dict(TRAIN.metadata)})

    async with RayJobs("http://ray.test", transport=httpx.MockTransport(answer)) as jobs:
        await jobs.submit("a", TRAIN)


async def test_a_broken_cluster_is_not_the_jobs_fault() -> None:
    async with answering(502, {}) as jobs:
        with pytest.raises(SourceError, match="HTTP 502"):
            await jobs.submit("a", TRAIN)


async def test_an_unknown_job_is_none_and_cannot_be_stopped_or_deleted() -> None:
    async with client(FakeRay()) as jobs:
        assert await jobs.get("ghost") is None
        assert await jobs.logs("ghost") is None
        assert not await jobs.stop("ghost")
        assert not await jobs.delete("ghost")


async def test_a_job_is_stopped_once_and_then_deleted() -> None:
    ray = FakeRay()
    async with client(ray) as jobs:
        await jobs.submit("a", TRAIN)
        ray.run("a", prints="epoch 1\n")
        with pytest.raises(ContractError, match="non-terminal state RUNNING"):
            await jobs.delete("a")

        assert await jobs.logs("a") == "epoch 1\n"
        assert await jobs.stop("a")
        assert not await jobs.stop("a")
        assert await jobs.delete("a")

    assert ray.jobs == {}


async def test_an_id_is_one_part_of_the_path_whatever_it_holds() -> None:
    asked: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.raw_path)
        return httpx.Response(404)

    async with RayJobs("http://ray.test", transport=httpx.MockTransport(answer)) as jobs:
        await jobs.get("../../nodes?x=1")

    assert asked == [b"/api/jobs/..%2F..%2Fnodes%3Fx%3D1"]


async def test_a_package_is_uploaded_in_pieces() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"PK"
        yield b"zip"

    ray = FakeRay()
    async with client(ray) as jobs:
        assert not await jobs.has_package(PACKAGE)
        await jobs.put_package(PACKAGE, pieces())

        assert await jobs.has_package(PACKAGE)
    assert ray.packages == {PACKAGE: b"PKzip"}


@pytest.mark.parametrize(
    ("ray", "gpus"),
    [
        pytest.param(FakeRay(gpus=8, used_gpus=3), Gpus(8, 3.0), id="with an autoscaler"),
        pytest.param(FakeRay(gpus=8, used_gpus=None), Gpus(8, None), id="from live nodes"),
    ],
)
async def test_the_gpus_of_live_nodes_are_counted(ray: FakeRay, gpus: Gpus) -> None:
    async with client(ray) as jobs:
        assert await jobs.gpus() == gpus


@pytest.mark.parametrize(
    "usage",
    [
        pytest.param({"GPU": 4}, id="not a pair"),
        pytest.param({"GPU": ["a", "b"]}, id="not numbers"),
        pytest.param({"GPU": [0.0, float("1e400")]}, id="not finite"),
    ],
)
async def test_gpus_that_make_no_sense_are_the_clusters_failure(usage: object) -> None:
    report = {"data": {"clusterStatus": {"loadMetricsReport": {"usage": usage}}}}
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, text=json.dumps(report)))
    async with RayJobs("http://ray.test", transport=transport) as jobs:
        with pytest.raises(SourceError, match="GPUs"):
            await jobs.gpus()


async def test_nodes_that_are_no_list_are_the_clusters_failure() -> None:
    async with answering(200, {"data": {"summary": 3}}) as jobs:
        with pytest.raises(SourceError, match="GPUs"):
            await jobs.gpus()


async def test_a_node_without_gpus_has_none() -> None:
    nodes = {"data": {"summary": [{"raylet": {"state": "ALIVE", "resourcesTotal": {"CPU": 2.0}}}]}}
    async with answering(200, nodes) as jobs:
        assert await jobs.gpus() == Gpus(0, None)


@pytest.mark.parametrize("garbage", ["<html>login</html>", "[1", '"text"', "{}", "[3]", "null"])
async def test_garbage_is_the_clusters_failure(garbage: str) -> None:
    async with client(FakeRay(garbage=garbage)) as jobs:
        with pytest.raises(SourceError, match=r"ray\.test|described a job"):
            await jobs.list()
        with pytest.raises(SourceError):
            await jobs.get("a")


async def test_a_time_beyond_all_calendars_is_no_time() -> None:
    async with answering(
        200, {"submission_id": "a", "status": "RUNNING", "start_time": 10**20}
    ) as j:
        found = await j.get("a")

    assert found is not None
    assert found.started_wall is None


@pytest.mark.parametrize(
    ("sent", "says"),
    [(None, "wants a token"), ("wrong", "refuses the token")],
    ids=["no token", "a wrong token"],
)
async def test_a_refused_token_says_what_to_set(sent: str | None, says: str) -> None:
    async with client(FakeRay(token="right"), sent) as jobs:  # noqa: S106 - not a secret
        with pytest.raises(SourceError, match=f"{says}.*set ray_token.*RAY_AUTH_TOKEN"):
            await jobs.version()
        with pytest.raises(SourceError, match=says):
            await jobs.forward("GET", "/api/version")


async def test_the_token_of_a_site_is_sent() -> None:
    site = SiteSettings(ray_url="http://ray.test", ray_token=SecretStr("right"))
    async with RayJobs.of_site(site) as jobs:
        assert jobs._headers == {"Authorization": "Bearer right"}


async def test_an_answer_is_passed_on_as_it_came() -> None:
    async with client(FakeRay()) as jobs:
        reply = await jobs.forward("GET", "/api/jobs/ghost")

    assert (reply.status, reply.body) == (404, b"Job ghost does not exist")
    assert reply.media_type.startswith("text/plain")


async def test_a_cluster_that_nobody_listens_for_is_a_source_error() -> None:
    async with client(FakeRay(is_down=True)) as jobs:
        with pytest.raises(SourceError, match=r"ray\.test:8265/api/version"):
            await jobs.version()


async def test_logs_that_cannot_be_followed_are_a_source_error() -> None:
    async with RayJobs("http://127.0.0.1:1") as jobs:
        with pytest.raises(SourceError, match="logs of a"):
            _ = [lines async for lines in jobs.tail("a")]
