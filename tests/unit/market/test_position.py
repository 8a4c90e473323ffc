"""The life of a position: what is allowed when, and who is warned."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.messages.artefacts import ArtefactKind
from gridflex.market.messages.deadlines import (
    ContractDeadline,
    deadline,
    default_expected_volume_deadline,
)
from gridflex.market.policy import Dated, Effective
from gridflex.market.registry import BaselineIndicator, UnitId
from gridflex.market.settlement.runs import Run
from gridflex.market.trading.alarms import Urgency, alarms
from gridflex.market.trading.position import (
    Answered,
    Event,
    Logged,
    Metered,
    Position,
    Sent,
    Settled,
    Stage,
    Status,
    advance,
)
from gridflex.market.trading.reconciliation import Mismatch, Notified, Trade, reconcile
from tests.unit.market.days import CALENDAR

WMAN, SEV, ECVN, DVN = ArtefactKind
SIX = HalfHour(datetime(2026, 7, 1, 17, tzinfo=UTC))
CLOSES = datetime(2026, 7, 1, 16, tzinfo=UTC)
EARLY = CLOSES - timedelta(hours=3)
NEXT_DAY = datetime(2026, 7, 2, 9, tzinfo=UTC)


def position(indicator: BaselineIndicator = BaselineIndicator.SUBMITTED) -> Position:
    return Position(
        unit=UnitId("V__CGRID001"),
        half_hour=SIX,
        indicator=indicator,
        expected_mwh=Decimal("3.2"),
        sale_fraction=Decimal("0.95"),
    )


def after(*events: Event, start: Position | None = None) -> Position:
    reached = start or position()
    for event in events:
        reached = advance(reached, event)
    return reached


def sent(kind: ArtefactKind, mwh: str | None, *, at: datetime = EARLY) -> Iterable[Event]:
    volume = None if mwh is None else Decimal(mwh)
    return (Logged(kind, at, ledger_index=5, mwh=volume), Sent(kind, at))


def answered(kind: ArtefactKind, status: Status, *, reason: str = "") -> Answered:
    return Answered(kind, EARLY + timedelta(minutes=2), status, reason)


COMPLETE = (
    *sent(WMAN, None),
    answered(WMAN, Status.RECEIVED),
    *sent(SEV, "-10"),
    answered(SEV, Status.ACCEPTED),
    *sent(ECVN, "3.0"),
    answered(ECVN, Status.ACCEPTED),
)


def test_a_position_goes_from_plan_to_final_settlement() -> None:
    stages = []
    reached = position()
    steps: list[Event] = [
        *COMPLETE,
        Metered(NEXT_DAY),
        *sent(DVN, "2.8", at=NEXT_DAY),
        *(Settled(NEXT_DAY, run) for run in Run),
    ]
    for event in steps:
        reached = advance(reached, event)
        stages.append(reached.stage(event.at))

    assert list(dict.fromkeys(stages)) == [
        Stage.PLANNED,
        Stage.WMAN_SENT,
        Stage.SEV_SENT,
        Stage.ECVN_ACKED,
        Stage.METERED,
        Stage.DVN_SENT,
        *(Stage(run) for run in Run),
    ]
    assert after(*COMPLETE).stage(CLOSES) is Stage.GATE_CLOSED


@pytest.mark.parametrize("kind", [WMAN, SEV, ECVN])
@pytest.mark.parametrize("late", [timedelta(0), timedelta(seconds=1)])
def test_nothing_changes_after_gate_closure(kind: ArtefactKind, late: timedelta) -> None:
    volume = None if kind is WMAN else Decimal(1)
    ready = after(Logged(kind, EARLY, ledger_index=1, mwh=volume))

    with pytest.raises(ContractError, match="the gate closed at 2026-07-01T16:00Z"):
        advance(ready, Logged(kind, CLOSES + late, ledger_index=2, mwh=volume))
    with pytest.raises(ContractError, match="the gate closed"):
        advance(ready, Sent(kind, CLOSES + late))


def test_a_microsecond_before_gate_closure_is_in_time() -> None:
    reached = after(*sent(WMAN, None, at=CLOSES - timedelta(microseconds=1)))

    assert reached.track(WMAN).status is Status.SENT


def test_an_answer_may_arrive_after_gate_closure() -> None:
    late = Answered(ECVN, CLOSES + timedelta(minutes=9), Status.REJECTED, "unknown key")

    assert after(*sent(ECVN, "3.0"), late).track(ECVN).reason == "unknown key"


def test_nothing_is_sent_before_it_is_in_the_ledger() -> None:
    with pytest.raises(ContractError, match="not in the ledger"):
        advance(position(), Sent(SEV, EARLY))


@pytest.mark.parametrize(("mwh", "allowed"), [("3.04", True), ("3.041", False), ("-0.001", False)])
def test_no_more_is_sold_than_the_share_of_the_expected_delivery(
    mwh: str, *, allowed: bool
) -> None:
    event = Logged(ECVN, EARLY, ledger_index=1, mwh=Decimal(mwh))

    if allowed:
        assert after(event).track(ECVN).mwh == Decimal(mwh)
    else:
        with pytest.raises(ContractError, match=r"at most 3\.040"):
            advance(position(), event)


def test_an_activity_notice_counts_once_it_arrived_and_until_it_is_rejected() -> None:
    baselined = position(BaselineIndicator.BASELINED)

    on_its_way = after(*sent(WMAN, None), start=baselined)
    arrived = after(answered(WMAN, Status.RECEIVED), start=on_its_way)
    rejected = after(answered(WMAN, Status.REJECTED), start=arrived)

    assert [one.counts for one in (on_its_way, arrived, rejected)] == [False, True, False]


def test_a_submitted_baseline_counts_only_when_accepted() -> None:
    active = after(*sent(WMAN, None), answered(WMAN, Status.RECEIVED), *sent(SEV, "-10"))

    assert not after(answered(SEV, Status.RECEIVED), start=active).counts
    assert after(answered(SEV, Status.ACCEPTED), start=active).counts


def test_a_rejected_revision_leaves_the_accepted_version_in_force() -> None:
    revised = after(
        *COMPLETE, Logged(ECVN, EARLY, ledger_index=9, mwh=Decimal("2.5")), Sent(ECVN, EARLY)
    )

    assert revised.sold_mwh == Decimal("2.5")
    assert after(answered(ECVN, Status.REJECTED), start=revised).sold_mwh == Decimal("3.0")


def test_a_late_receipt_does_not_undo_an_acceptance() -> None:
    reached = after(*COMPLETE, answered(ECVN, Status.RECEIVED))

    assert reached.track(ECVN).status is Status.ACCEPTED


def test_an_accepted_notice_is_not_sent_twice_but_a_lost_one_is() -> None:
    with pytest.raises(ContractError, match="already accepted"):
        after(*COMPLETE, Sent(ECVN, EARLY))

    assert after(*sent(WMAN, None), Sent(WMAN, EARLY)).track(WMAN).attempts == 2


def test_an_answer_to_nothing_is_refused() -> None:
    with pytest.raises(ContractError, match="nothing to belong to"):
        advance(position(), answered(SEV, Status.ACCEPTED))


@pytest.mark.parametrize(
    "event",
    [
        Metered(SIX.start),
        Settled(SIX.start, Run.II),
        Logged(DVN, SIX.start, ledger_index=1, mwh=Decimal(1)),
    ],
)
def test_nothing_is_metered_or_settled_before_it_is_over(event: Event) -> None:
    with pytest.raises(ContractError, match="before it ends"):
        advance(position(), event)


def test_runs_do_not_go_backwards() -> None:
    settled = after(Settled(NEXT_DAY, Run.R1))

    for run in (Run.SF, Run.R1):
        with pytest.raises(ContractError, match=f"run {run} after R1"):
            advance(settled, Settled(NEXT_DAY, run))


# Deadlines and alarms


def test_deadlines_are_utc_instants() -> None:
    due = {kind: deadline(kind, half_hour=SIX, calendar=CALENDAR) for kind in ArtefactKind}

    assert due[WMAN] == due[SEV] == due[ECVN] == CLOSES
    # Wednesday 1 July: the delivered volumes are due by the end of Thursday, London time
    assert due[DVN] == datetime(2026, 7, 2, 23, tzinfo=UTC)


def test_delivered_volumes_of_the_thursday_before_easter_are_due_after_it() -> None:
    thursday = HalfHour.from_settlement(date(2026, 4, 2), 35)

    due = deadline(DVN, half_hour=thursday, calendar=CALENDAR)

    assert due == datetime(2026, 4, 7, 23, tzinfo=UTC)


def test_a_default_expected_volume_is_due_the_minute_before_midnight_in_london() -> None:
    assert default_expected_volume_deadline(date(2026, 7, 2)) == datetime(
        2026, 7, 1, 22, 59, tzinfo=UTC
    )


def test_the_contract_deadline_is_a_dated_rule() -> None:
    rule = Dated(
        "rule", (Effective(date(2020, 1, 1), ContractDeadline.PERIOD_START, "confirmed reading"),)
    )

    due = deadline(ECVN, half_hour=SIX, calendar=CALENDAR, contract_deadline=rule)

    assert due == SIX.start


@pytest.mark.parametrize(
    ("minutes", "urgency"),
    [(45, Urgency.WARNING), (15, Urgency.CRITICAL), (0, Urgency.MISSED), (-5, Urgency.MISSED)],
)
def test_what_was_not_sent_is_announced_before_it_is_late(minutes: int, urgency: Urgency) -> None:
    now = CLOSES - timedelta(minutes=minutes)

    found = alarms([position()], now=now, calendar=CALENDAR)

    assert [(one.kind, one.urgency) for one in found] == [
        (kind, urgency) for kind in (WMAN, SEV, ECVN)
    ]
    assert "bought back at system price" in found[0].consequence


def test_all_is_calm_early_and_when_all_is_well() -> None:
    assert alarms([position()], now=EARLY, calendar=CALENDAR) == []
    assert alarms([after(*COMPLETE)], now=CLOSES - timedelta(minutes=1), calendar=CALENDAR) == []


def test_what_is_settled_raises_no_alarm() -> None:
    metered = after(*COMPLETE, Metered(NEXT_DAY))
    late = NEXT_DAY + timedelta(days=5)

    assert [one.kind for one in alarms([metered], now=late, calendar=CALENDAR)] == [DVN]
    settled = advance(metered, Settled(NEXT_DAY, Run.SF))
    assert alarms([settled], now=late, calendar=CALENDAR) == []


def test_a_rejection_is_announced_at_once() -> None:
    rejected = after(*COMPLETE[:-1], answered(ECVN, Status.REJECTED, reason="unknown key"))

    (found,) = alarms([rejected], now=EARLY, calendar=CALENDAR)

    assert found.problem == "rejected: unknown key"


def test_a_file_without_an_answer_is_to_be_sent_again() -> None:
    lost = after(*COMPLETE[:-2], Sent(ECVN, CLOSES - timedelta(minutes=30)))

    (found,) = alarms([lost], now=CLOSES - timedelta(minutes=20), calendar=CALENDAR)

    assert found.problem == "no answer since 15:30Z, send again"


# Reconciliation


def trade(mw: str = "6", *, buyer: str = "EXCHANGE") -> Trade:
    return Trade("T1", buyer, SIX, 2, Decimal(mw), Decimal("140.00"))


def notice(mwh: str, status: Status = Status.ACCEPTED, *, at: HalfHour = SIX) -> Notified:
    return Notified("R1", "EXCHANGE", at, Decimal(mwh), status)


def test_books_that_agree_have_no_difference() -> None:
    assert reconcile([trade()], [notice("3"), notice("3", at=SIX + 1)]) == []


@pytest.mark.parametrize(
    ("notices", "mismatch"),
    [
        pytest.param([], Mismatch.NOT_NOTIFIED, id="nothing sent"),
        pytest.param([notice("3", Status.SENT)], Mismatch.NOT_ACCEPTED, id="no answer"),
        pytest.param([notice("3", Status.REJECTED)], Mismatch.REJECTED, id="rejected"),
        pytest.param([notice("2.999")], Mismatch.DIFFERENT, id="other volume"),
    ],
)
def test_each_difference_has_its_name(notices: list[Notified], mismatch: Mismatch) -> None:
    rest = notice("3", at=SIX + 1)

    (found,) = reconcile([trade()], [*notices, rest])

    assert (found.half_hour, found.mismatch, found.traded_mwh) == (SIX, mismatch, Decimal(3))


def test_a_notice_without_a_trade_is_a_difference() -> None:
    (found,) = reconcile([], [notice("3")])

    assert found.mismatch is Mismatch.NOT_TRADED
