"""Unit tests start no Ray."""

import pytest
import ray


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse ``ray.init``, and with it the implicit start of ``Actor.remote()``."""

    def refuse(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("a unit test must not start Ray")

    monkeypatch.setattr(ray, "init", refuse)
