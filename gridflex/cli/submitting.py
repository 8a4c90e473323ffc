"""Submitting a flexible job through Ray's own client."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from typing import Final

from ray.job_submission import JobSubmissionClient

from gridflex.adapters.clusters.ray_auth import MODE_VARIABLE
from gridflex.errors import ContractError, SourceError
from gridflex.jobs import PREFIX

_FAILED: Final = "status code 5"
"""How Ray's client begins to say that the other side failed."""


def submit_job(
    url: str,
    *,
    entrypoint: Sequence[str],
    flexibility: Mapping[str, str],
    working_dir: str | None = None,
    submission_id: str | None = None,
) -> str:
    """Submit a job and return its id.

    Args:
        url: Where GridFlex answers.
        entrypoint: Command with its arguments.
        flexibility: GridFlex metadata, keys without their prefix.
        working_dir: Folder to upload.
        submission_id: Id to use; the same one again with the same job changes nothing.

    Raises:
        SourceError: GridFlex does not answer, or fails.
        ContractError: It refuses the job; the message is its own.
    """
    os.environ.setdefault(MODE_VARIABLE, "token")
    try:
        client = JobSubmissionClient(url)
        return client.submit_job(
            entrypoint=shlex.join(entrypoint),
            submission_id=submission_id,
            runtime_env={"working_dir": working_dir} if working_dir else {},
            metadata={f"{PREFIX}{key}": value for key, value in flexibility.items()},
        )
    except ConnectionError as error:
        raise SourceError(f"GridFlex does not answer at {url}: {error}") from error
    except (RuntimeError, ValueError) as error:
        kind = SourceError if _FAILED in str(error) else ContractError
        raise kind(_detail(str(error))) from error


def _detail(text: str) -> str:
    """Return what GridFlex says in a refusal that Ray's client wraps in its own words."""
    start, end = text.find("{"), text.rfind("}")
    try:
        return str(json.loads(text[start : end + 1])["detail"])
    except (ValueError, KeyError, TypeError):
        return text
