"""What a search finds, in both dialects, and what is refused as neither."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.beckn.roles.buying import discovery
from gridflex.beckn.roles.discovering import CatalogService
from gridflex.beckn.roles.filtering import parse_filter
from gridflex.beckn.wire.errors import BecknError
from gridflex.beckn.wire.messages import parse
from gridflex.beckn.wire.payloads import CatalogsMessage, Intent, PublishedMessage
from tests.shared import shared_data
from tests.unit.beckn.house import Trade
from tests.unit.beckn.wire import BPP, NETWORK, NOW, body

ITEM = {
    "id": "c1",
    "provider": {"id": "p1", "rating": 4.5},
    "resources": [
        {"id": "r1", "attrs": {"@type": "Load", "start": "2026-04-01T08:30:00Z", "kw": 200}},
        {"id": "r2", "attrs": {"@type": "Need", "start": "2026-05-01T08:30:00Z", "kw": 50}},
    ],
    "isActive": True,
}
UC1 = ("beckn", "examples", "demand-flex-2026", "uc1-bdr-w-baselining")


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("$[?(@.provider.rating >= 4.0)]", True),
        ("$[?@.provider.rating > 4.5]", False),
        ("$[?(@.provider['id'] == 'p1' && @.resources[0].attrs.kw == 200)]", True),
        ("$.catalogs[*] ? (@.provider.id == 'p2' || exists(@.resources))", True),
        ("$.catalogs[*] ? (exists(@.offers))", False),
        ("$.catalogs[*] ? (!(exists(@.offers)))", True),
        ('$.catalogs[*] ? (@.resources[*].attrs."@type" == "Need")', True),
        ("$.catalogs[*] ? (@.resources.id == 'r2')", True),
        ("$.catalogs[*] ? (@.resources[*].attrs.start < '2026-04-01T09:00:00Z')", True),
        ("$.catalogs[*] ? (@.resources[*].attrs.kw > 200)", False),
        ("$.catalogs[*] ? (@.provider.id > 4)", False),
        ("$.catalogs[*] ? (@.provider.id <> 'p2')", True),
        ("$.catalogs[*] ? (@.resources[9].id == 'r1')", False),
        ("$.catalogs[*] ? (@.* == 'c1')", True),
    ],
)
def test_both_dialects_mean_what_they_say(expression: str, *, holds: bool) -> None:
    assert parse_filter(expression)(ITEM) is holds


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "$",
        "$..price",
        "@.a == 1",
        "$.catalogs[*] ? (@.a == )",
        "$.catalogs[*] ? (@.a in ['x'])",
        "$.catalogs[*] ? (@.a =~ /x/)",
        "$[?(@.a == 1)] trailing",
        "$[?(" + "!" * 100 + "@.a)]",
        "$[?(" + "(" * 2_000,
        "$.catalogs[*] ? (@.a == 'open",
    ],
)
def test_what_is_neither_dialect_is_refused(expression: str) -> None:
    with pytest.raises(BecknError, match="SCH_INVALID_JSONPATH"):
        parse_filter(expression)


@given(st.text(st.sampled_from("$@.[]()?*'\"!&|<>=ab1 "), max_size=60))
def test_no_expression_breaks_the_parser(text: str) -> None:
    try:
        parse_filter(text)(ITEM)
    except BecknError as error:
        reason = error.code
    else:
        reason = "SCH_INVALID_JSONPATH"

    assert reason == "SCH_INVALID_JSONPATH"


async def publish(service: CatalogService, raw: bytes) -> PublishedMessage:
    reaction = await service.react(parse(raw), None, now=NOW)
    payload = reaction.sayings[0].payload
    assert isinstance(payload, PublishedMessage)
    return payload


async def ours() -> CatalogService:
    service = CatalogService()
    wire = (await Trade().catalogs()).catalogs[0].to_wire()
    payload = {"catalogs": [wire]}
    await publish(service, body("catalog/publish", payload, bapId=None, bapUri=None))
    return service


def found(service: CatalogService, after: timedelta = timedelta(0), **intent: Any) -> list[str]:  # noqa: ANN401 - JSON
    wanted = Intent.model_validate(intent)
    return [one.id for one in service.find(wanted, network=NETWORK, now=NOW + after)]


async def test_our_own_question_finds_our_own_blocks() -> None:
    service = await ours()

    reaction = await service.react(
        parse(body("discover", discovery().to_wire(), bppId=None, bppUri=None)), None, now=NOW
    )

    payload = reaction.sayings[0].payload
    assert isinstance(payload, CatalogsMessage)
    (catalog,) = payload.catalogs
    assert (catalog.bpp_id, catalog.bpp_uri) == (BPP.subscriber_id, BPP.url)


async def test_a_catalogue_is_found_until_it_ends() -> None:
    service = await ours()

    assert found(service, timedelta(minutes=59)) == ["catalog-1"]
    assert found(service, timedelta(hours=1)) == []


async def test_words_are_looked_for_everywhere() -> None:
    service = await ours()

    assert found(service, textSearch="LONDON flexible") == ["catalog-1"]
    assert found(service, textSearch="paris") == []


async def test_a_filter_on_resources_keeps_those_it_fits() -> None:
    service = CatalogService()
    wire = (await Trade(jobs=("a", "b")).catalogs()).catalogs[0].to_wire()
    await publish(service, body("catalog/publish", {"catalogs": [wire]}, bapId=None, bapUri=None))
    wanted = wire["resources"][1]["id"]

    (catalog,) = service.find(
        Intent.model_validate(
            {"filters": {"type": "jsonpath", "expression": f"$[?(@.id == '{wanted}')]"}}
        ),
        network=NETWORK,
        now=NOW,
    )

    assert [one.id for one in catalog.resources or ()] == [wanted]
    assert [one.resource_ids for one in catalog.offers or ()] == [[wanted]]


async def test_only_the_networks_named_see_it() -> None:
    service = CatalogService()
    wire = (await Trade().catalogs()).catalogs[0].to_wire()
    directive = {"catalogId": "catalog-1", "catalogType": "REGULAR", "visibleTo": ["other/net"]}
    payload = {"catalogs": [wire], "publishDirectives": [directive]}
    await publish(service, body("catalog/publish", payload, bapId=None, bapUri=None))

    assert found(service) == []


async def test_nobody_publishes_for_another() -> None:
    wire = (await Trade().catalogs()).catalogs[0].to_wire() | {"bppId": "x.example.com"}
    payload = {"catalogs": [wire]}

    answer = await publish(
        CatalogService(), body("catalog/publish", payload, bapId=None, bapUri=None)
    )

    assert answer.results[0].status == "REJECTED"


async def test_the_official_catalogue_is_found_by_the_official_question() -> None:
    service = CatalogService()
    await publish(service, shared_data(*UC1, "publish-catalog.json").read_bytes())
    asked = parse(shared_data(*UC1, "discover-request.json").read_bytes())

    reaction = await service.react(asked, None, now=NOW)

    payload = reaction.sayings[0].payload
    assert isinstance(payload, CatalogsMessage)
    assert [one.id for one in payload.catalogs] == ["catalog-flex-tpddl-2026-04"]


@pytest.mark.parametrize(("reach_m", "is_found"), [(4_000, True), (3_000, False)])
async def test_what_lies_within_a_distance_is_found(reach_m: float, *, is_found: bool) -> None:
    service = CatalogService()
    await publish(service, shared_data(*UC1, "publish-catalog.json").read_bytes())
    near = {
        "op": "S_DWITHIN",
        "targets": "$.resources[*].resourceAttributes.location.geo",
        "geometry": {"type": "Point", "coordinates": [77.209, 28.6462]},
        "distanceMeters": reach_m,
    }
    intent = Intent.model_validate({"spatial": [near]})

    assert bool(service.find(intent, network="nfh.global/testnet-deg", now=NOW)) is is_found


async def test_a_predicate_that_is_not_supported_is_refused() -> None:
    service = await ours()
    odd = {"op": "S_CROSSES", "targets": "$", "geometry": {"type": "Point"}}

    with pytest.raises(BecknError, match="SCH_TYPE_NOT_SUPPORTED"):
        found(service, spatial=[odd])
