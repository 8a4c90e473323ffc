"""Market facts through the ledger and back."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.ledger.event import Event
from gridflex.ledger.verify.entries import parse_entry
from gridflex.market.billing.invoice import documents
from gridflex.market.billing.records import invoice_event
from gridflex.market.messages.artefacts import ArtefactKind, ContractNotice, channels_of
from gridflex.market.messages.feedback import Feedback
from gridflex.market.messages.idd import Receipt
from gridflex.market.messages.idd_items import Response
from gridflex.market.meters import Evidence, Reading
from gridflex.market.registry import (
    Allocation,
    AllocationType,
    AmsidPair,
    BaselineIndicator,
    Consent,
    MeteredSite,
    Msid,
    MsidPair,
    SecondaryBmUnit,
    UnitId,
    Validity,
)
from gridflex.market.registry_records import (
    RegistryRecord,
    read_record,
    reading_event,
    readings_of,
    registry_event,
    registry_of,
)
from gridflex.market.settlement.account import AccountPeriod
from gridflex.market.settlement.attribution import Contribution
from gridflex.market.settlement.book import (
    SettlementBook,
    read_book,
    settle_book,
    write_book,
    write_statement,
)
from gridflex.market.settlement.records import book_of, replay, settlement_event
from gridflex.market.settlement.runs import Run
from gridflex.market.settlement.show_back import newest_shares
from gridflex.market.trading.desk import TradingDesk
from gridflex.market.trading.position import Position
from gridflex.market.trading.reconciliation import Trade
from gridflex.market.trading.records import answer_event, artefact_event, trade_event
from tests.shared import ROOT
from tests.unit.market.days import CALENDAR
from tests.unit.market.test_billing import ROUNDING, cash, run
from tests.unit.market.test_settlement import EXAMPLE, SIX, periods

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
UNIT = UnitId("V__CGRID001")
PAIR = MsidPair(Msid("1200012345679"))
ASSET = AmsidPair(PAIR, Msid("1234567890123"))
SINCE = Validity(date(2026, 1, 5))
SITE = MeteredSite("london", "C", (PAIR, ASSET), 5.5, "SUPPLY")
REGISTERED: tuple[RegistryRecord, ...] = (
    SITE,
    SecondaryBmUnit(UNIT, "GRIDFLEX", SINCE),
    Consent("london", date(2025, 12, 1), SINCE, "00" * 32),
    Allocation(
        ASSET, UNIT, AllocationType.ASSET, BaselineIndicator.SUBMITTED, date(2025, 12, 1), SINCE
    ),
)


def did(job: str) -> list[Contribution]:
    """All of the example's delivery by one job."""
    return [Contribution(EXAMPLE.half_hour, job, "red", None, Decimal("2.8"))]


def logged(*events: Event) -> list[dict[str, object]]:
    """What the ledger holds of these events."""
    return [parse_entry(one.entry(recorded_at=NOON)) for one in events]


def test_a_registry_comes_back_from_the_ledger() -> None:
    registry = registry_of(logged(*map(registry_event, REGISTERED)), calendar=CALENDAR)

    assert (*registry.sites, *registry.units, *registry.consents, *registry.allocations) == (
        REGISTERED
    )


def test_the_later_version_of_a_record_counts() -> None:
    bigger = replace(SITE, connection_mw=9.0)

    registry = registry_of(
        logged(*map(registry_event, (*REGISTERED, bigger))),
        calendar=CALENDAR,
    )

    assert registry.sites == (bigger,)


def test_records_that_do_not_agree_are_refused() -> None:
    without_consent = [one for one in REGISTERED if not isinstance(one, Consent)]

    with pytest.raises(ContractError, match="no consent"):
        registry_of(logged(*map(registry_event, without_consent)), calendar=CALENDAR)


def test_readings_come_back_and_telemetry_is_passed_over() -> None:
    reading = Reading(
        meter=PAIR.import_msid,
        half_hour=SIX,
        import_kwh=Decimal("7200.0"),
        export_kwh=Decimal(0),
        evidence=Evidence.SETTLEMENT,
        is_substituted=False,
        received_at=NOON,
    )
    telemetry = replace(reading_event(reading), id="energy:1", body={"energy_kwh": "1.0"})

    assert list(readings_of(logged(reading_event(reading), telemetry))) == [reading]


