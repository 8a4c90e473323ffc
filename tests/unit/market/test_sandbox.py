"""A sale from plan to settlement against simulated agents, and each way it can go wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

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
    artefact_file,
)
from gridflex.market.messages.feedback import read_feedback
from gridflex.market.messages.idd import read_header, read_receipt
from gridflex.market.messages.idd_items import Response
from gridflex.market.registry import BaselineIndicator, Msid, MsidPair, UnitId
from gridflex.market.settlement.account import SoldVolume, settle
from gridflex.market.settlement.authority import AUTHORITY
from gridflex.market.settlement.reported import (
    unconfirmed,
)
from gridflex.market.settlement.runs import Run
from gridflex.market.settlement.s0142 import read_s0142
from gridflex.market.trading.position import Answered, Logged, Position, Sent, Status, advance
from gridflex.market.trading.reconciliation import Notified, reconcile
from gridflex.market.volumes import ExportMWh, ImportMWh
from gridflex.sandbox.exchange import EXCHANGE, SimulatedExchange
from gridflex.sandbox.market import Mishap, SimulatedAgents
from gridflex.sandbox.market_report import ReportInputs, settlement_report
from tests.unit.market.days import CALENDAR
from tests.unit.market.test_reported import by_unit
from tests.unit.market.test_settlement import EXAMPLE

WMAN, SEV, ECVN, DVN = ArtefactKind
UNIT = UnitId("V__CGRID001")
PAIR = MsidPair(Msid("1200012345679"))
SIX = HalfHour(datetime(2026, 7, 1, 17, tzinfo=UTC))
EARLY = datetime(2026, 7, 1, 13, tzinfo=UTC)
CLOSES = datetime(2026, 7, 1, 16, tzinfo=UTC)
NEXT_DAY = datetime(2026, 7, 2, 9, tzinfo=UTC)
CHANNELS = {
    WMAN: Channel("VT", "GRIDFLEX", "EC", "ECVAA", "SIML"),
    SEV: Channel("VP", "GRIDFLEX", "SV", "SVAA", "SIML"),
    ECVN: Channel("EN", "GRIDFLEX", "EC", "ECVAA", "SIML"),
    DVN: Channel("VP", "GRIDFLEX", "SV", "SVAA", "SIML"),
}
ARTEFACTS: dict[ArtefactKind, Artefact] = {
    WMAN: ActivityNotice(SIX, {UNIT: True}),
    SEV: ExpectedVolumes({UNIT: {SIX: ExportMWh(Decimal("-10.0000"))}}),
    ECVN: ContractNotice("REF1", "ECVNAA0001", {SIX: Decimal("3.000")}),
    DVN: DeliveredVolumes((PairDelivery("C", UNIT, PAIR, {SIX: ExportMWh(Decimal("2.8"))}),)),
}
VOLUMES = {WMAN: None, SEV: Decimal(-10), ECVN: Decimal(3), DVN: Decimal("2.8")}


def agents(mishaps: dict[ArtefactKind, list[Mishap | None]] | None = None) -> SimulatedAgents:
    return SimulatedAgents(
        units=[UNIT],
        keys={"ECVNAA0001": "SECRET"},
        meters=[int(PAIR.import_msid)],
        calendar=CALENDAR,
        mishaps=mishaps,
    )


@dataclass
class Desk:
    """Sends one position's messages and follows the answers."""

    market: SimulatedAgents
    position: Position = field(
        default_factory=lambda: Position(
            UNIT, SIX, BaselineIndicator.SUBMITTED, Decimal("3.2"), Decimal(1)
        )
    )
    sequences: dict[tuple[str, str], int] = field(default_factory=dict)

    def log(self, kind: ArtefactKind, at: datetime = EARLY) -> None:
        event = Logged(kind, at, ledger_index=len(self.sequences), mwh=VOLUMES[kind])
        self.position = advance(self.position, event)

    def send(
        self, kind: ArtefactKind, at: datetime = EARLY, *, again: bool = False, key: str = "SECRET"
    ) -> list[Response]:
        channel = CHANNELS[kind]
        sender = (channel.from_role, channel.from_party)
        self.sequences[sender] = self.sequences.get(sender, 0) + (0 if again else 1)
        self.position = advance(self.position, Sent(kind, at))
        payload = artefact_file(
            ARTEFACTS[kind], channel=channel, sequence=self.sequences[sender], at=at, key=key
        )
        responses = []
        for answer in self.market.deliver(payload, now=at):
            if read_header(answer).is_response:
                responses.append(read_receipt(answer)[1].response)
                if responses[-1] is Response.RECEIVED:
                    self.position = advance(self.position, Answered(kind, at, Status.RECEIVED))
                continue
            for one in read_feedback(answer):
                status = Status.ACCEPTED if one.is_accepted else Status.REJECTED
                self.position = advance(self.position, Answered(kind, at, status, one.reason))
        return responses

    def do(self, *kinds: ArtefactKind, at: datetime = EARLY) -> Desk:
        for kind in kinds:
            self.log(kind, at)
            self.send(kind, at)
        return self


