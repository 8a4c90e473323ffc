"""The sandbox network over real HTTP, each part a process, each misbehaviour of a counterparty."""

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from gridflex.sandbox.beckn.behaviour import Behaviour
from gridflex.sandbox.beckn.network import SandboxNetwork
from gridflex.sandbox.beckn.parts import Part

TTL_S = 2.0
"""Long enough for a busy machine; drafts lapse after six times this."""

Contracts = list[dict[str, Any]]


def contracts(network: SandboxNetwork, part: Part) -> Contracts:
    answer = httpx.get(f"{network.base_urls[part]}/_sandbox", timeout=10).json()
    found: Contracts = answer["contracts"]
    return found


def wait(network: SandboxNetwork, part: Part, until: Callable[[Contracts], bool]) -> Contracts:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = contracts(network, part)
        if until(found):
            return found
        time.sleep(0.2)
    raise AssertionError(f"{part}: {contracts(network, part)}")


def all_are(*stages: str) -> Callable[[Contracts], bool]:
    def check(found: Contracts) -> bool:
        return bool(found) and all(one["stage"] in stages for one in found)

    return check


def network(**behaviours: Behaviour) -> SandboxNetwork:
    return SandboxNetwork(
        behaviours={Part(name): behaviour for name, behaviour in behaviours.items()},
        ttl_s=TTL_S,
        every_s=1.0,
    )


@pytest.mark.parametrize("behaviour", [Behaviour.ACCEPT, Behaviour.TWICE])
@pytest.mark.parametrize("who", ["utility", "aggregator"])
def test_three_blocks_are_sold_once_each(who: str, behaviour: Behaviour) -> None:
    with network(**{who: behaviour}) as net:
        bought = wait(net, Part.UTILITY, lambda found: len(found) >= 3 and all_are("active")(found))
        time.sleep(2)
        sold = contracts(net, Part.AGGREGATOR)
        holds = httpx.get(f"{net.base_urls[Part.AGGREGATOR]}/_sandbox").json()["holds"]

    assert sorted(holds) == ["simulated-1", "simulated-2", "simulated-3"]
    assert {one["transaction_id"] for one in bought} == {one["transaction_id"] for one in sold}
    assert [one["stage"] for one in sold] == ["active"] * 3


@pytest.mark.parametrize(
    ("who", "behaviour", "stages", "code"),
    [
        ("aggregator", Behaviour.REFUSE, {"refused"}, "POL_ENGAGEMENT_REFUSED"),
        ("aggregator", Behaviour.HAGGLE, {"cancelled"}, None),
        ("aggregator", Behaviour.TIME_OUT, {"expired"}, None),
        ("aggregator", Behaviour.SIGN_WRONGLY, {"expired"}, None),
        ("utility", Behaviour.HAGGLE, {"refused"}, "BIZ_PRICE_MISMATCH"),
        ("utility", Behaviour.SIGN_WRONGLY, {"refused"}, "AUT_SIGNATURE_INVALID"),
    ],
)
def test_a_buyer_is_left_with_nothing_open(
    who: str, behaviour: Behaviour, stages: set[str], code: str | None
) -> None:
    with network(**{who: behaviour}) as net:
        found = wait(net, Part.UTILITY, lambda some: any(one["stage"] in stages for one in some))
        ended = [one for one in found if one["stage"] in stages]

    assert {one["reason_code"] for one in ended} == {code}
    assert all(one["reason"] for one in ended)
    assert not [one for one in found if one["stage"] in {"active", "complete"}]


def test_a_seller_forgets_a_buyer_that_goes_silent() -> None:
    with network() as net:
        base = net.base_urls[Part.AGGREGATOR]
        other = net.base_urls[Part.UTILITY]
        httpx.put(f"{other}/_sandbox/behaviour", json={"behaviour": "time-out"}).raise_for_status()
        sold = wait(net, Part.AGGREGATOR, lambda some: not some or all_are(*ENDED)(some))
        holds = httpx.get(f"{base}/_sandbox").json()["holds"]

    assert len(holds) == len([one for one in sold if one["stage"] == "active"])


ENDED = ("active", "complete", "cancelled", "refused", "expired")
