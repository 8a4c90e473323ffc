"""A job's receipt: its figures by hand, its proof offline, its page."""

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.jobs import Flexibility, JobId, JobState, Tier
from gridflex.ledger.canonical import canonical_json, digest
from gridflex.ledger.event import EventType
from gridflex.ledger.verify.entries import parse_entry
from gridflex.ledger.verify.folder import verify_ledger
from gridflex.ledger.verify.merkle import leaf_hash
from gridflex.ledger.verify.reading import VerificationError
from gridflex.ledger.verify.receipts import verify_receipt
from gridflex.lifecycle import Attempt, AttemptState, Job, JobRequest, Outcome, StopReason
from gridflex.market.billing.receipt_page import receipt_facts, receipt_html
from gridflex.market.billing.receipts import (
    Basis,
    Evidence,
    HalfHourUse,
    IssuedReceipt,
    JobRecord,
    draft_receipt,
    exact,
    weakest,
)
from tests.unit.ledger.ledgers import SECOND, SIGNER, Ledger, ledger
from tests.unit.ledger.whole_tree import MerkleTree

SIX = datetime(2026, 7, 1, 6, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEYS = [SIGNER.key]
JOB = Job(
    id=JobId("train-7"),
    seq=1,
    state=JobState.SUCCEEDED,
    submitted_at=SIX,
    request=JobRequest("python train.py"),
    flexibility=Flexibility(
        tier=Tier.T3,
        deadline=SIX + 12 * HOUR,
        duration=HOUR,
        duration_is_declared=True,
        interruptible=True,
        gpus=8,
        min_gpus=8,
        max_gpus=8,
        team="vision & <language>",
    ),
    attempts=(
        Attempt(
            *(1, "train-7", "london", AttemptState.ENDED, SIX + 2 * HOUR),
            started_at=SIX + 2 * HOUR,
            stop_reason=StopReason.PAUSE,
            ended_at=SIX + 2.5 * HOUR,
            outcome=Outcome.STOPPED,
        ),
        Attempt(
            *(2, "train-7-a2", "london", AttemptState.ENDED, SIX + 4 * HOUR),
            started_at=SIX + 4 * HOUR,
            ended_at=SIX + 4.6 * HOUR,
            outcome=Outcome.SUCCEEDED,
        ),
    ),
    ended_at=SIX + 4.6 * HOUR,
)
START = HalfHour(SIX)
RECORD = JobRecord(
    job=JOB,
    half_hours=(  # at once: 2 kWh twice at 200 and 100 GBP/MWh; later: 2.1 and 2.2 kWh for less
        HalfHourUse(START, 0, 2, 200, 300),
        HalfHourUse(START + 1, 0, 2, 100, 250),
        HalfHourUse(START + 4, 2.1, 0, 50, 100),
        HalfHourUse(START + 8, 2.2, 0, -10, 80.5),
    ),
    redone=timedelta(minutes=6),
    energy=Basis.MODELLED,
    grid=Basis.MEASURED,
    grid_origin="recorded",
    evidence=(Evidence(3, leaf_hash(ledger(5).entries[3]).hex()),),
)


def issued(record: JobRecord = RECORD, *, before: int = 5) -> tuple[Ledger, IssuedReceipt]:
    """A ledger with the receipt as its last entry but one, and the receipt as handed out."""
    made = ledger(before, signed_at=())
    draft = draft_receipt(record)
    made.entries.append(draft.event.entry(recorded_at=SIX + 10 * HOUR))
    made.entries.append(replace(draft.event, id="x").entry(recorded_at=SIX + 10 * HOUR + SECOND))
    checkpoint = made.sign()
    proof = MerkleTree(made.entries).inclusion_proof(before)
    receipt = IssuedReceipt(
        index=before,
        entry=parse_entry(made.entries[before]),
        details=draft.details,
        inclusion=[base64.b64encode(one).decode() for one in proof],
        checkpoint=checkpoint.note,
    )
    return made, receipt


def figure(receipt: IssuedReceipt, name: str) -> tuple[str, str]:
    found = receipt.entry["body"]["figures"][name]
    return found["value"], found["basis"]


DELIVERED = replace(
    RECORD,
    half_hours=tuple(
        replace(one, delivered_gbp_per_mwh=gbp)
        for one, gbp in zip(RECORD.half_hours, (300.0, 250.0, 150.0, 90.0), strict=True)
    ),
)


def test_what_energy_costs_at_the_meter_stands_beside_the_wholesale_cost() -> None:
    _, receipt = issued(DELIVERED)

    figures = receipt.entry["body"]["figures"]
    assert Decimal(figures["cost_gbp"]["value"]) == Decimal("0.083")  # 2.1 x 50 - 2.2 x 10
    assert Decimal(figures["delivered_cost_gbp"]["value"]) == Decimal("0.513")
    assert Decimal(figures["run_now_delivered_cost_gbp"]["value"]) == Decimal("1.1")
    assert Decimal(figures["delivered_saved_gbp"]["value"]) == Decimal("0.587")
    verify_receipt(json.dumps(receipt.as_json()), keys=KEYS)
    page = receipt_html(receipt)
    assert "Saved by moving it, delivered" in page
    assert "GBP/MWh, delivered" in page


def test_a_receipt_without_a_tariff_says_nothing_of_delivered_cost() -> None:
    _, receipt = issued()

    assert "delivered_cost_gbp" not in receipt.entry["body"]["figures"]
    assert "elivered" not in receipt_html(receipt).replace("Delivered cost is by the site", "")


def test_a_delivered_cost_that_does_not_follow_from_its_half_hours_is_refused() -> None:
    draft = draft_receipt(DELIVERED)
    rows = [dict(one) for one in draft.details["half_hours"]]
    rows[0]["delivered_gbp_per_mwh"] = "1"
    details = {**draft.details, "half_hours": rows}
    body = dict(draft.event.body) | {"details_sha256": digest(canonical_json(details))}
    made = ledger(5, signed_at=())
    made.entries.append(replace(draft.event, body=body).entry(recorded_at=SIX + 10 * HOUR))
    checkpoint = made.sign()
    forged = IssuedReceipt(
        index=5,
        entry=parse_entry(made.entries[5]),
        details=details,
        inclusion=[
            base64.b64encode(one).decode() for one in MerkleTree(made.entries).inclusion_proof(5)
        ],
        checkpoint=checkpoint.note,
    )

    with pytest.raises(VerificationError, match=r"delivered_cost_gbp is stated as 1\.1"):
        verify_receipt(json.dumps(forged.as_json()), keys=KEYS)


@pytest.mark.parametrize(
    ("value", "printed"),
    [("0.0042", "0.0042 GBP"), ("0.083", "0.083 GBP"), ("-0.000001", "-0.000001 GBP")],
)
def test_savings_below_a_penny_are_printed(value: str, printed: str) -> None:
    _, receipt = issued()
    receipt.entry["body"]["figures"]["saved_gbp"]["value"] = value

    assert printed in receipt_html(receipt)


def test_the_figures_are_those_worked_by_hand() -> None:
    _, receipt = issued()

    assert figure(receipt, "used_kwh") == ("4.3", "modelled")
    assert figure(receipt, "run_now_kwh") == ("4", "modelled")
    assert figure(receipt, "energy_change_kwh") == ("0.3", "modelled")
    # 2.1 x 100 + 2.2 x 80.5
    assert Decimal(figure(receipt, "location_based_gco2")[0]) == Decimal("387.1")
    # less 2 x 300 + 2 x 250
    assert Decimal(figure(receipt, "average_change_gco2")[0]) == Decimal("-712.9")
    # (2.1 x 50 - 2.2 x 10) / 1000, against (2 x 200 + 2 x 100) / 1000
    assert Decimal(figure(receipt, "cost_gbp")[0]) == Decimal("0.083")
    assert Decimal(figure(receipt, "run_now_cost_gbp")[0]) == Decimal("0.6")
    assert Decimal(figure(receipt, "saved_gbp")[0]) == Decimal("0.517")


def test_what_nobody_publishes_is_not_known_and_not_zero() -> None:
    _, receipt = issued()

    assert receipt.entry["body"]["figures"]["marginal_change_gco2"] is None
    assert receipt.entry["body"]["figures"]["earned_gbp"] is None


def test_marginal_emissions_stand_apart_from_average_ones() -> None:
    with_marginal = replace(
        RECORD,
        half_hours=tuple(replace(one, marginal_gco2_per_kwh=400.0) for one in RECORD.half_hours),
    )

    _, receipt = issued(with_marginal)

    assert Decimal(figure(receipt, "marginal_change_gco2")[0]) == 120  # 0.3 x 400
    assert figure(receipt, "marginal_change_gco2")[1] == "modelled"
    assert Decimal(figure(receipt, "average_change_gco2")[0]) == Decimal("-712.9")


@pytest.mark.parametrize(
    ("energy", "grid", "used", "cost", "saved"),
    [
        (Basis.MEASURED, Basis.MEASURED, "measured", "measured", "modelled"),
        (Basis.MEASURED, Basis.MODELLED, "measured", "modelled", "modelled"),
        (Basis.ASSUMED, Basis.MEASURED, "assumed", "assumed", "assumed"),
    ],
)
def test_a_figure_rests_on_its_weakest_part(
    energy: Basis, grid: Basis, used: str, cost: str, saved: str
) -> None:
    _, receipt = issued(replace(RECORD, energy=energy, grid=grid))

    assert figure(receipt, "used_kwh")[1] == used
    assert figure(receipt, "cost_gbp")[1] == cost
    assert figure(receipt, "saved_gbp")[1] == saved


def test_weakest_of_nothing_is_measured() -> None:
    assert weakest([]) is Basis.MEASURED


def test_it_says_what_was_promised_and_done() -> None:
    _, receipt = issued()
    body = receipt.entry["body"]

    assert body["promised"]["deadline"] == "2026-07-01T18:00:00Z"
    assert body["promised"]["duration_s"] == "3600.0"
    assert body["done"]["pauses"] == 1
    assert body["done"]["was_late"] is False
    assert body["done"]["run_time_s"] == "3960.0"
    assert body["work_lost"] == {
        "redone_s": "360.0",
        "redone_gpu_hours": "0.8",
        "basis": "modelled",
    }


def test_one_run_and_one_pause_are_told_as_one() -> None:
    _, receipt = issued()
    done = receipt.entry["body"]["done"]
    once = {**done, "attempts": done["attempts"][:1]}
    entry = {**receipt.entry, "body": {**receipt.entry["body"], "done": once}}

    facts = dict(receipt_facts(replace(receipt, entry=entry)))

    assert (facts["Ran"], facts["Paused"]) == ("1.10 h in 1 run", "1 time")
    assert dict(receipt_facts(receipt))["Ran"] == "1.10 h in 2 runs"


def test_a_job_that_has_not_ended_has_no_receipt() -> None:
    running = replace(JOB, state=JobState.RUNNING, ended_at=None)

    with pytest.raises(ContractError, match="train-7 has not ended"):
        draft_receipt(replace(RECORD, job=running))


def test_the_same_record_gives_the_same_event() -> None:
    assert draft_receipt(RECORD) == draft_receipt(RECORD)
    changed = replace(RECORD, grid_origin="live")
    assert draft_receipt(changed).event.id != draft_receipt(RECORD).event.id


def test_a_receipt_verifies_by_itself_and_against_its_ledger(tmp_path: Path) -> None:
    made, receipt = issued()

    verified = verify_receipt(json.dumps(receipt.as_json()), keys=KEYS)

    assert (verified.subject, verified.index) == ("job:train-7", 5)
    report = verify_ledger(made.write(tmp_path), keys=KEYS, receipts=[verified])
    assert report.size == 7


def tampered(change: Any) -> str:  # noqa: ANN401 - a function on parsed JSON
    _, receipt = issued()
    body = json.loads(json.dumps(receipt.as_json()))
    change(body)
    return json.dumps(body)


def _set(*path: Any) -> Any:  # noqa: ANN401
    *keys, last, value = path

    def change(body: Any) -> None:  # noqa: ANN401
        for key in keys:
            body = body[key]
        body[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(
            _set("entry", "body", "figures", "saved_gbp", "value", "9"), id="a figure raised"
        ),
        pytest.param(_set("entry", "body", "done", "was_late", "yes"), id="what was done"),
        pytest.param(_set("details", "half_hours", 2, "used_kwh", "1.0"), id="a half-hour"),
        pytest.param(_set("details", "evidence", []), id="evidence left out"),
        pytest.param(_set("index", 4), id="another place"),
        pytest.param(_set("inclusion", []), id="no proof"),
        pytest.param(_set("inclusion", 0, "AAAA"), id="a false proof"),
        pytest.param(_set("inclusion", 0, 7), id="a malformed proof"),
        pytest.param(_set("checkpoint", "none"), id="no checkpoint"),
        pytest.param(_set("schema", "other/1"), id="another schema"),
        pytest.param(_set("details", None), id="no details"),
        pytest.param(_set("entry", "event_type", "correction"), id="another type"),
    ],
)
def test_a_changed_receipt_does_not_verify(change: Any) -> None:  # noqa: ANN401
    with pytest.raises(VerificationError):
        verify_receipt(tampered(change), keys=KEYS)