def net_gbp(desk: Desk) -> Decimal:
    """Settle the worked example with what the agents' books hold."""
    book = desk.market.book
    unit = EXAMPLE.units[0]
    period = EXAMPLE.__class__(
        account=EXAMPLE.account,
        half_hour=SIX,
        run=Run.SF,
        units=(
            unit.__class__(
                unit=UNIT,
                is_active=book.is_active(SIX, UNIT),
                submitted=book.expected_of(SIX, UNIT),
                pairs=unit.pairs,
            ),
        ),
        sold=(
            SoldVolume(
                "T1",
                Decimal("3.000"),
                Decimal("140.00"),
                is_notified=bool(book.contracted_mwh(SIX)),
            ),
        ),
        system_price=EXAMPLE.system_price,
        reference_price=EXAMPLE.reference_price,
        policy=EXAMPLE.policy,
    )
    return settle(period).net_gbp


def test_when_all_goes_well_the_worked_example_is_settled() -> None:
    desk = Desk(agents()).do(WMAN, SEV, ECVN).do(DVN, at=NEXT_DAY)

    assert desk.position.counts
    assert {kind: desk.position.track(kind).status for kind in ArtefactKind} == {
        WMAN: Status.RECEIVED,
        SEV: Status.ACCEPTED,
        ECVN: Status.ACCEPTED,
        DVN: Status.ACCEPTED,
    }
    assert desk.market.book.delivered[SIX, int(PAIR.import_msid)] == ExportMWh(Decimal("2.8"))
    assert net_gbp(desk) == Decimal("378.00")


@pytest.mark.parametrize(
    ("kind", "mishap", "status", "net"),
    [
        pytest.param(WMAN, Mishap.REJECT, Status.REJECTED, "-210.00", id="activity rejected"),
        pytest.param(WMAN, Mishap.LOSE, Status.SENT, "-210.00", id="activity lost"),
        pytest.param(SEV, Mishap.REJECT, Status.REJECTED, "-210.00", id="expectation rejected"),
        pytest.param(SEV, Mishap.GARBLE, Status.SENT, "-210.00", id="expectation garbled"),
        pytest.param(ECVN, Mishap.REJECT, Status.REJECTED, "588.00", id="contract rejected"),
        pytest.param(ECVN, Mishap.LOSE, Status.SENT, "588.00", id="contract lost"),
        pytest.param(ECVN, Mishap.MUTE, Status.SENT, "378.00", id="contract taken, answer lost"),
    ],
)
def test_each_mishap_is_seen_and_has_its_price(
    kind: ArtefactKind, mishap: Mishap, status: Status, net: str
) -> None:
    desk = Desk(agents({kind: [mishap]})).do(WMAN, SEV, ECVN)

    assert desk.position.track(kind).status is status
    assert net_gbp(desk) == Decimal(net)


