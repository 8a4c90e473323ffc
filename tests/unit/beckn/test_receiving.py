"""What a participant answers to good, bad, repeated and stray messages."""

import json
from datetime import timedelta
from typing import Any

import pytest

from gridflex.beckn.contracts.lifecycle import open_contract
from gridflex.beckn.contracts.states import Patience, Side
from gridflex.beckn.messaging.acknowledging import Reply
from gridflex.beckn.messaging.receiving import Incoming, Receiver
from gridflex.beckn.trust.registry import StaticRegistry
from gridflex.beckn.trust.signing import (
    SignatureHeader,
    SigningKey,
    digest,
    is_signed_by,
    public_key,
)
from gridflex.beckn.trust.verification import Background, TrustPolicy
from gridflex.beckn.wire.context import Context
from gridflex.errors import SourceError
from tests.unit.beckn.wire import (
    BAP,
    BAP_KEY,
    BPP,
    BPP_KEY,
    NETWORK,
    NOW,
    POLICY,
    TRANSACTION,
    body,
    key,
    message,
    registry,
    subscriber,
)

MESSAGE = "54fb3f15-48aa-4408-bca4-52486b767679"
SENT = body("confirm", messageId=MESSAGE)
SENT_SIGNATURE = BAP_KEY.sign(SENT, now=NOW).signature


OPEN = open_contract(message("select"), side=Side.BAP, now=NOW, patience=Patience()).state


class ListInbox:
    """Keeps messages in a list; knows one open transaction and one request we sent."""

    def __init__(self, *, sent: dict[str, tuple[str, bytes]] | None = None) -> None:
        self.kept: list[Incoming] = []
        self.sent = sent or {}

    async def background(self, context: Context, *, sender: str) -> Background:
        sent = self.sent.get(context.message_id)
        return Background(
            earlier=tuple(
                one.signature
                for one in self.kept
                if one.sender == sender and one.message.context.message_id == context.message_id
            ),
            request_signature=sent[0] if sent else None,
            request_body=sent[1] if sent else None,
            state=OPEN if context.transaction_id == TRANSACTION else None,
        )

    async def keep(self, incoming: Incoming) -> bool:
        self.kept.append(incoming)
        return True


def bpp(inbox: ListInbox, *, records: StaticRegistry | None = None) -> Receiver:
    return Receiver(BPP, key=BPP_KEY, inbox=inbox, registry=records or registry(), policy=POLICY)


def bap(inbox: ListInbox, *, policy: TrustPolicy = POLICY) -> Receiver:
    return Receiver(BAP, key=BAP_KEY, inbox=inbox, registry=registry(), policy=policy)


def code_of(reply: Reply) -> str | None:
    error = json.loads(reply.body)["message"].get("error")
    return error["code"] if error else None


async def send(
    receiver: Receiver,
    action: str,
    raw: bytes,
    *,
    signing: SigningKey = BAP_KEY,
    request_signature: str | None = None,
    after: timedelta = timedelta(0),
) -> Reply:
    header = signing.sign(raw, now=NOW, request_signature=request_signature)
    return await receiver.receive(action, raw, authorization=str(header), now=NOW + after)


async def test_a_good_request_is_kept_and_then_acknowledged() -> None:
    inbox = ListInbox()

    reply = await send(bpp(inbox), "confirm", SENT)

    assert reply.status == 200
    assert json.loads(reply.body) == {"message": {"status": "ACK", "messageId": MESSAGE}}
    assert [one.message.raw for one in inbox.kept] == [SENT]


async def test_the_acknowledgement_is_signed_over_the_request_it_answers() -> None:
    reply = await send(bpp(ListInbox()), "confirm", SENT)
    header = SignatureHeader.parse(reply.headers["Signature"])

    assert header.is_bound
    assert is_signed_by(
        public_key(BPP_KEY.public_base64), header, reply.body, request_signature=SENT_SIGNATURE
    )


async def test_the_same_request_again_is_a_replay_and_another_with_its_id_a_duplicate() -> None:
    inbox = ListInbox()
    receiver = bpp(inbox)
    await send(receiver, "confirm", SENT)

    again = await send(receiver, "confirm", SENT)
    other = await send(receiver, "init", body("init", messageId=MESSAGE))

    assert (again.status, code_of(again)) == (401, "AUT_REPLAY_DETECTED")
    assert (other.status, code_of(other)) == (400, "CTX_MESSAGE_ID_DUPLICATE")
    assert len(inbox.kept) == 1


