"""Ray's own token: where Ray 2.60 keeps it, and how its clients send it.

Ray looks at ``RAY_AUTH_TOKEN``, then at the file named by ``RAY_AUTH_TOKEN_PATH``, then at
``~/.ray/auth_token``; ``RAY_AUTH_MODE=disabled`` switches tokens off. GridFlex does the same
where its settings name no token of their own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import SecretStr

MODE_VARIABLE: Final = "RAY_AUTH_MODE"
TOKEN_VARIABLE: Final = "RAY_AUTH_TOKEN"  # noqa: S105 - the name, not the token
PATH_VARIABLE: Final = "RAY_AUTH_TOKEN_PATH"
DEFAULT_PATH: Final = Path("~/.ray/auth_token")

WHERE: Final = f"{TOKEN_VARIABLE}, the file named by {PATH_VARIABLE}, or {DEFAULT_PATH}"


def is_token_wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether Ray asks for a token; it does unless told otherwise."""
    return environ.get(MODE_VARIABLE, "token").strip().lower() != "disabled"


def find_token(
    given: SecretStr | None = None,
    *,
    force: bool = False,
    environ: Mapping[str, str] = os.environ,
) -> str | None:
    """Return the token to use, or None if there is none or tokens are switched off.

    Args:
        given: A token from the settings; goes before Ray's own and before the mode.
        force: Look for Ray's own even where the mode switches tokens off.
        environ: Environment variables.
    """
    if given is not None:
        return given.get_secret_value().strip() or None
    if not force and not is_token_wanted(environ):
        return None
    if environ.get(TOKEN_VARIABLE, "").strip():
        return environ[TOKEN_VARIABLE].strip()
    try:
        path = Path(environ.get(PATH_VARIABLE) or DEFAULT_PATH).expanduser()
        return path.read_text().strip() or None
    except (OSError, ValueError, RuntimeError):  # absent, unreadable, no text; no home folder
        return None


def token_headers(token: str | None) -> dict[str, str]:
    """Return the headers with which Ray's clients send ``token``."""
    return {"Authorization": f"Bearer {token}"} if token else {}
