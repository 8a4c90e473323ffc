"""What is told where Ray, its token or its port is not as it should be."""

import socket

import pytest
import ray
from ray.exceptions import AuthenticationError

from gridflex.errors import SourceError
from gridflex.running import launch
from gridflex.settings import HttpSettings, Settings


def test_a_taken_port_is_named_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(http=HttpSettings(port=port))

        with pytest.raises(SourceError, match=rf"http\.port {port} is taken .*GRIDFLEX_HTTP__PORT"):
            launch.refuse_taken_port(settings)

    launch.refuse_taken_port(settings)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (AuthenticationError("no token was found"), r"does not take our token, .*RAY_AUTH_TOKEN"),
        (ConnectionError("cannot connect"), "cannot connect, or its token is not ours"),
    ],
)
def test_a_ray_that_lets_nobody_in_is_told_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def refuse(**_: object) -> None:
        raise error

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", refuse)

    with pytest.raises(SourceError, match=f"Ray at 127.0.0.1:1 ?.*{told}"):
        launch._connect("127.0.0.1:1")


def test_of_an_application_that_cannot_start_its_own_error_is_told() -> None:
    failed = "replica failed:\n  File app.py\n  gridflex.errors.ContractError: no token\nretried\n"

    assert launch.last_words(["", failed]) == "gridflex.errors.ContractError: no token"
    assert launch.last_words(["", "still starting"]) == ""