async def test_an_answer_to_our_request_must_cover_its_signature() -> None:
    inbox = ListInbox(sent={MESSAGE: (SENT_SIGNATURE, SENT)})
    answer = body("on_confirm", messageId=MESSAGE)

    bound = await send(
        bap(inbox), "on_confirm", answer, signing=BPP_KEY, request_signature=SENT_SIGNATURE
    )
    loose = await send(bap(ListInbox(sent=inbox.sent)), "on_confirm", answer, signing=BPP_KEY)
    lenient = TrustPolicy(networks=POLICY.networks, must_bind=False)
    tolerated = await send(
        bap(ListInbox(sent=inbox.sent), policy=lenient), "on_confirm", answer, signing=BPP_KEY
    )

    assert bound.status == 200
    assert inbox.kept[0].answers == SENT_SIGNATURE
    assert (loose.status, code_of(loose)) == (401, "AUT_SIGNATURE_INVALID")
    assert tolerated.status == 200


async def test_the_same_callback_again_is_acknowledged_without_effect() -> None:
    inbox = ListInbox()
    receiver = bap(inbox)
    report = body("on_status", messageId=MESSAGE)

    first = await send(receiver, "on_status", report, signing=BPP_KEY)
    again = await send(receiver, "on_status", report, signing=BPP_KEY)

    assert (first.status, again.status) == (200, 200)
    assert len(inbox.kept) == 1


async def test_several_callbacks_may_share_a_message_id() -> None:
    inbox = ListInbox()
    receiver = bap(inbox)

    for step in range(3):
        report = body("on_status", messageId=MESSAGE, ttl=f"PT{step + 1}M")
        assert (await send(receiver, "on_status", report, signing=BPP_KEY)).status == 200

    assert len(inbox.kept) == 3


async def test_a_report_about_a_transaction_we_do_not_know_is_refused() -> None:
    stray = body("on_status", transactionId="11111111-2222-3333-4444-555555555555")

    reply = await send(bap(ListInbox()), "on_status", stray, signing=BPP_KEY)

    assert (reply.status, code_of(reply)) == (400, "CTX_TRANSACTION_ID_UNKNOWN")


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        pytest.param({"networkId": "other/net"}, 403, "AUT_DOMAIN_NOT_ALLOWED", id="network"),
        pytest.param({"bapId": "x.example.com"}, 403, "AUT_UNAUTHORIZED_ACTION", id="another"),
        pytest.param({"bapUri": "https://x/b"}, 400, "CTX_INVALID_FIELD", id="its address"),
        pytest.param({"bppUri": "https://x/b"}, 400, "CTX_INVALID_BPP_URI", id="our address"),
        pytest.param({"bppId": "x.example.com"}, 400, "CTX_INVALID_FIELD", id="not for us"),
        pytest.param(
            {"timestamp": "2026-07-01T11:00:00Z", "ttl": "PT1H"}, 400, "CTX_TTL_EXPIRED", id="late"
        ),
        pytest.param({"action": "init"}, 400, "CTX_ACTION_MISMATCH", id="another action"),
    ],
)
async def test_a_signed_message_that_claims_something_wrong_is_refused(
    changes: dict[str, Any], status: int, code: str
) -> None:
    inbox = ListInbox()

    reply = await send(bpp(inbox), "confirm", body("confirm", messageId=MESSAGE, **changes))

    assert (reply.status, code_of(reply)) == (status, code)
    assert json.loads(reply.body)["message"]["messageId"] == MESSAGE
    assert "Signature" in reply.headers
    assert not inbox.kept


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param({"is_revoked": True}, "AUT_KEY_EXPIRED_OR_REVOKED", id="revoked"),
        pytest.param(
            {"valid_until": NOW - timedelta(seconds=1)}, "AUT_KEY_EXPIRED_OR_REVOKED", id="too old"
        ),
        pytest.param(
            {"valid_from": NOW + timedelta(days=1)}, "AUT_KEY_EXPIRED_OR_REVOKED", id="too new"
        ),
        pytest.param(
            {"networks": frozenset({"elsewhere"})}, "AUT_DOMAIN_NOT_ALLOWED", id="no member"
        ),
    ],
)
async def test_a_key_that_does_not_count_is_refused(change: dict[str, Any], code: str) -> None:
    records = StaticRegistry([subscriber(BAP_KEY, BAP, "BAP", **change)])

    reply = await send(bpp(ListInbox(), records=records), "confirm", SENT)

    assert code_of(reply) == code