@pytest.mark.parametrize("kind", [WMAN, SEV, ECVN])
def test_a_lost_file_is_sent_again_under_its_number(kind: ArtefactKind) -> None:
    desk = Desk(agents({kind: [Mishap.LOSE]})).do(WMAN, SEV, ECVN)

    assert desk.send(kind, again=True) == [Response.RECEIVED]
    assert net_gbp(desk) == Decimal("378.00")


def test_sending_again_what_was_taken_is_told_apart_by_its_number() -> None:
    desk = Desk(agents({WMAN: [Mishap.MUTE]})).do(WMAN)

    assert desk.send(WMAN, again=True) == [Response.SEQUENCE]
    assert desk.market.book.is_active(SIX, UNIT)


def test_a_garbled_file_is_refused_by_its_header() -> None:
    desk = Desk(agents({SEV: [Mishap.GARBLE]}))
    desk.log(SEV)

    assert desk.send(SEV) == [Response.HEADER]


@pytest.mark.parametrize("kind", [WMAN, SEV, ECVN])
def test_the_agents_refuse_what_arrives_at_gate_closure(kind: ArtefactKind) -> None:
    market = agents()
    payload = artefact_file(
        ARTEFACTS[kind], channel=CHANNELS[kind], sequence=1, at=CLOSES, key="SECRET"
    )

    _, answer = market.deliver(payload, now=CLOSES)

    (one,) = read_feedback(answer)
    assert (one.is_accepted, one.reason) == (False, "after gate closure")
    assert not market.book.is_active(SIX, UNIT)
    assert market.book.expected_of(SIX, UNIT) is None
    assert market.book.contracted_mwh(SIX) == 0


def test_a_wrong_credential_is_rejected() -> None:
    desk = Desk(agents())
    desk.log(ECVN)
    desk.send(ECVN, key="WRONG")

    assert desk.position.track(ECVN).reason == "authorisation or key unknown"


def test_a_default_expected_volume_stands_until_a_value_replaces_it() -> None:
    market = agents()
    tomorrow = HalfHour.from_settlement(date(2026, 7, 2), SIX.settlement[1])
    default = ExpectedVolumes({UNIT: {SIX: ExportMWh(Decimal(-9))}}, is_default=True)
    day_before = datetime(2026, 6, 30, 12, tzinfo=UTC)
    market.deliver(
        artefact_file(default, channel=CHANNELS[SEV], sequence=1, at=day_before), now=day_before
    )
    market.deliver(
        artefact_file(ARTEFACTS[SEV], channel=CHANNELS[SEV], sequence=2, at=EARLY), now=EARLY
    )

    assert market.book.expected_of(SIX, UNIT) == ExportMWh(Decimal(-10))
    assert market.book.expected_of(tomorrow, UNIT) == ExportMWh(Decimal(-9))
    assert market.book.expected_of(SIX + 1, UNIT) is None


def test_a_default_after_the_day_began_is_rejected() -> None:
    default = ExpectedVolumes({UNIT: {SIX: ExportMWh(Decimal(-9))}}, is_default=True)

    _, answer = agents().deliver(
        artefact_file(default, channel=CHANNELS[SEV], sequence=1, at=EARLY), now=EARLY
    )

    assert "23:59" in read_feedback(answer)[0].reason


def test_delivered_volumes_of_an_unknown_meter_or_too_late_are_rejected() -> None:
    late = NEXT_DAY + timedelta(days=3)
    stranger = MsidPair(Msid("2000050773706"))
    unknown = DeliveredVolumes((PairDelivery("C", UNIT, stranger, {SIX: ExportMWh(Decimal(1))}),))
    reasons = []
    for artefact, at in ((unknown, NEXT_DAY), (ARTEFACTS[DVN], late)):
        payload = artefact_file(artefact, channel=CHANNELS[DVN], sequence=1, at=at)
        _, answer = agents().deliver(payload, now=at)
        reasons.append(read_feedback(answer)[0].reason)

    assert reasons == ["not allocated", "after the first working day"]


