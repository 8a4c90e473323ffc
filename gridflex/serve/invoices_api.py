"""``/v1/settlement/invoices``: what a month is billed from what was settled.

What is issued is recorded in the ledger, and what is answered is computed from its entries.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel

from gridflex.adapters.ledger.store import LedgerStore
from gridflex.errors import ConflictError, ContractError
from gridflex.halfhour import HalfHour
from gridflex.ledger.canonical import digest
from gridflex.ledger.event import EventType
from gridflex.market.billing.charged import why_not_issued
from gridflex.market.billing.invoice_files import document_json, read_document
from gridflex.market.billing.monthly import (
    BillingContract,
    Unbilled,
    contract_cash,
    monthly_bill,
    parse_month,
    unbilled,
)
from gridflex.market.billing.records import invoice_event
from gridflex.market.days import SettlementDay
from gridflex.market.settlement.book import SettlementBook, settle_book
from gridflex.market.settlement.calendar import PublishedDays
from gridflex.market.settlement.records import book_of
from gridflex.market.volumes import Rounding
from gridflex.market.working_days import calendar_around
from gridflex.serve.clock import Clock
from gridflex.serve.known import Known


class InvoiceIn(BaseModel, extra="forbid"):
    """What a month is billed from.

    Attributes:
        contract: As in docs/settlement.md.
        month: Billing month, ``YYYY-MM``.
        known_on: Date of issue; runs paid by then count. None for the day after the month.
    """

    contract: BillingContract
    month: str
    known_on: SettlementDay | None = None


def create_invoices_router(
    ledger: LedgerStore, clock: Clock, *, published: PublishedDays
) -> APIRouter:
    """Return the paths of bills, below ``/settlement``.

    Args:
        ledger: Where settlements are read and bills are recorded.
        clock: GridFlex time.
        published: When runs pay by the settings, beside what a billing contract says.
    """
    api = APIRouter(tags=["settlement"])
    contracts = _Contracts(Known(ledger, clock), published)
    _add_bills(api, ledger, clock, contracts)
    _add_issued(api, ledger)
    return api


@dataclass(frozen=True, slots=True)
class _Contracts:
    """What makes a contract that was sent one of this system.

    Args:
        known: Which accounts there are.
        published: When runs pay by the settings.
    """

    known: Known
    published: PublishedDays

    async def taken_in(self, sent: BillingContract) -> BillingContract:
        """Return it with the calendar of the settings.

        Raises:
            ContractError: Its account is unknown, or its calendar contradicts the settings'.
        """
        try:
            await self.known.account(sent.account)
        except ContractError as error:
            raise ContractError(f"billing contract: {error}") from error
        return sent.with_published(self.published)


def _add_bills(api: APIRouter, ledger: LedgerStore, clock: Clock, contracts: _Contracts) -> None:
    @api.post("/invoices/unbilled")
    async def waiting(sent: InvoiceIn) -> list[Unbilled]:
        """What a month's bill does not have yet.

        Runs that are settled and not in it, and when they will be: by the calendar of the billing
        contract and the settings, else the usual lags. Nothing is recorded.
        """
        contract = await contracts.taken_in(sent.contract)
        month = parse_month(sent.month)
        known_on = sent.known_on or month.end
        cash = contract_cash(
            settle_book(await _settled(ledger)),
            contract=contract,
            calendar=calendar_around(known_on),
        )
        return list(unbilled(cash, contract=contract, month=month, known_on=known_on))

    @api.post("/invoices")
    async def bill(sent: InvoiceIn) -> list[dict[str, Any]]:
        """Bill a month.

        From the settlements in the ledger, under a billing contract; the invoice and credit notes
        are recorded and answered. The same again records nothing; 409 where it would contradict
        what was issued.
        """
        contract = await contracts.taken_in(sent.contract)
        month = parse_month(sent.month)
        known_on = sent.known_on or month.end
        _refuse_tomorrow(known_on, today=HalfHour.containing(clock.now()).settlement[0])
        since = await ledger.size()
        issued = await _issued(ledger)
        made = monthly_bill(
            await _settled(ledger),
            contract=contract,
            month=month,
            known_on=known_on,
            calendar=calendar_around(known_on),
            rounding=Rounding(),
        )
        bodies = [one["body"] for one in issued]
        if why := why_not_issued(made, contract=sent.contract, issued=bodies):
            raise ConflictError(why)
        known = {one["document_sha256"] for one in bodies}
        new = [one for one in made.documents if digest(document_json(one)) not in known]
        if new or not made.documents:
            events = [invoice_event(one, account=sent.contract.account) for one in new]
            if not events:
                raise ContractError("there is nothing to record")
            await ledger.append_unless_changed(
                events, now=clock.now(), since=since, kinds=[EventType.INVOICE_ISSUED]
            )
        return [json.loads(document_json(one)) for one in made.documents]


def _add_issued(api: APIRouter, ledger: LedgerStore) -> None:
    @api.post("/invoices.pdf", response_class=Response)
    async def printed(request: Request) -> Response:
        """Print an invoice or credit note.

        The body is the document as it was answered when it was issued, as JSON; the answer is a
        PDF. Refused where it was not issued with this content.
        """
        document = read_document(await request.body())
        issued = await _issued(ledger, subject=f"invoice:{document.number}")
        known = {one["body"]["document_sha256"] for one in issued}
        if digest(document_json(document)) not in known:
            raise ContractError(
                f"{document.kind} {document.number} was not issued with this content"
            )
        from gridflex.adapters.market.invoice_pdf import document_pdf  # noqa: PLC0415 - loads fonts

        name = f'inline; filename="{document.number}.pdf"'
        return Response(
            document_pdf(document),
            media_type="application/pdf",
            headers={"Content-Disposition": name},
        )

    @api.get("/invoices")
    async def invoices() -> list[dict[str, Any]]:
        """List invoices and credit notes, oldest first.

        The figures of each, as recorded when it was issued.
        """
        return [one["body"] for one in await _issued(ledger)]


def _refuse_tomorrow(known_on: date, *, today: date) -> None:
    if known_on > today:
        raise ContractError(
            f"known_on {known_on}, the date of issue (without one the day after the month), is "
            f"after today; valid is {today} or before"
        )


async def _issued(ledger: LedgerStore, *, subject: str | None = None) -> list[dict[str, Any]]:
    return [one.event for one in await ledger.find(EventType.INVOICE_ISSUED, subject=subject)]


async def _settled(ledger: LedgerStore) -> SettlementBook:
    return book_of(one.event for one in await ledger.find(EventType.SETTLEMENT_RUN))