def test_totals_that_do_not_follow_are_detected_though_they_are_logged() -> None:
    """The owner of the ledger himself logs a saving that his half-hours do not give."""
    draft = draft_receipt(RECORD)
    body = json.loads(json.dumps(draft.event.body))
    body["figures"]["saved_gbp"]["value"] = "5"
    made = Ledger([replace(draft.event, body=body).entry(recorded_at=SIX)])
    receipt = IssuedReceipt(0, parse_entry(made.entries[0]), draft.details, [], made.sign().note)

    with pytest.raises(VerificationError, match="saved_gbp is stated as 5"):
        verify_receipt(json.dumps(receipt.as_json()), keys=KEYS)


def test_an_entry_of_another_type_is_no_receipt_though_it_is_logged() -> None:
    draft = draft_receipt(RECORD)
    made = Ledger()
    made.entries.append(
        replace(draft.event, event_type=EventType.CORRECTION).entry(recorded_at=SIX)
    )
    receipt = IssuedReceipt(0, parse_entry(made.entries[0]), draft.details, [], made.sign().note)

    with pytest.raises(VerificationError, match="entry 0 is correction, not a receipt"):
        verify_receipt(json.dumps(receipt.as_json()), keys=KEYS)


def test_an_entry_that_a_receipt_rests_on_must_be_in_the_ledger(tmp_path: Path) -> None:
    made, receipt = issued(replace(RECORD, evidence=(Evidence(2, "00" * 32),)))
    verified = verify_receipt(json.dumps(receipt.as_json()), keys=KEYS)

    with pytest.raises(VerificationError, match="rests on another entry 2"):
        verify_ledger(made.write(tmp_path), keys=KEYS, receipts=[verified])