def test_a_file_of_another_kind_is_refused() -> None:
    payload = artefact_file(ARTEFACTS[WMAN], channel=CHANNELS[WMAN], sequence=1, at=EARLY)

    (answer,) = agents().deliver(payload.replace(b"E0511001", b"X0511001"), now=EARLY)

    assert read_receipt(answer)[1].response is Response.FILE_TYPE


def test_rubbish_gets_no_answer() -> None:
    assert agents().deliver(b"hello", now=EARLY) == ()


# The exchange


PRICES = {SIX + n: Decimal(130 + 20 * n) for n in range(2)}


def test_the_exchange_buys_a_block_at_its_mean_price() -> None:
    exchange = SimulatedExchange(PRICES, depth_mw=Decimal(10))

    trade = exchange.sell(first=SIX, half_hours=2, mw=Decimal(6), limit_gbp_per_mwh=Decimal(140))

    assert trade is not None
    assert (trade.price_gbp_per_mwh, trade.mwh) == (Decimal(140), Decimal(3))
    notices = [Notified("R", EXCHANGE, SIX + n, Decimal(3), Status.ACCEPTED) for n in range(2)]
    assert reconcile([trade], notices) == []


@pytest.mark.parametrize(
    ("first", "mw", "limit"),
    [
        pytest.param(SIX, "6", "140.01", id="price below the limit"),
        pytest.param(SIX, "11", "0", id="more than the depth"),
        pytest.param(SIX + 1, "6", "0", id="half-hour without a price"),
    ],
)
def test_the_exchange_takes_a_block_whole_or_not_at_all(
    first: HalfHour, mw: str, limit: str
) -> None:
    exchange = SimulatedExchange(PRICES, depth_mw=Decimal(10))

    trade = exchange.sell(
        first=first, half_hours=2, mw=Decimal(mw), limit_gbp_per_mwh=Decimal(limit)
    )

    assert trade is None


def test_depth_is_used_up_and_lots_are_whole() -> None:
    exchange = SimulatedExchange(PRICES, depth_mw=Decimal(10))
    for _ in range(2):
        trade = exchange.sell(first=SIX, half_hours=1, mw=Decimal(6), limit_gbp_per_mwh=Decimal(0))

    assert trade is None
    with pytest.raises(ContractError, match="lots of 0"):
        exchange.sell(first=SIX, half_hours=1, mw=Decimal("0.05"), limit_gbp_per_mwh=Decimal(0))


# The settlement report


def report(desk: Desk, *, metered: str = "7.2") -> str:
    return settlement_report(
        ReportInputs(
            day=date(2026, 7, 1),
            run=Run.SF,
            created_at=datetime(2026, 7, 23, 22, tzinfo=UTC),
            party="GRIDFLEX",
            supplier="SUPPLIER",
            book=desk.market.book,
            metered={(SIX, UNIT): ImportMWh(Decimal(metered))},
            system_price={SIX: Decimal("210.00")},
            reference_price_gbp_per_mwh=Decimal("98.53"),
        )
    )


def test_the_simulated_report_confirms_our_settlement() -> None:
    read_back = read_s0142(report(Desk(agents()).do(WMAN, SEV, ECVN)))

    assert unconfirmed(EXAMPLE, by_unit(read_back), AUTHORITY) == []
    assert read_back.accounts[0].imbalance_mwh == Decimal("-0.200")
    assert read_back.of("SUPPLIER")[0].supplier_compensation_gbp == Decimal("275.88")
    assert read_back.prices[SIX].buy_gbp_per_mwh == 210


def test_a_missing_activity_notice_shows_in_the_report() -> None:
    read_back = read_s0142(report(Desk(agents()).do(SEV, ECVN)))

    (found,) = unconfirmed(EXAMPLE, by_unit(read_back), AUTHORITY)

    assert (found.what, found.reported) == (f"deviation MWh of {UNIT}", Decimal("0.000"))
