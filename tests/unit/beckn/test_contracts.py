"""The life of a contract under late, repeated, missing and contradictory messages."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.beckn.contracts.lifecycle import advance, give_up, lapse, open_contract
from gridflex.beckn.contracts.states import (
    ContractState,
    Patience,
    Side,
    Stage,
    state_from_json,
    state_to_json,
)
from gridflex.beckn.wire.entities import Performance
from gridflex.beckn.wire.errors import BecknError
from gridflex.beckn.wire.messages import Message
from gridflex.beckn.wire.payloads import ContractMessage
from tests.unit.beckn.wire import NOW, message

PATIENCE = Patience(answer=timedelta(minutes=5), draft=timedelta(minutes=30))
S = timedelta(seconds=1)


def run(*messages: Message, side: Side = Side.BAP) -> ContractState:
    state = open_contract(messages[0], side=side, now=NOW, patience=PATIENCE).state
    for one in messages[1:]:
        state = advance(state, one, now=NOW, patience=PATIENCE).state
    return state


def to(stage: Stage, *, side: Side = Side.BAP) -> ContractState:
    path = [
        message("select", contract_id=None),
        message("on_select", after=S),
        message("init", after=2 * S),
        message("on_init", after=3 * S),
        message("confirm", after=4 * S),
        message("on_confirm", "ACTIVE", after=5 * S),
        message("on_status", "COMPLETE", after=6 * S),
    ]
    reached = list(Stage)[: len(path)].index(stage)
    return run(*path[: reached + 1], side=side)


def step(state: ContractState, one: Message) -> ContractState:
    return advance(state, one, now=NOW, patience=PATIENCE).state


@pytest.mark.parametrize("side", Side)
@pytest.mark.parametrize("stage", list(Stage)[:7])
def test_both_sides_come_to_the_same_stage_by_the_same_messages(stage: Stage, side: Side) -> None:
    assert to(stage, side=side).stage is stage


def test_only_who_asks_waits_for_an_answer() -> None:
    asking = to(Stage.CONFIRMING).awaiting
    assert asking is not None
    assert (asking.action, asking.until) == ("confirm", NOW + timedelta(minutes=5))
    assert to(Stage.CONFIRMING, side=Side.BPP).awaiting is None


def test_a_request_with_a_ttl_is_waited_for_as_long() -> None:
    asked = message("confirm", ttl="PT30S")

    waiting = step(to(Stage.INITIALISED), asked).awaiting

    assert waiting is not None
    assert waiting.until == NOW + timedelta(seconds=30)


def test_the_answer_ends_the_waiting_and_another_message_does_not() -> None:
    asked = message("confirm", after=4 * S)
    state = step(to(Stage.INITIALISED), asked)
    answer = message("on_confirm", "ACTIVE", after=5 * S, messageId=asked.context.message_id)

    assert step(state, answer).awaiting is None
    assert step(state, message("on_status", after=5 * S)).awaiting is not None


def test_a_report_that_overtakes_the_confirmation_makes_the_contract_active() -> None:
    state = step(to(Stage.CONFIRMING), message("on_status", "ACTIVE", after=7 * S))

    late = advance(state, message("on_confirm", "ACTIVE", after=5 * S), now=NOW, patience=PATIENCE)

    assert state.stage is Stage.ACTIVE
    assert late.state.stage is Stage.ACTIVE
    assert late.is_stale


def test_a_late_quote_does_not_undo_a_contract() -> None:
    assert step(to(Stage.ACTIVE), message("on_select", after=9 * S)).stage is Stage.ACTIVE


def test_the_confirmation_twice_is_one_contract() -> None:
    once = to(Stage.ACTIVE)

    assert step(once, message("on_confirm", "ACTIVE", after=5 * S)).stage is Stage.ACTIVE


def test_pages_of_meters_that_come_after_the_settlement_are_still_taken_in() -> None:
    settled = to(Stage.COMPLETE)
    performance = {"id": "p", "performanceAttributes": {"@context": "x", "@type": "Y"}}
    late = message("on_status", "COMPLETE", after=timedelta(hours=9))
    contract = late.contract.model_copy(
        update={"performance": [Performance.model_validate(performance)]}
    )
    late = replace(late, payload=ContractMessage(contract=contract))

    after = advance(settled, late, now=NOW, patience=PATIENCE)

    assert after.is_stale
    assert after.state.stage is Stage.COMPLETE
    assert [one.id for one in after.state.contract.performance or ()] == ["p"]


def test_a_second_contract_in_the_same_transaction_is_refused() -> None:
    other = "7f6f0d2e-0000-4000-8000-000000000000"

    with pytest.raises(BecknError, match="BIZ_UPDATE_INCONSISTENT"):
        step(to(Stage.ACTIVE), message("on_confirm", "ACTIVE", contract_id=other, after=9 * S))


@pytest.mark.parametrize(
    "failure",
    [
        pytest.param(message("on_confirm", "CANCELLED", after=9 * S), id="a cancelled contract"),
        pytest.param(
            message("on_confirm", "ACTIVE", commitment="DRAFT", after=9 * S), id="a draft promise"
        ),
        pytest.param(
            message(
                "on_confirm",
                after=9 * S,
                error={"code": "BIZ_QUANTITY_UNAVAILABLE", "message": "sold out"},
            ),
            id="an error beside a draft",
        ),
    ],
)
def test_a_failure_after_the_acknowledgement_refuses_in_each_form(failure: Message) -> None:
    state = step(to(Stage.CONFIRMING), failure)

    assert state.stage is Stage.REFUSED
    assert state.reason


def test_the_reason_of_a_late_failure_is_kept() -> None:
    failure = message(
        "on_confirm", "CANCELLED", error={"code": "BIZ_QUANTITY_UNAVAILABLE", "message": "sold out"}
    )

    state = step(to(Stage.CONFIRMING), failure)

    assert (state.reason, state.reason_code) == ("sold out", "BIZ_QUANTITY_UNAVAILABLE")


def test_an_error_beside_an_active_contract_leaves_it_active() -> None:
    told = message(
        "on_confirm",
        "ACTIVE",
        after=9 * S,
        error={"code": "BIZ_ALREADY_CONFIRMED", "message": "twice"},
    )

    assert step(to(Stage.ACTIVE), told).stage is Stage.ACTIVE


@pytest.mark.parametrize(
    ("stage", "action", "code"),
    [
        (Stage.ACTIVE, "confirm", "BIZ_ALREADY_CONFIRMED"),
        (Stage.ACTIVE, "select", "BIZ_ALREADY_CONFIRMED"),
        (Stage.QUOTED, "confirm", "BIZ_INVALID_STATE_TRANSITION"),
        (Stage.SELECTING, "init", "BIZ_INVALID_STATE_TRANSITION"),
        (Stage.INITIALISED, "update", "BIZ_INVALID_STATE_TRANSITION"),
        (Stage.COMPLETE, "cancel", "POL_CANCELLATION_NOT_ALLOWED"),
    ],
)
def test_a_request_out_of_order_is_refused(stage: Stage, action: str, code: str) -> None:
    with pytest.raises(BecknError) as refused:
        step(to(stage, side=Side.BPP), message(action, after=9 * S))

    assert refused.value.code == code


def test_a_cancelled_contract_is_not_cancelled_again_nor_confirmed() -> None:
    state = step(to(Stage.ACTIVE), message("on_cancel", "CANCELLED", after=9 * S))

    assert state.stage is Stage.CANCELLED
    with pytest.raises(BecknError, match="BIZ_ALREADY_CANCELLED"):
        step(state, message("cancel", after=10 * S))


def test_nothing_but_select_opens_a_contract() -> None:
    with pytest.raises(BecknError, match="BIZ_ORDER_NOT_FOUND"):
        open_contract(message("confirm"), side=Side.BPP, now=NOW, patience=PATIENCE)


def test_a_third_party_cannot_speak_in_a_transaction() -> None:
    with pytest.raises(BecknError, match="AUT_UNAUTHORIZED_ACTION"):
        step(to(Stage.ACTIVE), message("on_status", "COMPLETE", bppId="other.example.com"))


def test_a_trial_changes_nothing() -> None:
    state = to(Stage.ACTIVE, side=Side.BPP)

    assert step(state, message("cancel", is_trial=True)) == state


def test_an_unanswered_confirmation_expires_and_the_peer_is_told() -> None:
    state = to(Stage.CONFIRMING)
    deadline = NOW + timedelta(minutes=5)

    assert lapse(state, now=deadline - S) is None
    step_ = lapse(state, now=deadline)

    assert step_ is not None
    assert step_.state.stage is Stage.EXPIRED
    assert step_.must_cancel


def test_a_confirmation_that_comes_after_we_gave_up_is_called_off() -> None:
    lapsed = lapse(to(Stage.CONFIRMING), now=NOW + timedelta(minutes=5))
    assert lapsed is not None

    late = advance(
        lapsed.state,
        message("on_confirm", "ACTIVE", after=timedelta(minutes=6)),
        now=NOW,
        patience=PATIENCE,
    )

    assert late.state.stage is Stage.EXPIRED
    assert late.must_cancel


def test_a_draft_nobody_confirms_expires_on_the_sellers_side() -> None:
    state = to(Stage.INITIALISED, side=Side.BPP)

    assert lapse(state, now=NOW + timedelta(minutes=29)) is None
    step_ = lapse(state, now=NOW + timedelta(minutes=30))
    assert step_ is not None
    assert step_.state.stage is Stage.EXPIRED


def test_an_unanswered_cancellation_holds() -> None:
    state = step(to(Stage.ACTIVE), message("cancel", after=9 * S))
    lapsed = lapse(state, now=NOW + timedelta(minutes=5))

    assert state.stage is Stage.ACTIVE
    assert lapsed is not None
    assert lapsed.state.stage is Stage.CANCELLED


def test_an_unanswered_status_leaves_the_contract_as_it_was() -> None:
    state = step(to(Stage.ACTIVE), message("status", after=9 * S))
    lapsed = lapse(state, now=NOW + timedelta(minutes=5))

    assert lapsed is not None
    assert lapsed.state.stage is Stage.ACTIVE
    assert lapsed.state.awaiting is None


def test_giving_up_cancels_what_is_binding_and_refuses_what_is_not() -> None:
    assert give_up(to(Stage.ACTIVE), reason="no room").state.stage is Stage.CANCELLED
    assert give_up(to(Stage.INITIALISED), reason="no room").state.stage is Stage.REFUSED
    assert give_up(to(Stage.COMPLETE), reason="no room").state.stage is Stage.COMPLETE


@pytest.mark.parametrize("stage", list(Stage)[:7])
def test_a_state_is_kept_whole(stage: Stage) -> None:
    state = to(stage)

    assert state_from_json(state_to_json(state)) == state


ACTIONS = [
    message(action, code, after=seconds * S)
    for seconds, (action, code) in enumerate(
        [
            ("on_select", "DRAFT"),
            ("init", "DRAFT"),
            ("on_init", "DRAFT"),
            ("confirm", "DRAFT"),
            ("on_confirm", "ACTIVE"),
            ("on_status", "ACTIVE"),
            ("on_status", "COMPLETE"),
            ("cancel", "ACTIVE"),
            ("on_cancel", "CANCELLED"),
        ],
        start=1,
    )
]


@given(st.lists(st.sampled_from(ACTIONS), max_size=20))
def test_whatever_arrives_in_whatever_order_a_final_contract_stays_final(
    arrivals: list[Message],
) -> None:
    state = run(message("select", contract_id=None), side=Side.BPP)
    final: Stage | None = None
    was_confirmed = False
    for one in arrivals:
        was_confirmed |= one.action == "confirm" and state.stage is Stage.INITIALISED
        try:
            state = step(state, one)
        except BecknError:
            continue
        assert final in {None, state.stage}
        assert state.stage not in {Stage.ACTIVE, Stage.COMPLETE} or was_confirmed
        final = state.stage if state.stage.is_final else None
