"""The sandbox network over real HTTP, each part a process, each misbehaviour of a counterparty.

All of it is one network, in which the counterparties change their behaviour while they run: what
one misbehaviour left open would be in the way of the trades at the end.
"""

import time
from collections.abc import Callable, Iterator
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
    answer = httpx.get(f"{network.base_urls[part]}/_sandbox", timeout=30).json()
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


@pytest.fixture(scope="module")
def network() -> Iterator[SandboxNetwork]:
    behaviours = {Part.AGGREGATOR: Behaviour.REFUSE}
    with SandboxNetwork(behaviours=behaviours, ttl_s=TTL_S, every_s=1.0) as net:
        yield net


def behave(network: SandboxNetwork, part: Part, behaviour: Behaviour) -> None:
    url = f"{network.base_urls[part]}/_sandbox/behaviour"
    httpx.put(url, json={"behaviour": behaviour}).raise_for_status()


@pytest.mark.parametrize(
    ("who", "behaviour", "stage", "code"),
    [
        (Part.AGGREGATOR, Behaviour.REFUSE, "refused", "POL_ENGAGEMENT_REFUSED"),
        (Part.AGGREGATOR, Behaviour.HAGGLE, "cancelled", None),
        (Part.AGGREGATOR, Behaviour.TIME_OUT, "expired", None),
        (Part.AGGREGATOR, Behaviour.SIGN_WRONGLY, "expired", None),
        (Part.UTILITY, Behaviour.REFUSE, "expired", None),
        (Part.UTILITY, Behaviour.TIME_OUT, "expired", None),
        (Part.UTILITY, Behaviour.HAGGLE, "refused", "BIZ_PRICE_MISMATCH"),
        (Part.UTILITY, Behaviour.SIGN_WRONGLY, "refused", "AUT_SIGNATURE_INVALID"),
    ],
)
def test_a_buyer_is_left_with_nothing_open(
    network: SandboxNetwork, who: Part, behaviour: Behaviour, stage: str, code: str | None
) -> None:
    (other,) = {Part.AGGREGATOR, Part.UTILITY} - {who}
    behave(network, who, behaviour)
    behave(network, other, Behaviour.ACCEPT)
    known = {one["transaction_id"] for one in contracts(network, Part.UTILITY)}

    def spoilt(found: Contracts) -> Contracts:
        new = [one for one in found if one["transaction_id"] not in known]
        return [one for one in new if (one["stage"], one["reason_code"]) == (stage, code)]

    found = wait(network, Part.UTILITY, lambda some: bool(spoilt(some)))

    assert all(one["reason"] for one in spoilt(found))
    assert not [one for one in found if one["stage"] in {"active", "complete"}]


def test_three_blocks_are_sold_once_each_though_all_is_said_twice(network: SandboxNetwork) -> None:
    for part in (Part.UTILITY, Part.AGGREGATOR):
        behave(network, part, Behaviour.TWICE)

    def settled(found: Contracts) -> bool:
        return len(active(found)) >= 3 and not [one for one in found if one["stage"] not in ENDED]

    bought = active(wait(network, Part.UTILITY, settled))
    time.sleep(2)
    sold = active(wait(network, Part.AGGREGATOR, settled))
    holds = httpx.get(f"{network.base_urls[Part.AGGREGATOR]}/_sandbox").json()["holds"]

    assert sorted(holds) == ["simulated-1", "simulated-2", "simulated-3"]
    assert {one["transaction_id"] for one in bought} == {one["transaction_id"] for one in sold}
    assert len(sold) == 3


def active(found: Contracts) -> Contracts:
    return [one for one in found if one["stage"] == "active"]


ENDED = ("active", "complete", "cancelled", "refused", "expired")