CONTRIBUTION = Contribution(SIX, "train-7", "vision", None, Decimal("2.8"))


def test_a_settlement_comes_back_as_its_book() -> None:
    entries = logged(settlement_event(EXAMPLE, contributions=[CONTRIBUTION]))

    assert book_of(entries) == SettlementBook((EXAMPLE,), (CONTRIBUTION,))
    assert entries[0]["body"]["net_gbp"] == "378.000000"  # type: ignore[index]


def test_of_two_versions_of_a_settlement_the_later_counts() -> None:
    corrected = replace(EXAMPLE, fees_gbp=Decimal(1))
    entries = logged(settlement_event(EXAMPLE), settlement_event(corrected))

    assert book_of(entries).periods == (corrected,)
    assert len({entry["id"] for entry in entries}) == 2


def test_runs_stand_side_by_side() -> None:
    later = replace(EXAMPLE, run=Run.R1)

    book = book_of(logged(settlement_event(later), settlement_event(EXAMPLE)))

    assert [one.run for one in book.periods] == [Run.SF, Run.R1]


@given(periods())
def test_any_settlement_run_again_from_the_ledger_gives_the_same_bytes(
    period: AccountPeriod,
) -> None:
    entries = logged(settlement_event(period))
    book = SettlementBook((period,))

    (again,) = replay(entries)

    assert again.is_same
    assert write_book(book_of(entries)) == write_book(book)
    assert write_statement(settle_book(book_of(entries))) == write_statement(settle_book(book))


def test_an_outcome_that_was_not_what_the_inputs_give_is_seen() -> None:
    event = settlement_event(EXAMPLE)
    inputs = json.loads(json.dumps(event.body["inputs"]))
    inputs["periods"][0]["fees_gbp"] = "100"
    false = replace(event, body={**event.body, "inputs": inputs})

    assert [one.is_same for one in replay(logged(event, replace(false, id="x")))] == [True, False]


def desk() -> TradingDesk:
    position = Position(UNIT, SIX, BaselineIndicator.SUBMITTED, Decimal("3.2"), Decimal(1))
    return TradingDesk(
        [position], channels=channels_of("GRIDFLEX"), keys={"AUTH": "SECRET"}, calendar=CALENDAR
    )


def test_a_market_message_is_recorded_with_its_half_hour_and_without_its_key() -> None:
    notice = ContractNotice("REF1", "AUTH", {SIX: Decimal("3.000")})
    event = artefact_event(desk().draft(notice, now=NOON))

    entry = logged(event)[0]

    assert (entry["event_type"], entry["subject"]) == ("ecvn.submitted", f"unit:{UNIT}")
    assert entry["valid_time"] == "2026-07-01T17:00:00.000000Z"
    assert "SECRET" not in json.dumps(entry)


def test_the_same_message_is_one_event() -> None:
    notice = ContractNotice("REF1", "AUTH", {SIX: Decimal("3.000")})

    first, second = (artefact_event(desk().draft(notice, now=NOON)) for _ in range(2))

    assert first == second


def test_answers_are_recorded_with_the_digest_of_their_file() -> None:
    receipt = Receipt("FILE1", NOON, Response.SEQUENCE, "expected 2")
    rejected = Feedback(
        ArtefactKind.SEV, is_accepted=False, reason="late", half_hours=(SIX,), unit=UNIT
    )

    one, other = logged(
        answer_event(receipt, file_sha256="ab" * 32), answer_event(rejected, file_sha256="ab" * 32)
    )

    assert one["body"] == {
        "file": "FILE1",
        "response": "sequence",
        "detail": "expected 2",
        "file_sha256": "ab" * 32,
    }
    assert other["body"]["half_hours"] == ["2026-07-01T17:00Z"]  # type: ignore[index]
    assert other["subject"] == f"unit:{UNIT}"


def test_a_trade_is_recorded_with_its_price() -> None:
    trade = Trade("T1", "EXCHANGE", SIX, 2, Decimal("6.0"), Decimal("140.00"))

    (entry,) = logged(trade_event(trade))

    assert entry["body"]["price_gbp_per_mwh"] == "140.00"  # type: ignore[index]
    assert entry["event_type"] == "contract.message"


