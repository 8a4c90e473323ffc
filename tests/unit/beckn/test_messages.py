"""What is accepted as a message, and how a refusal says where the fault is."""

import json
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.beckn.messaging.acknowledging import ack, nack, read_acknowledgement
from gridflex.beckn.wire.context import DIRECTION, utc, zulu
from gridflex.beckn.wire.errors import CODES, BecknError, Code, http_status, is_retryable
from gridflex.beckn.wire.messages import compose, parse
from gridflex.beckn.wire.payloads import MODELS
from tests.shared import shared_data
from tests.unit.beckn.wire import BAP, NOW, body, context, contract, message

UC1 = ("beckn", "examples", "demand-flex-2026", "uc1-bdr-w-baselining")


def examples() -> list[Path]:
    return sorted(shared_data(*UC1).glob("*.json"))


def test_every_official_demand_flex_example_is_read() -> None:
    read = {path.name: parse(path.read_bytes()) for path in examples()}

    assert len(read) == 15
    assert {one.action for one in read.values()} == {
        "catalog/publish",
        "discover",
        *("select", "on_select", "init", "confirm", "on_confirm"),
        *("on_init", "update", "on_status"),
    }


def test_what_is_read_from_an_official_example_is_written_back_whole() -> None:
    for path in examples():
        original = json.loads(path.read_text(), object_hook=_without_remarks)

        again = json.loads(compose_again(path.read_bytes()))

        assert again["message"] == original["message"], path.name
        assert again["context"].keys() == original["context"].keys()


def _without_remarks(values: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if not k.startswith("_")}


def compose_again(raw: bytes) -> bytes:
    read = parse(raw)
    return compose(read.context, read.payload, error=read.error).raw


@pytest.mark.parametrize(
    ("changes", "code", "path"),
    [
        pytest.param({"bapId": None}, "CTX_MISSING_FIELD", "$.context.bapId", id="no bapId"),
        pytest.param({"bppUri": None}, "CTX_MISSING_FIELD", "$.context.bppUri", id="no bppUri"),
        pytest.param({"networkId": None}, "CTX_MISSING_FIELD", "$.context.networkId", id="network"),
        pytest.param({"messageId": None}, "CTX_MISSING_FIELD", "$.context.messageId", id="no id"),
        pytest.param({"timestamp": None}, "CTX_MISSING_FIELD", "$.context.timestamp", id="no time"),
        pytest.param({"version": "1.1.0"}, "CTX_VERSION_UNSUPPORTED", "$.context.version", id="v1"),
        pytest.param(
            {"messageId": "m-1"}, "CTX_INVALID_FIELD", "$.context.messageId", id="no uuid"
        ),
        pytest.param(
            {"timestamp": 1751371200}, "CTX_INVALID_FIELD", "$.context.timestamp", id="unix time"
        ),
        pytest.param(
            {"timestamp": "2026-07-01T12:00:00"},
            "CTX_INVALID_FIELD",
            "$.context.timestamp",
            id="no zone",
        ),
        pytest.param(
            {"bapUri": "ftp://bap.example.com"}, "CTX_INVALID_FIELD", "$.context.bapUri", id="ftp"
        ),
        pytest.param(
            {"message_id": "x"}, "CTX_INVALID_FIELD", "$.context.message_id", id="snake case"
        ),
        pytest.param({"action": "search"}, "CTX_ACTION_MISMATCH", "$.context.action", id="v1 verb"),
    ],
)
def test_a_context_that_breaks_the_profile_is_refused(
    changes: dict[str, Any], code: str, path: str
) -> None:
    with pytest.raises(BecknError) as refused:
        parse(body("confirm", **changes))

    assert (refused.value.code, refused.value.path) == (code, path)


