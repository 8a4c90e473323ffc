"""The trading desk against simulated agents."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.messages.artefacts import (
    ActivityNotice,
    Artefact,
    ArtefactKind,
    Channel,
    ContractNotice,
    DeliveredVolumes,
    ExpectedVolumes,
    PairDelivery,
)
from gridflex.market.registry import BaselineIndicator, Msid, MsidPair, UnitId
from gridflex.market.trading.alarms import Urgency
from gridflex.market.trading.desk import OutgoingFile, TradingDesk
from gridflex.market.trading.position import Position, Status
from gridflex.market.volumes import ExportMWh
from gridflex.sandbox.market import Mishap, SimulatedAgents
from tests.unit.market.days import CALENDAR

WMAN, SEV, ECVN, DVN = ArtefactKind
UNIT, OTHER = UnitId("V__CGRID001"), UnitId("V__CGRID002")
PAIR = MsidPair(Msid("1200012345679"))
SIX = HalfHour(datetime(2026, 7, 1, 17, tzinfo=UTC))
EARLY = datetime(2026, 7, 1, 13, tzinfo=UTC)
NEXT_DAY = datetime(2026, 7, 2, 9, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
CHANNELS = {
    WMAN: Channel("VT", "GRIDFLEX", "EC", "ECVAA"),
    SEV: Channel("VP", "GRIDFLEX", "SV", "SVAA"),
    ECVN: Channel("EN", "GRIDFLEX", "EC", "ECVAA"),
    DVN: Channel("VP", "GRIDFLEX", "SV", "SVAA"),
}
ACTIVE = ActivityNotice(SIX, {UNIT: True, OTHER: True})
EXPECTED = ExpectedVolumes({unit: {SIX: ExportMWh(Decimal(-10))} for unit in (UNIT, OTHER)})
SOLD = ContractNotice("REF1", "A1", {SIX: Decimal("4.000")})
SPLIT = {(UNIT, SIX): Decimal("3.000"), (OTHER, SIX): Decimal("1.000")}
DELIVERED = DeliveredVolumes((PairDelivery("C", UNIT, PAIR, {SIX: ExportMWh(Decimal("2.8"))}),))


def desk() -> TradingDesk:
    positions = [
        Position(unit, SIX, BaselineIndicator.SUBMITTED, Decimal("3.2"), Decimal(1))
        for unit in (UNIT, OTHER)
    ]
    return TradingDesk(positions, channels=CHANNELS, keys={"A1": "SECRET"}, calendar=CALENDAR)


def agents(mishaps: Mapping[ArtefactKind, list[Mishap | None]] | None = None) -> SimulatedAgents:
    return SimulatedAgents(
        units=[UNIT, OTHER],
        keys={"A1": "SECRET"},
        meters=[int(PAIR.import_msid)],
        calendar=CALENDAR,
        mishaps=mishaps,
    )


class Ledger:
    """Numbers what it is given."""

    def __init__(self) -> None:
        self.entries: list[Mapping[str, object]] = []

    def append(self, body: Mapping[str, object]) -> int:
        self.entries.append(body)
        return len(self.entries) - 1


def do(
    here: TradingDesk,
    there: SimulatedAgents,
    artefact: Artefact,
    *,
    at: datetime = EARLY,
    split: Mapping[tuple[UnitId, HalfHour], Decimal] | None = None,
    ledger: Ledger | None = None,
) -> OutgoingFile:
    draft = here.draft(artefact, now=at, split=split)
    index = (ledger or Ledger()).append(draft.body)
    file = here.issue(draft, ledger_index=index, now=at)
    hand_over(here, there, file, at=at)
    return file


def hand_over(
    here: TradingDesk, there: SimulatedAgents, file: OutgoingFile, *, at: datetime
) -> None:
    for answer in there.deliver(file.payload, now=at):
        here.take(answer, now=at)


def statuses(here: TradingDesk, kind: ArtefactKind) -> list[Status]:
    return [one.track(kind).status for one in here.positions]


def test_all_messages_of_two_units_are_accepted() -> None:
    here, there, ledger = desk(), agents(), Ledger()

    for artefact, split in ((ACTIVE, None), (EXPECTED, None), (SOLD, SPLIT)):
        do(here, there, artefact, split=split, ledger=ledger)
    do(here, there, DELIVERED, at=NEXT_DAY, ledger=ledger)

    assert statuses(here, WMAN) == [Status.RECEIVED] * 2
    assert statuses(here, SEV) == statuses(here, ECVN) == [Status.ACCEPTED] * 2
    assert statuses(here, DVN) == [Status.ACCEPTED, Status.NONE]
    assert [one.sold_mwh for one in here.positions] == [3, 1]
    assert all(one.counts for one in here.positions)
    assert [entry["artefact"] for entry in ledger.entries] == ["wman", "sev", "ecvn", "dvn"]


def test_the_credential_is_in_the_file_and_nowhere_else() -> None:
    here, ledger = desk(), Ledger()

    file = do(here, agents(), SOLD, split=SPLIT, ledger=ledger)

    assert b"SECRET" in file.payload
    assert "SECRET" not in repr(ledger.entries)


def test_two_senders_count_their_files_apart() -> None:
    here, there = desk(), agents()

    names = [
        do(here, there, one, split=split).name
        for one, split in ((ACTIVE, None), (EXPECTED, None), (SOLD, SPLIT))
    ]
    names.append(do(here, there, ACTIVE).name)

    assert names == ["VT000000000001", "VP000000000001", "EN000000000001", "VT000000000002"]


def test_a_lost_file_is_offered_again_with_the_same_bytes() -> None:
    here, there = desk(), agents({WMAN: [Mishap.LOSE]})
    file = do(here, there, ACTIVE)

    assert here.send_again(now=EARLY + 5 * MINUTE) == ()
    again = here.send_again(now=EARLY + 6 * MINUTE)

    assert again == (file,)
    hand_over(here, there, again[0], at=EARLY + 6 * MINUTE)
    assert statuses(here, WMAN) == [Status.RECEIVED] * 2
    assert here.send_again(now=EARLY + 60 * MINUTE) == ()


def test_a_file_that_was_taken_without_an_answer_is_recognised_by_its_number() -> None:
    here, there = desk(), agents({WMAN: [Mishap.MUTE]})
    do(here, there, ACTIVE)

    (again,) = here.send_again(now=EARLY + 6 * MINUTE)
    hand_over(here, there, again, at=EARLY + 6 * MINUTE)

    assert statuses(here, WMAN) == [Status.RECEIVED] * 2


def test_delivered_volumes_are_offered_again_until_they_are_due() -> None:
    here = desk()
    file = do(here, agents({DVN: [Mishap.LOSE]}), DELIVERED, at=NEXT_DAY)
    due = datetime(2026, 7, 2, 23, tzinfo=UTC)

    assert here.send_again(now=due - MINUTE) == (file,)
    assert here.send_again(now=due + 10 * MINUTE) == ()
    (missed,) = (
        one for one in here.alarms(now=due + 10 * MINUTE) if (one.kind, one.unit) == (DVN, UNIT)
    )
    assert missed.urgency is Urgency.MISSED
    assert missed.problem.startswith("no answer since")


def test_nothing_is_offered_again_once_its_gate_has_closed() -> None:
    here = desk()
    do(here, agents({WMAN: [Mishap.LOSE]}), ACTIVE)

    assert here.send_again(now=SIX.start - timedelta(hours=1)) == ()
    missed = [one for one in here.alarms(now=SIX.start) if one.kind is WMAN]
    assert {one.urgency for one in missed} == {Urgency.MISSED}
    assert "was due 16:00Z; so no deviation is measured" in str(missed[0])
    in_time = SIX.start - timedelta(minutes=65)
    pressing = next(one for one in here.alarms(now=in_time) if one.kind is WMAN)
    assert "due 16:00Z; else no deviation is measured" in str(pressing)


def test_a_refused_header_gives_its_number_back() -> None:
    here, there = desk(), agents({SEV: [Mishap.GARBLE]})

    first, second = do(here, there, EXPECTED), do(here, there, EXPECTED)

    assert first.name == second.name
    assert statuses(here, SEV) == [Status.ACCEPTED] * 2


def test_an_acceptance_that_names_only_the_unit_goes_to_the_oldest_message_that_waits() -> None:
    positions = [
        Position(UNIT, SIX + n, BaselineIndicator.SUBMITTED, Decimal(1), Decimal(1))
        for n in range(2)
    ]
    here = TradingDesk(positions, channels=CHANNELS, keys={}, calendar=CALENDAR)
    there = agents()
    answers: list[bytes] = []
    for n in range(2):
        artefact = ExpectedVolumes({UNIT: {SIX + n: ExportMWh(Decimal(-10))}})
        draft = here.draft(artefact, now=EARLY)
        file = here.issue(draft, ledger_index=n, now=EARLY)
        answers += there.deliver(file.payload, now=EARLY)

    after_each = []
    for answer in answers:
        here.take(answer, now=EARLY)
        after_each.append(statuses(here, SEV))

    assert after_each == [
        [Status.RECEIVED, Status.SENT],
        [Status.ACCEPTED, Status.SENT],
        [Status.ACCEPTED, Status.RECEIVED],
        [Status.ACCEPTED, Status.ACCEPTED],
    ]


SECOND = ContractNotice("REF2", "A1", {SIX: Decimal("0.300")})
SECOND_SPLIT = {(UNIT, SIX): Decimal("0.100"), (OTHER, SIX): Decimal("0.200")}


def test_what_two_notices_sell_is_added_up() -> None:
    here, there = desk(), agents()
    do(here, there, SOLD, split=SPLIT)
    do(here, there, SECOND, split=SECOND_SPLIT)

    assert [one.sold_mwh for one in here.positions] == [Decimal("3.1"), Decimal("1.2")]
    assert there.book.contracted_mwh(SIX) == Decimal("4.3")


def test_two_notices_together_cannot_sell_more_than_may_be_sold() -> None:
    here = desk()
    do(here, agents(), SOLD, split=SPLIT)
    more = ContractNotice("REF2", "A1", {SIX: Decimal("0.201")})

    with pytest.raises(ContractError, match=r"3\.201 MWh to be sold, at most 3\.2"):
        here.draft(more, now=EARLY, split={(UNIT, SIX): Decimal("0.201")})


def test_a_new_version_of_a_notice_replaces_the_old_one() -> None:
    here, there = desk(), agents()
    do(here, there, SOLD, split=SPLIT)
    less = ContractNotice("REF1", "A1", {SIX: Decimal("3.000")})

    do(here, there, less, split={(UNIT, SIX): Decimal(2), (OTHER, SIX): Decimal(1)})

    assert [one.sold_mwh for one in here.positions] == [2, 1]
    assert there.book.contracted_mwh(SIX) == 3


@pytest.mark.parametrize("mishap", [Mishap.REJECT, Mishap.GARBLE])
def test_a_rejected_notice_frees_what_it_would_have_sold(mishap: Mishap) -> None:
    here, there = desk(), agents({ECVN: [None, mishap]})
    do(here, there, SOLD, split=SPLIT)
    do(here, there, SECOND, split=SECOND_SPLIT)

    assert statuses(here, ECVN) == [Status.REJECTED] * 2
    assert [one.sold_mwh for one in here.positions] == [3, 1]
    other = replace(SECOND, reference="REF3")
    assert here.draft(other, now=EARLY, split=SECOND_SPLIT).volumes[UNIT, SIX] == Decimal("3.1")


@pytest.mark.parametrize(
    ("artefact", "split", "at", "reason"),
    [
        pytest.param(SOLD, None, EARLY, "not the sum", id="two units without a split"),
        pytest.param(
            SOLD, SPLIT | {(OTHER, SIX): Decimal(2)}, EARLY, "not the sum", id="split too large"
        ),
        pytest.param(
            ContractNotice("R", "A1", {SIX: Decimal(4)}),
            {(UNIT, SIX): Decimal(4)},
            EARLY,
            "at most 3.2",
            id="more than may be sold",
        ),
        pytest.param(ACTIVE, None, SIX.start, "gate closed", id="late"),
        pytest.param(
            ActivityNotice(SIX + 1, {UNIT: True}), None, EARLY, "has no position", id="unknown"
        ),
        pytest.param(DELIVERED, None, EARLY, "before it ends", id="delivered too early"),
    ],
)
def test_what_no_position_allows_never_reaches_the_ledger(
    artefact: Artefact,
    split: Mapping[tuple[UnitId, HalfHour], Decimal] | None,
    at: datetime,
    reason: str,
) -> None:
    with pytest.raises(ContractError, match=reason):
        desk().draft(artefact, now=at, split=split)


def test_a_gate_that_closes_between_ledger_and_file_stops_the_file() -> None:
    here = desk()
    draft = here.draft(ACTIVE, now=EARLY)

    with pytest.raises(ContractError, match="gate closed"):
        here.issue(draft, ledger_index=1, now=SIX.start)
    assert statuses(here, WMAN) == [Status.NONE] * 2


def test_an_authorisation_without_a_credential_is_refused() -> None:
    here = desk()
    draft = here.draft(ContractNotice("R", "B2", {SIX: Decimal("4.000")}), now=EARLY, split=SPLIT)

    with pytest.raises(ContractError, match="no credential for authorisation B2"):
        here.issue(draft, ledger_index=1, now=EARLY)


def test_a_receipt_for_nothing_is_refused() -> None:
    here, there = desk(), agents()
    draft = here.draft(ACTIVE, now=EARLY)
    file = here.issue(draft, ledger_index=1, now=EARLY)
    (receipt,) = there.deliver(file.payload, now=EARLY)

    with pytest.raises(ContractError, match="was not sent"):
        desk().take(receipt, now=EARLY)


NOTICES = st.lists(
    st.tuples(
        st.sampled_from(["REF1", "REF2", "REF3"]),
        st.decimals(-2, 5, places=3),
        st.sampled_from([None, Mishap.LOSE, Mishap.MUTE, Mishap.REJECT, Mishap.GARBLE]),
    ),
    max_size=8,
)


@given(NOTICES)
def test_whatever_is_sent_and_answered_no_more_is_sold_than_may_be(
    notices: list[tuple[str, Decimal, Mishap | None]],
) -> None:
    here = desk()
    there = agents({ECVN: [mishap for _, _, mishap in notices]})

    for reference, mwh, _ in notices:
        notice = ContractNotice(reference, "A1", {SIX: mwh})
        with suppress(ContractError):
            do(here, there, notice, split={(UNIT, SIX): mwh, (OTHER, SIX): Decimal(0)})

        position = here.position(UNIT, SIX)
        assert position.sold_mwh <= position.most_mwh