def test_an_invoice_is_recorded_without_names_and_addresses() -> None:
    (document,) = documents(run([cash(date(2026, 7, 1), Run.SF, "378.00")]), rounding=ROUNDING)

    (entry,) = logged(invoice_event(document))

    text = json.dumps(entry)
    assert document.number in text
    assert document.customer.name not in text


@given(st.integers(0, 10_000))
def test_settlements_of_any_half_hour_come_back_in_order(offset: int) -> None:
    moved = replace(EXAMPLE, half_hour=EXAMPLE.half_hour + offset)

    book = book_of(logged(settlement_event(moved), settlement_event(EXAMPLE)))

    starts = [one.half_hour for one in book.periods]
    assert starts == sorted({HalfHour(SIX.start), moved.half_hour})


def test_the_example_in_the_documentation_is_a_registry() -> None:
    page = (ROOT / "docs" / "settlement.md").read_text()
    example = json.loads(page.split("```json\n")[1].split("```")[0])

    events = [registry_event(read_record(one["kind"], one["record"])) for one in example["records"]]

    registry = registry_of(logged(*events), calendar=CALENDAR)
    assert [one.name for one in registry.sites] == ["london"]
    assert len(registry.allocations) == 1


def test_a_later_run_replaces_what_jobs_did_in_the_one_before() -> None:
    runs = (Run.SF, "job-1"), (Run.II, "job-0"), (Run.R1, "job-2")
    settled = [settlement_event(replace(EXAMPLE, run=r), contributions=did(j)) for r, j in runs]

    shares = newest_shares(book_of(logged(*settled)), account=EXAMPLE.account, rounding=ROUNDING)

    assert shares.by_job == {"job-2": Decimal(378)}


def test_a_run_that_does_not_pay_is_no_net_to_share() -> None:
    dearer = replace(EXAMPLE, fees_gbp=Decimal(8))
    both = SettlementBook((dearer, replace(EXAMPLE, run=Run.II)), tuple(did("job-1")))
    only = SettlementBook((replace(EXAMPLE, run=Run.II),), tuple(did("job-1")))

    assert newest_shares(both, account=EXAMPLE.account, rounding=ROUNDING).total_gbp == 370
    assert newest_shares(only, account=EXAMPLE.account, rounding=ROUNDING).total_gbp == 0


OTHER = replace(EXAMPLE, account="OTHERCO", fees_gbp=Decimal(189))


def test_what_jobs_of_another_account_did_is_no_part_of_the_net() -> None:
    theirs = replace(CONTRIBUTION, team="research", reduction_mwh=Decimal("1.4"))
    entries = logged(
        settlement_event(EXAMPLE, contributions=[CONTRIBUTION]),
        settlement_event(OTHER, contributions=[theirs]),
    )

    book = book_of(entries)

    ours, others = (
        newest_shares(book, account=one.account, rounding=ROUNDING).by_team
        for one in (EXAMPLE, OTHER)
    )
    assert ours == {"vision": Decimal(378)}
    assert others == {"research": Decimal(189)}
    assert read_book(write_book(book)) == book


def test_a_settlement_is_recorded_the_same_whether_its_jobs_name_the_account() -> None:
    named = replace(CONTRIBUTION, account=EXAMPLE.account)

    event = settlement_event(EXAMPLE, contributions=[named])

    assert event == settlement_event(EXAMPLE, contributions=[CONTRIBUTION])
    # as recorded before contributions had an account
    assert event.id.endswith(":9a63b2ff81b53a88")


def test_a_contribution_to_another_account_is_no_part_of_a_settlement() -> None:
    with pytest.raises(ContractError, match="account OTHERCO is not valid; valid is GRIDFLEX"):
        settlement_event(EXAMPLE, contributions=[replace(CONTRIBUTION, account="OTHERCO")])


def test_shares_of_a_book_that_does_not_say_whose_jobs_they_are_are_refused() -> None:
    book = SettlementBook((EXAMPLE, OTHER), (CONTRIBUTION,))

    with pytest.raises(ContractError, match=r"job train-7 .* valid is GRIDFLEX or OTHERCO"):
        newest_shares(read_book(write_book(book)), account="GRIDFLEX", rounding=ROUNDING)