def test_a_receipt_of_another_history_is_detected(tmp_path: Path) -> None:
    made, receipt = issued()
    verified = verify_receipt(json.dumps(receipt.as_json()), keys=KEYS)
    other = ledger(20, signed_at=(20,))

    with pytest.raises(VerificationError, match="not those of a signed checkpoint"):
        verify_ledger(other.write(tmp_path), keys=KEYS, receipts=[verified])
    assert made.checkpoints[0].size == 7


NUMBER = st.floats(-1e6, 1e6)
USES = st.lists(
    st.builds(
        HalfHourUse,
        st.integers(0, 5000).map(lambda i: START + i),
        st.floats(0, 1e6),
        st.floats(0, 1e6),
        NUMBER,
        st.floats(0, 2000),
        st.none() | st.floats(0, 2000),
    ),
    max_size=8,
)


@given(USES)
def test_any_receipt_verifies_to_the_last_digit(uses: list[HalfHourUse]) -> None:
    _, receipt = issued(replace(RECORD, half_hours=tuple(uses)), before=1)

    verify_receipt(json.dumps(receipt.as_json()), keys=KEYS)


@given(USES)
def test_change_is_what_was_used_less_what_would_have_been(uses: list[HalfHourUse]) -> None:
    figures = draft_receipt(replace(RECORD, half_hours=tuple(uses))).event.body["figures"]
    value = {name: Decimal(one["value"]) for name, one in figures.items() if one}

    assert value["energy_change_kwh"] == value["used_kwh"] - value["run_now_kwh"]
    assert value["saved_gbp"] == value["run_now_cost_gbp"] - value["cost_gbp"]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.1, "0.1"),
        (1e-9, "0.0"),
        (-0.0, "0.0"),
        (123456.7891234, "123456.789123"),
        (1e22, "1" + "0" * 22),
    ],
)
def test_numbers_are_plain_text(number: float, text: str) -> None:
    assert exact(number) == text


def test_the_page_shows_it_all_and_escapes_names() -> None:
    _, receipt = issued()

    shown = receipt_html(receipt)

    for text in (
        "Receipt for job train-7",
        "vision &amp; &lt;language&gt;",
        "2026-07-01 18:00 UTC",
        "10:36 UTC, in time",
        "0.10 h, 0.80 GPU h (modelled)",
        ">0.52 GBP<",
        "not known",
        "recorded",
        "5 of 7",
    ):
        assert text in shown
    assert "<language>" not in shown
    assert "http" not in shown
