"""Fees, commission that follows settlement runs, and the documents they end in."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from decimal import Decimal
from io import BytesIO, StringIO
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pypdf import PageObject, PdfReader
from pypdf.generic import DictionaryObject

from gridflex.adapters.market.invoice_pdf import document_pdf
from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.billing.fees import (
    CommissionTerms,
    LossRule,
    Month,
    MonthNet,
    commission_due,
    commission_lines,
    counting_on,
    month_nets,
    subscription_gbp,
)
from gridflex.market.billing.invoice import (
    BillingRun,
    Document,
    DocumentKind,
    Party,
    documents,
    show_back,
)
from gridflex.market.billing.invoice_files import (
    document_html,
    document_json,
    documents_csv,
    read_document,
)
from gridflex.market.settlement.attribution import Shares
from gridflex.market.settlement.runs import HalfHourCash, Run
from gridflex.market.volumes import Rounding

JULY, AUGUST = Month(2026, 7), Month(2026, 8)
ROUNDING = Rounding()
TERMS = CommissionTerms()
PAID_ON = {run: date(2026, 8, 1).replace(month=8 + n % 5) for n, run in enumerate(Run)}
LATER = date(2030, 1, 1)
SELLER = Party("GridFlex Ltd", ("1 Example Street", "London"), "GB000000000")
CUSTOMER = Party("Data <Centre> & Co", ("2 Example Road",))


@pytest.mark.parametrize(
    ("gpus", "fee"),
    [
        (0, "2000.00"),
        (499, "2000.00"),
        (500, "5000.00"),
        (2000, "5000.00"),
        (2001, "8000.00"),
        (100_000, "8000.00"),
    ],
)
def test_the_fee_follows_the_size_of_the_fleet(gpus: int, fee: str) -> None:
    assert subscription_gbp(gpus, day=date(2026, 7, 1)) == Decimal(fee)


def test_there_is_no_fee_before_the_price_list() -> None:
    with pytest.raises(ContractError, match="nothing is in force"):
        subscription_gbp(10, day=date(2025, 12, 31))


def cash(
    day: date, run: Run, net: str, *, paid_on: date | None = None, period: int = 1
) -> HalfHourCash:
    half_hour = HalfHour.from_settlement(day, period)
    return HalfHourCash("GRIDFLEX", half_hour, run, Decimal(net), paid_on or PAID_ON[run])


def known(cashes: Iterable[HalfHourCash], *, on: date = LATER) -> list[MonthNet]:
    return month_nets(counting_on(cashes, known_on=on))


def due(*cashes: HalfHourCash, terms: CommissionTerms = TERMS) -> dict[str, Decimal]:
    nets = known(cashes)
    return {
        str(one.month): one.due_gbp for one in commission_due(nets, terms=terms, rounding=ROUNDING)
    }


def test_commission_is_a_fifth_of_the_net() -> None:
    assert due(cash(date(2026, 7, 1), Run.SF, "378.00")) == {"2026-07": Decimal("75.60")}


def test_the_newest_run_that_has_paid_counts() -> None:
    runs = [
        cash(date(2026, 7, 1), Run.II, "999.00"),
        cash(date(2026, 7, 1), Run.SF, "378.00", paid_on=date(2026, 7, 23)),
        cash(date(2026, 7, 1), Run.R1, "350.00", paid_on=date(2026, 8, 25)),
    ]

    (before,) = known(runs, on=date(2026, 8, 24))
    (after,) = known(runs, on=date(2026, 8, 25))

    assert (before.net_gbp, before.oldest_run) == (Decimal("378.00"), Run.SF)
    assert (after.net_gbp, after.oldest_run) == (Decimal("350.00"), Run.R1)


def test_a_run_of_part_of_a_day_is_not_billed_as_the_whole_day() -> None:
    day, sf, r1 = date(2026, 7, 1), date(2026, 7, 23), date(2026, 8, 25)
    runs = [
        *(cash(day, Run.SF, "378.00", paid_on=sf, period=one) for one in (1, 2)),
        cash(day, Run.R1, "370.00", paid_on=r1),
    ]

    (before,), (after,) = known(runs, on=sf), known(runs, on=r1)

    assert (before.net_gbp, after.net_gbp) == (Decimal("756.00"), Decimal("748.00"))
    assert (after.days, after.oldest_run) == (1, Run.SF)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        pytest.param(LossRule.CARRY_FORWARD, ["0.00", "60.00"], id="carried forward"),
        pytest.param(LossRule.FLOOR, ["0.00", "80.00"], id="forgotten"),
    ],
)
def test_a_month_with_a_loss(rule: LossRule, expected: list[str]) -> None:
    result = due(
        cash(date(2026, 7, 1), Run.SF, "-100.00"),
        cash(date(2026, 8, 3), Run.SF, "400.00"),
        terms=CommissionTerms(loss_rule=rule),
    )

    assert list(result.values()) == [Decimal(one) for one in expected]


def test_part_is_held_back_until_the_whole_month_is_final() -> None:
    terms = CommissionTerms(hold_back_fraction=Decimal("0.10"))
    first, second = date(2026, 7, 1), date(2026, 7, 2)

    early = due(cash(first, Run.RF, "300"), cash(second, Run.R3, "78"), terms=terms)
    final = due(cash(first, Run.RF, "300"), cash(second, Run.RF, "78"), terms=terms)

    assert early == {"2026-07": Decimal("68.04")}
    assert final == {"2026-07": Decimal("75.60")}


NETS = st.dictionaries(
    st.tuples(
        st.sampled_from([date(2026, 7, 1), date(2026, 8, 3)]), st.sampled_from(list(Run)[1:])
    ),
    st.decimals(-1000, 1000, places=4),
)


@given(NETS, st.sampled_from(LossRule), st.sampled_from(["0", "0.1", "0.5"]))
def test_bills_add_up_to_what_is_due_in_the_end(
    nets: dict[tuple[date, Run], Decimal], rule: LossRule, held: str
) -> None:
    terms = CommissionTerms(loss_rule=rule, hold_back_fraction=Decimal(held))
    cashes = [cash(day, run, str(net), paid_on=PAID_ON[run]) for (day, run), net in nets.items()]
    billed: dict[Month, Decimal] = {}
    for month in range(8, 13):
        nets_by_then = known(cashes, on=date(2026, month, 28))
        for line in commission_lines(
            nets_by_then, billed_gbp=billed, terms=terms, rounding=ROUNDING
        ):
            billed[line.month] = billed.get(line.month, Decimal(0)) + line.amount_gbp

    final = commission_due(known(cashes), terms=terms, rounding=ROUNDING)

    assert billed == {one.month: one.due_gbp for one in final if one.due_gbp or one.month in billed}


def run(
    cashes: Iterable[HalfHourCash],
    *,
    billed: dict[Month, Decimal] | None = None,
    gpus: int | None = 499,
) -> BillingRun:
    lines = commission_lines(known(cashes), billed_gbp=billed or {}, terms=TERMS, rounding=ROUNDING)
    return BillingRun(
        month=AUGUST,
        issued_on=date(2026, 9, 1),
        seller=SELLER,
        customer=CUSTOMER,
        gpus=gpus,
        lines=tuple(lines),
        invoices={JULY: ("GF-2026-00007",)},
        next_number=8,
    )


def test_an_invoice_has_the_fee_the_commission_and_tax() -> None:
    (invoice,) = documents(run([cash(date(2026, 7, 1), Run.SF, "378.00")]), rounding=ROUNDING)

    assert invoice.number == "GF-2026-00008"
    assert [line.amount_gbp for line in invoice.lines] == [Decimal("2000.00"), Decimal("75.60")]
    assert (invoice.net_gbp, invoice.vat_gbp, invoice.gross_gbp) == (
        Decimal("2075.60"),
        Decimal("415.12"),
        Decimal("2490.72"),
    )
    assert "net 378.00 GBP at run SF" in invoice.lines[1].basis


def test_a_later_run_with_less_gives_a_credit_note_for_the_invoice_it_corrects() -> None:
    later = run(
        [cash(date(2026, 7, 1), Run.R1, "370.00")], billed={JULY: Decimal("75.60")}, gpus=None
    )

    (note,) = documents(later, rounding=ROUNDING)

    assert note.kind is DocumentKind.CREDIT_NOTE
    assert (note.number, note.corrects) == ("GFC-2026-00008", ("GF-2026-00007",))
    assert (note.net_gbp, note.gross_gbp) == (Decimal("1.60"), Decimal("1.92"))
    assert "billed before 75.60 GBP" in note.lines[0].basis


def test_without_a_difference_there_is_nothing_to_send() -> None:
    same = run(
        [cash(date(2026, 7, 1), Run.R1, "378.00")], billed={JULY: Decimal("75.60")}, gpus=None
    )

    assert documents(same, rounding=ROUNDING) == ()


def test_teams_share_net_and_commission_without_losing_a_penny() -> None:
    shares = Shares(
        total_gbp=Decimal("378.00"),
        by_contract={},
        by_job={},
        by_team={
            "vision": Decimal("250.01"),
            "language": Decimal("137.99"),
            "idle": Decimal("-10.00"),
        },
        negative_mwh={},
    )

    rows = show_back(shares, commission_gbp=Decimal("75.60"))

    assert sum(row.net_gbp for row in rows) == Decimal("378.00")
    assert sum(row.commission_gbp for row in rows) == Decimal("75.60")
    assert sum(row.kept_gbp for row in rows) == Decimal("302.40")
    assert [row.team for row in rows] == ["idle", "language", "vision"]


def document() -> Document:
    (made,) = documents(run([cash(date(2026, 7, 1), Run.SF, "378.00")]), rounding=ROUNDING)
    rows = show_back(
        Shares(Decimal("378.00"), {}, {}, {"=vision": Decimal("378.00")}, {}),
        commission_gbp=Decimal("75.60"),
    )
    return replace(made, show_back=rows, evidence_sha256="ab" * 32)


def test_the_page_shows_amounts_and_escapes_names() -> None:
    page = document_html(document())

    assert "Data &lt;Centre&gt; &amp; Co" in page
    assert "2,490.72" in page
    assert "302.40" in page
    assert "ab" * 32 in page
    assert "<script" not in page
    assert page == document_html(document())


def test_the_pdf_says_what_the_page_says() -> None:
    risky = replace(document(), customer=Party("Zażółć & Söhne — Ελλάδα", ("Łódź",)))

    payload = document_pdf(risky)

    reader = PdfReader(BytesIO(payload))
    words = " ".join("".join(page.extract_text() for page in reader.pages).split())
    for said in (
        f"Invoice {risky.number}",
        "Zażółć & Söhne — Ελλάδα Łódź",
        "GridFlex Ltd",
        "To pay 2,490.72",
        "=vision 378.00 75.60 302.40",
        "ab" * 32,
    ):
        assert said in words
    assert reader.metadata is not None
    assert reader.metadata.title == f"Invoice {risky.number}"
    assert payload == document_pdf(risky)


def test_the_pdf_prints_names_in_eastern_scripts() -> None:
    names = "数据中心有限公司 株式会社データ 데이터센터"

    payload = document_pdf(replace(document(), customer=Party(names, ("北京",))))

    page = PdfReader(BytesIO(payload)).pages[0]
    words = "".join(page.extract_text().replace("\0", "").split())
    assert names.replace(" ", "") in words
    assert "boxes" not in words
    assert any("NotoSansCJK" in str(one["/BaseFont"]) for one in fonts_of(page))
    plain = PdfReader(BytesIO(document_pdf(document()))).pages[0]
    assert all("DejaVu" in str(one["/BaseFont"]) for one in fonts_of(plain))


def fonts_of(page: PageObject) -> list[DictionaryObject]:
    resources = cast(DictionaryObject, page["/Resources"])
    fonts = cast(DictionaryObject, resources["/Font"])
    return [cast(DictionaryObject, one.get_object()) for one in fonts.values()]


def test_the_pdf_says_which_letters_it_cannot_print() -> None:
    thai = replace(document(), customer=Party("ศูนย์ข้อมูล", ("กรุงเทพ",)))

    said, plain = (
        " ".join("".join(page.extract_text() for page in PdfReader(BytesIO(pdf)).pages).split())
        for pdf in (document_pdf(thai), document_pdf(document()))
    )

    assert "are printed as boxes. The HTML and JSON forms" in said
    assert "boxes" not in plain
    assert "ศูนย์ข้อมูล" in document_html(thai)


def test_a_long_pdf_goes_on_on_the_next_page_with_its_heading() -> None:
    many = replace(document(), show_back=document().show_back * 90)

    pages = [page.extract_text() for page in PdfReader(BytesIO(document_pdf(many))).pages]

    assert len(pages) > 1
    assert all("Kept GBP" in page for page in pages[:2])


def test_a_document_is_read_back_as_it_was() -> None:
    assert read_document(document_json(document())) == document()
    with pytest.raises(ContractError, match="document: number is missing"):
        read_document(b"{}")


def test_the_csv_adds_up_and_credit_notes_are_negative() -> None:
    note = replace(document(), kind=DocumentKind.CREDIT_NOTE, corrects=("GF-2026-00007",))

    rows = list(csv.DictReader(StringIO(documents_csv([document(), note]))))

    lines = [row for row in rows if row["description"] != "total"]
    totals = [row for row in rows if row["description"] == "total"]
    assert [row["net_gbp"] for row in lines] == ["2000.00", "75.60", "-2000.00", "-75.60"]
    assert [row["gross_gbp"] for row in totals] == ["2490.72", "-2490.72"]
    assert totals[1]["corrects"] == "GF-2026-00007"


def test_a_name_that_looks_like_a_formula_stays_text() -> None:
    risky = replace(document(), customer=Party("=HYPERLINK(1)", ()))

    assert "'=HYPERLINK(1)" in documents_csv([risky])


def test_the_json_has_exact_amounts_and_the_same_bytes_each_time() -> None:
    body = json.loads(document_json(document()))

    assert body["gross_gbp"] == "2490.72"
    assert body["lines"][1]["settlement_month"] == "2026-07"
    assert document_json(document()) == document_json(document())


def test_months_have_ends() -> None:
    assert Month(2026, 12).end == date(2027, 1, 1)
    assert Month(2026, 2).end == date(2026, 3, 1)
    assert Month.of(date(2026, 7, 31)) == JULY
