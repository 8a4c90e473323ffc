"""What could be shed, over HTTP: what is asked for is refused by name where it means nothing."""

from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from gridflex.serve.problems import install_problems
from gridflex.serve.shed_api import create_shed_router


class NoDesk:
    """A desk that nobody should reach."""

    async def free(self, _request: object) -> None:
        raise AssertionError

    async def carry_out(self, _order_id: str, _request: object) -> None:
        raise AssertionError


async def refused(method: str, given: dict[str, Any]) -> str:
    """Return what a refused request is told."""
    app = FastAPI()
    install_problems(app)
    app.include_router(create_shed_router(NoDesk(), None))  # type: ignore[arg-type]  # not reached
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://gridflex.test") as client:
        if method == "GET":
            answer = await client.get("/plans/shed", params=given)
        else:
            answer = await client.post("/plans/shed", json=given)
    assert answer.status_code == 400, answer.text
    return str(answer.json()["detail"])


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"hold": "-PT1H"}, "hold: '-PT1H': valid is longer than PT0S, at most P31D"),
        ({"hold": "PT0S"}, "hold: 'PT0S': valid is longer than PT0S, at most P31D"),
        ({"hold": "P32D"}, "hold: 'P32D': valid is longer than PT0S, at most P31D"),
        ({"within": "-PT1S"}, "within: '-PT1S': valid is from PT0S to P31D"),
        ({"within": "P999999D"}, "within: 'P999999D': valid is from PT0S to P31D"),
    ],
)
async def test_a_duration_that_means_nothing_is_refused_by_its_name(
    method: str, asked: dict[str, str], says: str
) -> None:
    assert await refused(method, {"kw": 20, **asked}) == says


@pytest.mark.parametrize("kw", ["nan", "0", "-1", "inf"])
async def test_power_that_is_none_is_refused_by_its_name(kw: str) -> None:
    assert (await refused("GET", {"kw": kw})).startswith("kw: ")
