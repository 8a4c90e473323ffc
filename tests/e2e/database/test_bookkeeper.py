"""From what the agents stored to a signed ledger and receipts that verify offline."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from gridflex.adapters.grid.store import GridStore
from gridflex.adapters.jobs.plan_store import PlanStore
from gridflex.adapters.jobs.store import JobStore
from gridflex.adapters.ledger.feed import LedgerFeed
from gridflex.adapters.ledger.files import export_ledger
from gridflex.adapters.ledger.key import LedgerKey
from gridflex.adapters.ledger.store import LedgerStore
from gridflex.adapters.market.receipt_store import ReceiptStore
from gridflex.agents.bookkeeper import Bookkeeper, Stamper
from gridflex.agents.grid import USUAL_LEVEL_FROM
from gridflex.errors import SourceError
from gridflex.fleet import Site
from gridflex.halfhour import HalfHour
from gridflex.jobs import Flexibility, JobId, Tier
from gridflex.ledger.canonical import canonical_json, digest
from gridflex.ledger.event import Event, EventType
from gridflex.ledger.verify.folder import verify_ledger
from gridflex.ledger.verify.receipts import verify_receipt
from gridflex.lifecycle import JobRequest, Outcome, StopReason
from gridflex.market.billing.receipts import DraftReceipt
from gridflex.market.settlement.attribution import Contribution
from gridflex.market.settlement.records import settlement_event
from gridflex.market.settlement.runs import Run
from gridflex.planning.plan import PlannedRun
from gridflex.signals import Kind, Origin, Series, Signal
from tests.unit.ledger.ledgers import ORIGIN
from tests.unit.market.test_settlement import EXAMPLE

SIX = datetime(2026, 7, 1, 6, tzinfo=UTC)
START = HalfHour(SIX)
MINUTE = timedelta(minutes=1)
JOB = JobId("train-7")
SITE = Site("london", gpus=8, gpu_type="H100", postcode="RG10", marginal_pue=1.0)
FLEXIBLE = Flexibility(
    tier=Tier.T3,
    deadline=SIX + timedelta(hours=12),
    duration=timedelta(hours=1),
    duration_is_declared=True,
    interruptible=True,
    gpus=8,
    min_gpus=8,
    max_gpus=8,
    power_kw=4.0,
    sites=("london",),
)


class Books:
    """Stores over one database with a bookkeeper over them."""

    def __init__(self, engine: AsyncEngine, folder: Path) -> None:
        self.engine = engine
        self.key = LedgerKey(folder / "ledger", origin=ORIGIN)
        self.ledger = LedgerStore(engine, key=self.key)
        self.jobs = JobStore(engine)
        self.grid = GridStore(engine)
        self.receipts = ReceiptStore(engine, ledger=self.ledger)
        self.keeper = self.new_keeper()

    def new_keeper(
        self, stamper: Stamper | None = None, *, unsized: tuple[str, ...] = ()
    ) -> Bookkeeper:
        return Bookkeeper(
            stamper=stamper,
            unsized=unsized,
            ledger=self.ledger,
            feed=LedgerFeed(self.engine),
            receipts=self.receipts,
            jobs=self.jobs,
            outturns=self.grid,
            sites=[SITE],
            restart=MINUTE,
        )

    async def run_job(self) -> None:
        """Submitted at 06:00, ran 09:00 to 09:30 and 10:00 to 10:31."""
        await self.jobs.add(JOB, JobRequest("python train.py"), FLEXIBLE, submitted_at=SIX)
        for hour, minutes, outcome in ((3, 30, Outcome.STOPPED), (4, 31, Outcome.SUCCEEDED)):
            at = SIX + timedelta(hours=hour)
            attempt = await self.jobs.decide_attempt(JOB, site="london", at=at)
            assert attempt is not None
            await self.jobs.attempt_submitted(JOB, attempt.number, at=at)
            await self.jobs.attempt_started(JOB, attempt.number, at=at, driver={})
            until = at + minutes * MINUTE
            if outcome is Outcome.STOPPED:
                await self.jobs.attempt_stopping(
                    JOB, attempt.number, reason=StopReason.PAUSE, at=until
                )
            await self.jobs.attempt_ended(JOB, attempt.number, outcome=outcome, at=until, driver={})
        await self.jobs.add_energy(
            [
                energy(1, START + 6, 1800.0, 2.0),
                energy(2, START + 8, 1800.0, 2.0),
                energy(2, START + 9, 60.0, 4.0 / 60),
            ]
        )

    async def outturns(self, *, until: HalfHour = START + 10) -> None:
        """Price 100 GBP/MWh and 200 gCO2/kWh at 06:00, 50 and 80 from 07:00 on."""
        for signal, early, late in ((Signal.PRICE, 100.0, 50.0), (Signal.INTENSITY, 200.0, 80.0)):
            values = np.full(START.until(until), late)
            values[:2] = early
            series = Series(
                signal=signal,
                kind=Kind.OUTTURN,
                source=USUAL_LEVEL_FROM[signal],
                origin=Origin.RECORDED,
                region="GB",
                start=START,
                values=values,
                issued_at=until.start,
                available_at=until.start,
            )
            await self.grid.save_series([series])


def energy(attempt: int, half_hour: HalfHour, running_s: float, kwh: float) -> Mapping[str, Any]:
    return {
        "job_id": str(JOB),
        "attempt": attempt,
        "start": half_hour.start,
        "running_s": running_s,
        "energy_kwh": kwh,
        "method": "declared",
    }


NOON = SIX + timedelta(hours=6)


class FakeAuthority:
    """Stamps, or fails."""

    name = "tsa.example"

    def __init__(self, *, fails: bool = False) -> None:
        self.stamped: list[str] = []
        self._fails = fails

    async def stamp(self, note: str) -> bytes:
        if self._fails:
            raise SourceError("timestamp authority tsa.example: HTTP 503")
        self.stamped.append(note)
        return b"token"


@pytest.fixture
def books(engine: AsyncEngine, tmp_path: Path) -> Books:
    return Books(engine, tmp_path)


async def test_what_was_stored_is_recorded_once(books: Books) -> None:
    await books.run_job()
    runs = {JOB: (PlannedRun(JOB, "london", START + 6, 1, 8),)}
    plans = PlanStore(books.engine)
    await plans.commit(
        runs, made_at=SIX, start=START + 1, reason="job", result={"cost_gbp": 1.5}, inputs={"a": 1}
    )

    first = await books.keeper.tick(SIX + timedelta(hours=4, minutes=32))
    again = await books.new_keeper().tick(SIX + timedelta(hours=4, minutes=33))

    found = await books.ledger.find()
    types = [one.event["event_type"] for one in found]
    assert first.recorded == len(found)
    assert again.recorded == 0
    assert types.count("meter.received") == 3
    assert types.count("plan.committed") == 1
    assert first.size == again.size == len(found)


async def test_a_plan_is_recorded_with_digests_of_all_it_rests_on(books: Books) -> None:
    await books.run_job()
    runs = {JOB: (PlannedRun(JOB, "london", START + 6, 1, 8),)}
    result, inputs = {"cost_gbp": 1.5, "gap_fraction": 0.01}, {"price": [1.0, 2.5]}
    await PlanStore(books.engine).commit(
        runs, made_at=SIX, start=START + 1, reason="job", result=result, inputs=inputs
    )
    await books.keeper.tick(NOON)

    (plan,) = await books.ledger.find(EventType.PLAN_COMMITTED)

    body = plan.event["body"]
    row = {
        "job_id": JOB,
        "start": "2026-07-01T09:00Z",
        "half_hours": 1,
        "site": "london",
        "gpus": 8,
        "power_cap_fraction": 1.0,
    }
    assert body["runs_sha256"] == digest(canonical_json([row]))
    assert body["inputs_sha256"] == digest(canonical_json(inputs))
    assert body["result_sha256"] == digest(canonical_json({**result, "jobs": [JOB]}))
    assert (body["cost_gbp"], body["gap_fraction"]) == ("1.5", "0.01")
    assert plan.event["valid_time"] == "2026-07-01T06:30:00.000000Z"


async def test_the_promise_is_recorded_as_it_was_made(books: Books) -> None:
    await books.run_job()
    await books.keeper.tick(NOON)

    submitted = (await books.ledger.find(subject=f"job:{JOB}"))[0].event

    assert submitted["event_type"] == "job.changed"
    assert submitted["body"]["kind"] == "submitted"
    assert submitted["body"]["flexibility"]["deadline"] == "2026-07-01T18:00:00Z"
    assert submitted["body"]["flexibility"]["power_kw"] == "4.0"


async def test_what_the_owner_does_against_the_plan_is_an_override(books: Books) -> None:
    await books.jobs.add(JOB, JobRequest("x"), FLEXIBLE, submitted_at=SIX)
    await books.jobs.request_stop(JOB, at=SIX + MINUTE)
    await books.keeper.tick(NOON)

    (override,) = await books.ledger.find(EventType.OVERRIDE_MADE)

    assert override.event["body"]["kind"] == "stop requested"


async def test_a_beckn_message_is_recorded_with_its_digest_and_signature(books: Books) -> None:
    async with books.engine.begin() as connection:
        await connection.execute(
            text(
                "INSERT INTO beckn_message (way, is_callback, action, transaction_id, message_id,"
                " peer, url, signature, authorization_header, body, at) VALUES ('out', false,"
                " 'confirm', gen_random_uuid(), gen_random_uuid(), 'peer.example', 'http://x',"
                " 'c2ln', 'Signature x', '\\x7b7d', :at)"
            ),
            {"at": SIX},
        )
    await books.keeper.tick(NOON)

    (message,) = await books.ledger.find(EventType.CONTRACT_MESSAGE)

    body = message.event["body"]
    assert (body["action"], body["signature"]) == ("confirm", "c2ln")
    assert body["body_sha256"] == digest(b"{}")


async def test_an_ended_job_gets_a_receipt_that_verifies_offline(
    books: Books, tmp_path: Path
) -> None:
    await books.run_job()
    await books.outturns()

    report = await books.keeper.tick(NOON)

    assert (report.receipts, report.waiting) == ((JOB,), ())
    receipt = await books.receipts.newest(JOB)
    assert receipt is not None
    verified = verify_receipt(json.dumps(receipt.as_json()), keys=[books.key.signer.key])
    await export_ledger(books.ledger, tmp_path / "export")
    verify_ledger(tmp_path / "export", keys=[books.key.signer.key], receipts=[verified])
    assert len(verified.evidence) == len(await books.ledger.find(subject=f"job:{JOB}")) - 1


async def test_the_receipt_has_the_figures_worked_by_hand(books: Books) -> None:
    """61 minutes with one start of a minute too many: at once, 4 kW from 06:00 to 07:00."""
    await books.run_job()
    await books.outturns()
    await books.keeper.tick(NOON)

    receipt = await books.receipts.newest(JOB)

    assert receipt is not None
    body = receipt.entry["body"]
    value = {name: Decimal(one["value"]) for name, one in body["figures"].items() if one}
    assert value["run_now_kwh"] == 4
    assert value["used_kwh"] == Decimal("4.066667")
    assert value["run_now_cost_gbp"] == Decimal("0.4")
    assert value["cost_gbp"] == Decimal("4.066667") * 50 / 1000
    assert value["average_change_gco2"] == Decimal("4.066667") * 80 - 800
    assert body["figures"]["used_kwh"]["basis"] == "assumed"  # the owner declared the power
    assert body["work_lost"]["redone_s"] == "60.0"
    assert body["grid_origin"] == "recorded"
    assert body["done"]["pauses"] == 1


async def test_a_receipt_waits_for_outturns(books: Books) -> None:
    await books.run_job()
    await books.outturns(until=START + 9)

    assert (await books.keeper.tick(NOON)).waiting == (JOB,)

    await books.outturns()
    assert (await books.keeper.tick(NOON + MINUTE)).receipts == (JOB,)
    assert (await books.keeper.tick(NOON + 2 * MINUTE)).receipts == ()


async def test_a_receipt_waits_for_a_site_to_say_how_large_it_is(books: Books) -> None:
    await books.run_job()
    await books.outturns()

    before = await books.new_keeper(unsized=("london",)).tick(NOON)
    after = await books.new_keeper(unsized=("slough",)).tick(NOON)

    assert (before.receipts, before.waiting) == ((), (str(JOB),))
    assert (after.receipts, after.waiting) == ((str(JOB),), ())


async def test_a_receipt_waits_for_the_last_reading(books: Books) -> None:
    await books.run_job()
    await books.outturns()
    async with books.engine.begin() as connection:
        await connection.execute(text("ALTER TABLE energy DISABLE TRIGGER USER"))
        await connection.execute(text("DELETE FROM energy WHERE running_s = 60"))

    assert (await books.keeper.tick(NOON)).waiting == (JOB,)


async def test_a_job_that_just_ended_has_no_receipt_yet(books: Books) -> None:
    await books.run_job()
    await books.outturns()

    report = await books.keeper.tick(SIX + timedelta(hours=5, minutes=30))

    assert (report.receipts, report.waiting) == ((), ())


async def test_an_unsigned_receipt_is_not_handed_out(books: Books) -> None:
    await books.run_job()
    await books.outturns()
    unsigned = ReceiptStore(books.engine, ledger=LedgerStore(books.engine))
    await books.keeper.tick(NOON)
    receipt = await unsigned.newest(JOB)
    assert receipt is not None
    newer = Event(
        id="receipt:again",
        event_type=EventType.RECEIPT_ISSUED,
        body=receipt.entry["body"],
        subject=f"job:{JOB}",
        prev_ref=receipt.index,
    )

    await unsigned.issue(DraftReceipt(newer, receipt.details), now=NOON + MINUTE)

    assert await unsigned.newest(JOB) == receipt
    await books.ledger.sign(now=NOON + MINUTE)
    corrected = await unsigned.newest(JOB)
    assert corrected is not None
    assert corrected.entry["prev_ref"] == receipt.index
    assert await unsigned.jobs() == [JOB]


async def settle(books: Books, run: Run = Run.SF) -> None:
    """Half-hour 06:00 earned 378 GBP, and a third of what was reduced in it was our job's."""
    parts = [
        Contribution(START, JOB, "vision", None, Decimal("0.001")),
        Contribution(START, "other", "vision", None, Decimal("0.002")),
    ]
    period = replace(EXAMPLE, half_hour=START, run=run)
    await books.ledger.append([settlement_event(period, contributions=parts)], now=NOON)


