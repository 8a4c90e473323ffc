"""Ray's token is found where Ray 2.60 keeps it."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from gridflex.adapters.clusters.ray_auth import find_token, is_token_wanted, token_headers


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "auth_token"
    path.write_text("from-file\n")
    return str(path)


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [(None, True), ("token", True), ("disabled", False), (" Disabled ", False), ("", True)],
)
def test_ray_asks_for_a_token_unless_it_is_told_not_to(mode: str | None, *, wanted: bool) -> None:
    environ = {} if mode is None else {"RAY_AUTH_MODE": mode}

    assert is_token_wanted(environ) is wanted


def test_the_environment_goes_before_the_file(file: str) -> None:
    environ = {"RAY_AUTH_TOKEN": " from-env ", "RAY_AUTH_TOKEN_PATH": file}

    assert find_token(environ=environ) == "from-env"
    assert find_token(environ=environ | {"RAY_AUTH_TOKEN": " "}) == "from-file"


def test_a_token_of_the_settings_goes_before_all_and_before_the_mode(file: str) -> None:
    environ = {"RAY_AUTH_TOKEN_PATH": file, "RAY_AUTH_MODE": "disabled"}

    assert find_token(SecretStr("given"), environ=environ) == "given"


def test_a_mode_that_switches_tokens_off_finds_none_unless_forced(file: str) -> None:
    environ = {"RAY_AUTH_TOKEN_PATH": file, "RAY_AUTH_MODE": "disabled"}

    assert find_token(environ=environ) is None
    assert find_token(environ=environ, force=True) == "from-file"


@pytest.mark.parametrize("content", [None, "", " \n"], ids=["no file", "empty", "blank"])
def test_a_file_without_a_token_is_none(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "auth_token"
    if content is not None:
        path.write_text(content)

    assert find_token(environ={"RAY_AUTH_TOKEN_PATH": str(path)}) is None


def test_a_file_that_is_no_text_is_none(tmp_path: Path) -> None:
    path = tmp_path / "auth_token"
    path.write_bytes(b"\xff\xfe\x00")

    assert find_token(environ={"RAY_AUTH_TOKEN_PATH": str(path)}) is None


def test_the_default_file_lies_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("at-home")

    assert find_token(environ={}) == "at-home"


def test_a_token_is_sent_as_rays_clients_send_it() -> None:
    assert token_headers("abc") == {"Authorization": "Bearer abc"}
    assert token_headers(None) == {}
