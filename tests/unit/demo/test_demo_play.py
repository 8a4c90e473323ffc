"""The demo's own client: what it tries again, and what it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
import requests
import stamina

from gridflex.demo.jobs import DemoJob
from gridflex.demo.play import submit_job
from gridflex.jobs import Tier

if TYPE_CHECKING:
    from ray.job_submission import JobSubmissionClient

JOB = DemoJob(1, Tier.T1, 0.5, 8, 1)
DATABASE_DIED = RuntimeError("Request failed with status code 503: {}.")
REFUSED = RuntimeError("Request failed with status code 400: {}.")


class FailsFirst:
    """A client whose first submissions fail, each with one of the errors."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.submitted: list[str] = []

    def submit_job(self, *, submission_id: str, **_: object) -> str:
        self.submitted.append(submission_id)
        if self.errors:
            raise self.errors.pop(0)
        return submission_id


def submit(client: FailsFirst) -> str:
    with stamina.set_testing(True, attempts=3):
        return submit_job(cast("JobSubmissionClient", client), JOB, half_hour_s=5.0)


@pytest.mark.parametrize("error", [requests.ConnectionError("gone"), DATABASE_DIED])
def test_a_job_is_submitted_again_under_its_id_while_gateway_or_database_is_away(
    error: Exception,
) -> None:
    client = FailsFirst(error, error)
    assert submit(client) == JOB.id
    assert client.submitted == [JOB.id] * 3


def test_a_refused_job_is_not_submitted_again() -> None:
    client = FailsFirst(REFUSED)
    with pytest.raises(RuntimeError, match="400"):
        submit(client)
    assert client.submitted == [JOB.id]