def with_contract(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"contract": {**contract(), **changes}}


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        pytest.param({}, "SCH_REQUIRED_FIELD_MISSING", id="no contract"),
        pytest.param(with_contract(commitments=[]), "SCH_SCHEMA_VALIDATION_FAILED", id="nothing"),
        pytest.param(with_contract(state="DRAFT"), "SCH_FIELD_NOT_ALLOWED", id="unknown key"),
        pytest.param(with_contract(status={"code": "OPEN"}), "SCH_INVALID_ENUM", id="no state"),
        pytest.param(
            with_contract(contractAttributes={"@type": "X"}), "SCH_INVALID_FORMAT", id="no @context"
        ),
        pytest.param({**with_contract(), "order": {}}, "SCH_FIELD_NOT_ALLOWED", id="extra member"),
        pytest.param({"order": {}}, "SCH_REQUIRED_FIELD_MISSING", id="the older dialect"),
    ],
)
def test_a_payload_that_breaks_its_model_is_refused(payload: dict[str, Any], code: str) -> None:
    with pytest.raises(BecknError) as refused:
        parse(body("select", payload))

    assert refused.value.code == code


@pytest.mark.parametrize(
    ("part", "missing"), [("offer", "resourceIds"), ("offer", "id"), ("resources", "quantity")]
)
def test_a_commitment_names_its_offer_and_its_quantities(part: str, missing: str) -> None:
    values = contract()
    held = values["commitments"][0][part]
    del (held[0] if isinstance(held, list) else held)[missing]

    with pytest.raises(BecknError, match="SCH_REQUIRED_FIELD_MISSING") as refused:
        parse(body("init", {"contract": values}))

    assert missing in str(refused.value.path)


@pytest.mark.parametrize("action", ["status", "cancel"])
def test_status_and_cancel_name_the_contract(action: str) -> None:
    with pytest.raises(BecknError, match="SCH_REQUIRED_FIELD_MISSING"):
        parse(body(action))

    assert parse(body(action, with_contract(id="c-1"))).contract.id == "c-1"


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut off"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b'{"context":NaN}', id="not a number"),
        pytest.param(b"[" * 100_000, id="nested without end"),
        pytest.param(b"\xff\xfe{}", id="not UTF-8"),
        pytest.param(b'{"a":"\\ud800"}', id="half a surrogate"),
    ],
)
def test_what_is_not_json_is_refused_as_such(raw: bytes) -> None:
    with pytest.raises(BecknError) as refused:
        parse(raw)

    assert refused.value.code in {"SCH_INVALID_JSON", "CTX_MISSING_FIELD"}


def test_text_that_no_database_keeps_is_refused() -> None:
    with pytest.raises(BecknError, match="SCH_INVALID_FORMAT"):
        parse(body("confirm", with_contract(id="a\x00b")))


def test_the_path_and_the_context_name_the_same_action() -> None:
    with pytest.raises(BecknError, match="CTX_ACTION_MISMATCH"):
        parse(body("confirm"), action="init")


def test_a_message_counts_until_its_ttl_has_run_out() -> None:
    read = parse(body("confirm", ttl="PT30S")).context

    read.require_fresh(NOW + timedelta(seconds=29))
    with pytest.raises(BecknError, match="CTX_TTL_EXPIRED"):
        read.require_fresh(NOW + timedelta(seconds=30))


def test_a_message_without_ttl_does_not_expire() -> None:
    parse(body("confirm")).context.require_fresh(NOW + timedelta(days=365))


@pytest.mark.parametrize("ttl", ["30", "soon", "P", "PT", "P99999999Y"])
def test_a_ttl_that_is_no_duration_is_refused(ttl: str) -> None:
    with pytest.raises(BecknError, match="CTX_INVALID_FIELD"):
        parse(body("confirm", ttl=ttl)).context.require_fresh(NOW)


def test_discovery_needs_no_seller_and_publishing_no_buyer() -> None:
    intent = {"intent": {"textSearch": "flexibility"}}
    catalogs = {
        "catalogs": [
            {"id": "c", "descriptor": {}, "provider": {"id": "p", "descriptor": {}}, "offers": []}
        ]
    }

    asked = parse(body("discover", intent, bppId=None, bppUri=None))
    published = parse(body("catalog/publish", catalogs, bapId=None, bapUri=None))

    assert asked.context.sender == BAP.subscriber_id
    assert published.context.sender == "bpp.example.com"


