"""What is traded, sent and answered, as the ledger keeps it, and back."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal

import pytest

from gridflex.halfhour import HalfHour
from gridflex.ledger.event import Event
from gridflex.ledger.verify.entries import parse_entry
from gridflex.market.baselines.commitments import (
    Committed,
    commitment_event,
    is_commitment,
    read_commitment,
)
from gridflex.market.messages.artefacts import (
    ActivityNotice,
    Artefact,
    ArtefactKind,
    ContractNotice,
    DeliveredVolumes,
    ExpectedVolumes,
    PairDelivery,
)
from gridflex.market.messages.drafts import read_draft
from gridflex.market.messages.feedback import Feedback
from gridflex.market.messages.idd import Receipt
from gridflex.market.messages.idd_items import Response
from gridflex.market.registry import AmsidPair, Msid
from gridflex.market.trading.reconciliation import Mismatch, Trade, reconcile
from gridflex.market.trading.records import (
    answer_event,
    artefact_event,
    notices_of,
    read_answer,
    trade_event,
    trades_of,
)
from gridflex.market.volumes import ExportMWh, ImportMWh
from tests.unit.market.test_desk import DELIVERED, EARLY, EXPECTED, PAIR, SIX, SOLD, SPLIT, UNIT
from tests.unit.market.test_desk import desk as two_units

FILE = "ab" * 32
ASSET = PairDelivery(
    "C",
    UNIT,
    AmsidPair(PAIR, Msid("9000000000001")),
    {SIX: ExportMWh(Decimal("0.5")), SIX + 1: ExportMWh(Decimal("-0.1"))},
)


def logged(event: Event, *, minutes: int = 0) -> dict[str, object]:
    return parse_entry(event.entry(recorded_at=EARLY + timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    "artefact",
    [
        pytest.param(ActivityNotice(SIX, {UNIT: False}), id="no longer active"),
        pytest.param(EXPECTED, id="expected volumes"),
        pytest.param(ExpectedVolumes(EXPECTED.volumes, is_default=True), id="a default"),
        pytest.param(SOLD, id="a contract notice"),
        pytest.param(DELIVERED, id="delivered volumes"),
    ],
)
def test_a_message_is_read_back_as_it_was(artefact: Artefact) -> None:
    is_notice = isinstance(artefact, ContractNotice)
    at = EARLY + timedelta(days=1) if isinstance(artefact, DeliveredVolumes) else EARLY
    draft = two_units().draft(artefact, now=at, split=SPLIT if is_notice else None)

    again, parts = read_draft(json.loads(json.dumps(draft.body)))

    assert again == artefact
    assert parts == (SPLIT if is_notice else None)


def test_volumes_of_asset_meters_are_read_back_per_pair() -> None:
    here = two_units()
    delivered = DeliveredVolumes((ASSET,))
    with pytest.raises(Exception, match="has no position"):  # of the second half-hour
        here.draft(delivered, now=EARLY + timedelta(days=1))
    one = DeliveredVolumes((PairDelivery("C", UNIT, ASSET.pair, {SIX: ExportMWh(Decimal("0.5"))}),))

    draft = here.draft(one, now=EARLY + timedelta(days=1))

    assert read_draft(json.loads(json.dumps(draft.body)))[0] == one


@pytest.mark.parametrize(
    "answer",
    [
        Receipt("VT000000000001", EARLY, Response.RECEIVED),
        Receipt("VT000000000001", EARLY, Response.CHECKSUM, "expected 7"),
        Feedback(ArtefactKind.SEV, is_accepted=True, unit=UNIT),
        Feedback(
            ArtefactKind.ECVN,
            is_accepted=False,
            reason="unknown key",
            half_hours=(SIX, SIX + 1),
            reference="REF1",
            day=date(2026, 7, 1),
        ),
        Feedback(ArtefactKind.DVN, is_accepted=False, meter=Msid("1200012345679")),
    ],
    ids=["receipt", "bad receipt", "accepted", "rejected", "about a meter"],
)
def test_an_answer_is_read_back_as_it_was(answer: Receipt | Feedback) -> None:
    assert read_answer(logged(answer_event(answer, file_sha256=FILE))) == answer


TRADE = Trade(
    "T1",
    "BUYER",
    SIX,
    2,
    Decimal(8),
    Decimal("140.50"),
    contract="flex-7",
    reference=f"{UNIT}:{SIX}",
)


def test_a_trade_is_read_back_and_other_contract_messages_are_passed_over() -> None:
    beckn = Event("beckn:1", trade_event(TRADE).event_type, {"action": "confirm"})

    assert list(trades_of([logged(trade_event(TRADE)), logged(beckn)])) == [TRADE]


def test_a_commitment_is_read_back_and_a_computed_baseline_is_none() -> None:
    made = Committed(
        ImportMWh(Decimal("1.0000")), ImportMWh(Decimal("0.2500")), Decimal("0.8"), is_traded=False
    )
    entry = logged(commitment_event(made, UNIT, SIX))

    assert is_commitment(entry)
    assert read_commitment(entry["body"]) == made  # type: ignore[arg-type]
    entry["body"] = {"method": "BL01"}
    assert not is_commitment(entry)


def notice(mwh: str, *, at: HalfHour = SIX) -> Event:
    artefact = ContractNotice("T1", "A1", {at: Decimal(mwh)})
    return artefact_event(two_units().draft(artefact, now=EARLY, split={(UNIT, at): Decimal(mwh)}))


def answer(*, is_accepted: bool, salt: str = FILE) -> Event:
    said = Feedback(
        ArtefactKind.ECVN, is_accepted=is_accepted, reference="T1", day=SIX.settlement[0]
    )
    return answer_event(said, file_sha256=salt)


BLOCK = Trade("T1", "BUYER", SIX, 1, Decimal(6), Decimal(140))


@pytest.mark.parametrize(
    ("events", "mismatch"),
    [
        pytest.param([notice("3.000"), answer(is_accepted=True)], None, id="agrees"),
        pytest.param([], Mismatch.NOT_NOTIFIED, id="not notified"),
        pytest.param([notice("3.000")], Mismatch.NOT_ACCEPTED, id="not answered"),
        pytest.param(
            [notice("3.000"), answer(is_accepted=False)], Mismatch.REJECTED, id="rejected"
        ),
        pytest.param(
            [notice("2.000"), answer(is_accepted=True)], Mismatch.DIFFERENT, id="another volume"
        ),
        pytest.param(
            [notice("2.000"), answer(is_accepted=True), notice("3.000")],
            Mismatch.NOT_ACCEPTED,
            id="replaced and not answered",
        ),
    ],
)
def test_trades_and_notices_are_reconciled_from_the_ledger(
    events: list[Event], mismatch: Mismatch | None
) -> None:
    entries = [logged(event, minutes=i) for i, event in enumerate(events)]

    found = reconcile([BLOCK], notices_of(entries, [BLOCK]))

    assert [one.mismatch for one in found] == ([mismatch] if mismatch else [])