async def test_what_a_job_earned_follows_its_settlement(books: Books, tmp_path: Path) -> None:
    await books.run_job()
    await books.outturns()
    await books.keeper.tick(NOON)
    first = await books.receipts.newest(JOB)
    await settle(books)

    report = await books.keeper.tick(NOON + MINUTE)

    assert (report.receipts, report.earned) == ((), (JOB,))
    second = await books.receipts.newest(JOB)
    assert first is not None
    assert second is not None
    assert second.entry["prev_ref"] == first.index
    assert second.entry["body"]["figures"]["earned_gbp"]["value"] == "126.000000"
    verified = [
        verify_receipt(json.dumps(one.as_json()), keys=[books.key.signer.key])
        for one in (first, second)
    ]
    await export_ledger(books.ledger, tmp_path / "export")
    found = verify_ledger(tmp_path / "export", keys=[books.key.signer.key], receipts=verified)
    assert found.superseded == {first.index: second.index}


async def test_a_settlement_before_the_receipt_is_not_forgotten(books: Books) -> None:
    await settle(books)
    assert (await books.keeper.tick(NOON)).earned == ()
    await books.run_job()
    await books.outturns()

    report = await books.keeper.tick(NOON + MINUTE)

    assert (report.receipts, report.earned) == ((JOB,), (JOB,))


