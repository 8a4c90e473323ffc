"""``gridflex submit``, with a client of Ray's that is none."""

from typing import Any

import pytest
from typer.testing import CliRunner

from gridflex import cli
from gridflex.cli import submitting
from gridflex.errors import ContractError, SourceError
from tests.unit.test_cli import run


class FakeRayClient:
    """Takes or refuses jobs as Ray's own client would report it."""

    failure: Exception | None = None
    sent: dict[str, Any]

    def __init__(self, _url: str) -> None:
        if isinstance(self.failure, ConnectionError):
            raise self.failure

    def submit_job(self, **job: Any) -> str:  # noqa: ANN401 - any field
        if self.failure:
            raise self.failure
        type(self).sent = job
        return str(job["submission_id"] or "raysubmit_1")


def test_submit_sends_metadata_under_our_prefix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setattr(submitting, "JobSubmissionClient", FakeRayClient)

    shown = run(
        *("submit", "--tier", "T3", "--duration", "PT4H", "--gpus", "2", "--meta", "team=vision"),
        *("--submission-id", "job-1", "--", "python", "train.py", "--name", "a b"),
    )

    assert "submitted job-1" in shown
    assert FakeRayClient.sent == {
        "entrypoint": "python train.py --name 'a b'",
        "submission_id": "job-1",
        "runtime_env": {},
        "metadata": {
            "gridflex.io/tier": "T3",
            "gridflex.io/duration": "PT4H",
            "gridflex.io/gpus": "2",
            "gridflex.io/team": "vision",
        },
    }


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (ConnectionError("refused"), SourceError),
        (RuntimeError("Request failed with status code 503: database"), SourceError),
        (RuntimeError("Request failed with status code 400: tier"), ContractError),
        (ValueError("no such folder"), ContractError),
    ],
)
def test_what_rays_client_raises_is_said_in_our_own_errors(
    monkeypatch: pytest.MonkeyPatch, failure: Exception, kind: type[Exception]
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    failing = type("Failing", (FakeRayClient,), {"failure": failure})
    monkeypatch.setattr(submitting, "JobSubmissionClient", failing)

    with pytest.raises(kind, match=str(failure)):
        submitting.submit_job("http://gf.test", entrypoint=["a"], flexibility={})


def test_a_meta_option_that_is_no_pair_is_wrong_usage() -> None:
    result = CliRunner().invoke(cli.app, ["submit", "--meta", "team", "--", "a"])

    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--tier", "T2", "--meta", "tier=T3"], "tier is 'T2' already"),
        (["--gpus", "1", "--meta", "gridflex.io/gpus=2"], "gpus is '1' already"),
        (["--meta", "team=a", "--meta", "gridflex.io/team=b"], "team is 'a' already"),
    ],
)
def test_a_key_that_is_said_twice_is_wrong_usage(given: list[str], says: str) -> None:
    env = {"NO_COLOR": "1", "COLUMNS": "200"}
    result = CliRunner(env=env).invoke(cli.app, ["submit", *given, "--", "a"])

    assert result.exit_code == 2
    assert says in result.output


@pytest.mark.parametrize(("given", "tier"), [([], "T2"), (["--meta", "tier=T3"], "T3")])
def test_a_tier_that_no_option_says_is_that_of_the_metadata_or_t2(
    monkeypatch: pytest.MonkeyPatch, given: list[str], tier: str
) -> None:
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setattr(submitting, "JobSubmissionClient", FakeRayClient)

    run("submit", *given, "--", "a")

    assert FakeRayClient.sent["metadata"] == {"gridflex.io/tier": tier}
