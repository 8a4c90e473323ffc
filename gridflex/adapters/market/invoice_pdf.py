"""Invoices as PDF, with its fonts inside; the same document always yields the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, time
from importlib.resources import as_file, files
from pathlib import Path
from typing import Final

import matplotlib as mpl
from fpdf import FPDF
from fpdf.enums import TableBordersLayout, TextEmphasis, XPos, YPos
from fpdf.fonts import FontFace, TTFFont

from gridflex.market.billing.invoice import Document, Party
from gridflex.market.billing.invoice_files import facts_of, in_pounds, title_of, totals_of

FONTS: Final = Path(mpl.get_data_path()) / "fonts" / "ttf"
"""DejaVu, which has the letters of European names."""

FURTHER: Final = files("noto_cjk_sans_otc") / "NotoSansCJK-Regular.ttc"
"""Chinese, Japanese and Korean; read only for a document that has such letters."""

BOXES: Final = (
    "Letters that the fonts do not have are printed as boxes. The HTML and JSON forms of this "
    "document have them."
)
_FAMILY: Final = "DejaVu"
_FURTHER_FAMILY: Final = "NotoCJK"
_MARGIN_MM: Final = 20.0
_LINE_MM: Final = 5.0
_HEAD: Final = FontFace(emphasis=TextEmphasis.B)


def document_pdf(document: Document) -> bytes:
    """Return a document as PDF, A4."""
    pdf = _blank(document)
    pdf.set_font(_FAMILY, "B", 16)
    _line(pdf, title_of(document), height=9)
    pdf.set_font(_FAMILY, size=9)
    for name, value in facts_of(document):
        _line(pdf, f"{name}: {value}")
    for heading, party in (("From", document.seller), ("To", document.customer)):
        _heading(pdf, heading)
        _line(pdf, "\n".join(_address(party)))
    _lines(pdf, document)
    _show_back(pdf, document)
    if document.evidence_sha256:
        pdf.ln(_LINE_MM)
        pdf.set_font(_FAMILY, size=7)
        _line(pdf, f"Rests on the settlement statement with SHA-256 {document.evidence_sha256}")
    if _lacking(pdf, document):
        pdf.ln(_LINE_MM)
        _line(pdf, BOXES)
    return bytes(pdf.output())


def _lacking(pdf: FPDF, document: Document) -> frozenset[str]:
    """Return the letters of the document that no font has."""
    printed = "".join(
        (
            *(part for one in (document.seller, document.customer) for part in _address(one)),
            *(one.team for one in document.show_back),
        )
    )
    has = {code for one in pdf.fonts.values() if isinstance(one, TTFFont) for code in one.cmap}
    return frozenset(letter for letter in printed if ord(letter) not in has)


def _blank(document: Document) -> FPDF:
    pdf = FPDF(format="A4")
    pdf.set_creation_date(datetime.combine(document.issued_on, time(), tzinfo=UTC))
    pdf.set_title(title_of(document))
    pdf.set_author(document.seller.name)
    pdf.set_lang("en-GB")
    pdf.set_margin(_MARGIN_MM)
    pdf.add_font(_FAMILY, "", FONTS / "DejaVuSans.ttf")
    pdf.add_font(_FAMILY, "B", FONTS / "DejaVuSans-Bold.ttf")
    if _lacking(pdf, document):
        with as_file(FURTHER) as path:
            pdf.add_font(_FURTHER_FAMILY, "", path)
        pdf.set_fallback_fonts([_FURTHER_FAMILY], exact_match=False)
    pdf.add_page()
    return pdf


def _line(pdf: FPDF, text: str, *, height: float = _LINE_MM) -> None:
    pdf.multi_cell(0, height, text, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def _heading(pdf: FPDF, text: str) -> None:
    pdf.ln(_LINE_MM)
    pdf.set_font(_FAMILY, "B", 10)
    _line(pdf, text, height=7)
    pdf.set_font(_FAMILY, size=9)


def _lines(pdf: FPDF, document: Document) -> None:
    _heading(pdf, "Lines")
    rows = [
        (f"{one.description}\n{one.basis}", in_pounds(one.amount_gbp)) for one in document.lines
    ]
    totals = [(name, in_pounds(amount)) for name, amount in totals_of(document)]
    _table(pdf, ("For", "GBP"), rows, widths=(75, 25), totals=totals)


def _show_back(pdf: FPDF, document: Document) -> None:
    if not document.show_back:
        return
    _heading(pdf, "By team")
    rows = [
        (one.team, *map(in_pounds, (one.net_gbp, one.commission_gbp, one.kept_gbp)))
        for one in document.show_back
    ]
    head = ("Team", "P415 net GBP", "Commission GBP", "Kept GBP")
    _table(pdf, head, rows, widths=(40, 20, 20, 20))


def _table(
    pdf: FPDF,
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    widths: tuple[int, ...],
    totals: Sequence[Sequence[str]] = (),
) -> None:
    with pdf.table(
        col_widths=widths,
        text_align=("LEFT", *("RIGHT",) * (len(head) - 1)),
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
        headings_style=_HEAD,
        line_height=_LINE_MM,
    ) as table:
        table.row(head)
        for row in rows:
            table.row(row)
        for row in totals:
            table.row(row, style=_HEAD)


def _address(party: Party) -> list[str]:
    vat = [f"VAT {party.vat_number}"] if party.vat_number else []
    return [party.name, *party.address, *vat]