async def test_a_job_that_waits_for_its_receipt_is_followed_by_whoever_starts_again(
    books: Books,
) -> None:
    """Receipts of other jobs, issued since its settlement, do not hide that."""
    await settle(books)
    other = Event("receipt:other", EventType.RECEIPT_ISSUED, {}, subject="job:other")
    await books.ledger.append([other], now=NOON + timedelta(days=5))
    await books.run_job()
    await books.outturns()

    report = await books.new_keeper().tick(NOON + timedelta(days=5, minutes=1))

    assert report.earned == (JOB,)


async def test_a_bookkeeper_that_starts_again_follows_nothing_twice(books: Books) -> None:
    await books.run_job()
    await books.outturns()
    await settle(books)
    await books.keeper.tick(NOON)
    size = await books.ledger.size()

    report = await books.new_keeper().tick(NOON + MINUTE)
    await settle(books, Run.R1)
    later = await books.new_keeper().tick(NOON + MINUTE)

    assert report.earned == ()
    assert later.earned == (JOB,)
    assert await books.ledger.size() == size + 2


async def test_a_checkpoint_is_stamped_once_a_half_hour(books: Books) -> None:
    authority = FakeAuthority()
    keeper = books.new_keeper(authority)
    await books.run_job()

    for minutes in (0, 10, 29, 30, 40):
        await keeper.tick(NOON + minutes * MINUTE)

    assert len(authority.stamped) == 2
    (checkpoint,) = await books.ledger.checkpoints()
    assert checkpoint.tokens == {"tsa.example": b"token"}


async def test_an_authority_that_fails_delays_nothing(books: Books) -> None:
    await books.run_job()

    report = await books.new_keeper(FakeAuthority(fails=True)).tick(NOON)

    assert report.recorded > 0
    assert report.size == report.recorded