def test_there_are_76_codes_and_each_has_a_status() -> None:
    assert len(CODES) == 76
    assert set(Code) <= CODES
    assert http_status("SCH_INVALID_JSON") == 400
    assert http_status("AUT_SIGNATURE_INVALID") == 401
    assert http_status("AUT_UNAUTHORIZED_ACTION") == 403
    assert http_status("BIZ_ALREADY_CONFIRMED") == 409
    assert http_status("AUT_RATE_LIMITED") == 429
    assert http_status("NET_TIMEOUT") == 504
    assert {http_status(code) for code in CODES} <= set(HTTPStatus)
    assert is_retryable("NET_OVERLOADED")
    assert not is_retryable("SCH_INVALID_JSON")


def test_every_action_has_a_model_and_a_direction() -> None:
    assert MODELS.keys() == DIRECTION.keys()
    assert len(MODELS) == 22


def test_an_acknowledgement_reads_back_as_what_it_says() -> None:
    error = BecknError(Code.SCH_INVALID_ENUM, "no such state", path="$.message")

    accepted, refused = ack("m"), nack("m", error, realm="us.example.com")

    assert read_acknowledgement(accepted.status, accepted.body).is_ack
    read = read_acknowledgement(refused.status, refused.body)
    assert not read.is_ack
    assert read.error is not None
    assert read.error.code == "SCH_INVALID_ENUM"
    assert not read.may_retry


@pytest.mark.parametrize(
    ("status", "raw", "is_ack", "code"),
    [
        pytest.param(200, {"message": {"ack": {"status": "ACK"}}}, True, None, id="v1 ack"),
        pytest.param(
            200,
            {"message": {"ack": {"status": "NACK"}}, "error": {"code": "30001", "message": "?"}},
            False,
            "BIZ_GENERIC_ERROR",
            id="v1 nack in a 200",
        ),
        pytest.param(200, {"status": "ACK", "signature": "s"}, True, None, id="LTS ack"),
        pytest.param(
            401,
            {"status": "NACK", "error": {"errorCode": "AUT_KEY_NOT_FOUND", "errorMessage": "?"}},
            False,
            "AUT_KEY_NOT_FOUND",
            id="LTS nack",
        ),
        pytest.param(500, {}, False, "NET_DOWNSTREAM_UNAVAILABLE", id="a bare failure"),
    ],
)
def test_older_acknowledgements_are_understood(
    raw: dict[str, Any], code: str | None, *, status: int, is_ack: bool
) -> None:
    read = read_acknowledgement(status, json.dumps(raw).encode())

    assert read.is_ack is is_ack
    assert (read.error.code if read.error else None) == code


def test_an_accepted_request_without_callback_is_not_waited_for() -> None:
    assert not read_acknowledgement(202, b'{"message":{"status":"ACK"}}').expects_callback


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b"[" * 100_000])
def test_an_answer_that_is_not_json_counts_by_its_status(raw: bytes) -> None:
    assert read_acknowledgement(200, raw).is_ack
    assert read_acknowledgement(503, raw).may_retry


def test_a_late_failure_is_written_beside_the_contract() -> None:
    failed = message(
        "on_confirm", "CANCELLED", error={"code": "BIZ_QUANTITY_UNAVAILABLE", "message": "sold"}
    )

    again = parse(compose(failed.context, failed.payload, error=failed.error).raw)

    assert again.error is not None
    assert again.error.code == "BIZ_QUANTITY_UNAVAILABLE"
    assert again.contract.code == "CANCELLED"


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_survives_the_wire_to_the_millisecond(moment: datetime) -> None:
    exact = moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    assert utc(zulu(exact)) == exact
    assert zulu(exact).endswith("Z")


@given(
    st.recursive(
        st.none() | st.booleans() | st.text(), lambda c: st.lists(c) | st.dictionaries(st.text(), c)
    )
)
def test_any_json_is_read_or_refused_with_a_code(value: Any) -> None:  # noqa: ANN401
    for raw in (
        value,
        {"context": value, "message": value},
        {"context": context("select"), "message": value},
    ):
        assert refusal(json.dumps(raw).encode()) in {*CODES, None}


def refusal(raw: bytes) -> str | None:
    try:
        parse(raw)
    except BecknError as error:
        return error.code
    return None