async def test_strangers_and_unknown_keys_are_told_apart() -> None:
    unknown = key("bap.example.com", 9, name="k9")
    stranger = key("stranger.example.com", 9)

    by_key = await send(bpp(ListInbox()), "confirm", SENT, signing=unknown)
    by_name = await send(bpp(ListInbox()), "confirm", SENT, signing=stranger)

    assert (by_key.status, code_of(by_key)) == (401, "AUT_KEY_NOT_FOUND")
    assert (by_name.status, code_of(by_name)) == (401, "AUT_SUBSCRIBER_NOT_FOUND")


async def test_a_message_without_a_signature_gets_an_unsigned_refusal_and_a_challenge() -> None:
    reply = await bpp(ListInbox()).receive("confirm", SENT, authorization=None, now=NOW)

    assert (reply.status, code_of(reply)) == (401, "AUT_SIGNATURE_MISSING")
    assert "Signature" not in reply.headers
    assert 'realm="bpp.example.com"' in reply.headers["WWW-Authenticate"]


async def test_signed_rubbish_is_refused_as_rubbish() -> None:
    reply = await send(bpp(ListInbox()), "confirm", b"{not json")

    assert (reply.status, code_of(reply)) == (400, "SCH_INVALID_JSON")
    assert json.loads(reply.body)["message"]["messageId"] == "00000000-0000-0000-0000-000000000000"


async def test_when_nothing_can_be_kept_the_sender_is_asked_to_come_again() -> None:
    class Broken(ListInbox):
        async def keep(self, incoming: Incoming) -> bool:
            raise SourceError(f"no room for {incoming.sender}")

    reply = await send(bpp(Broken()), "confirm", SENT)

    assert (reply.status, code_of(reply)) == (503, "NET_OVERLOADED")
    assert reply.headers["Retry-After"] == "2"


async def test_only_a_network_service_answers_discovery() -> None:
    service = key("ds.example.com", 7)
    place = type(BPP)("ds.example.com", "https://ds.example.com/beckn")
    records = StaticRegistry([subscriber(service, place, "DS"), subscriber(BPP_KEY, BPP, "BPP")])
    answer = body("on_discover", {"catalogs": []}, bppId=None, bppUri=None)
    receiver = Receiver(BAP, key=BAP_KEY, inbox=ListInbox(), registry=records, policy=POLICY)

    by_service = await send(receiver, "on_discover", answer, signing=service)
    by_seller = await send(receiver, "on_discover", answer, signing=BPP_KEY)

    assert NETWORK in POLICY.networks
    assert by_service.status == 200
    assert (by_seller.status, code_of(by_seller)) == (403, "AUT_UNAUTHORIZED_ACTION")


async def test_a_request_is_not_signed_as_an_answer() -> None:
    inbox = ListInbox(sent={MESSAGE: (SENT_SIGNATURE, SENT)})

    reply = await send(bpp(inbox), "confirm", SENT, request_signature=SENT_SIGNATURE)

    assert (reply.status, code_of(reply)) == (401, "AUT_SIGNATURE_INVALID")


@pytest.mark.parametrize(("answered", "status"), [(SENT, 200), (SENT + b" ", 401)])
async def test_a_request_digest_is_that_of_the_request(answered: bytes, status: int) -> None:
    inbox = ListInbox(sent={MESSAGE: (SENT_SIGNATURE, SENT)})
    claimed = {"digest": f"BLAKE-512={digest(answered)}", "messageId": MESSAGE}
    answer = body("on_confirm", messageId=MESSAGE, requestDigest=claimed)

    reply = await send(
        bap(inbox), "on_confirm", answer, signing=BPP_KEY, request_signature=SENT_SIGNATURE
    )

    assert reply.status == status
