"""What the id of a job may be: it stands in paths, variables and names of files."""

from __future__ import annotations

import re
from typing import Final

from gridflex.errors import ContractError

_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:=@+-]{0,199}")


def refuse_no_job_id(text: str, *, name: str) -> None:
    """Refuse what cannot be the id of a job.

    Args:
        text: What should be one.
        name: What it is called where it was said.

    Raises:
        ContractError: It cannot be one.
    """
    if not _ID.fullmatch(text):
        raise ContractError(
            f"{name}: {text!r} is not valid; valid is up to 200 letters, digits and "
            "._:=@+-, beginning with a letter or digit"
        )
