"""`gridflex settle show` and `invoice` on files."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from gridflex.cli.settlement import settlement_app
from gridflex.errors import ContractError, GridFlexError, SourceError
from gridflex.market.billing.monthly import (
    BillingContract,
    Unbilled,
    monthly_bill,
    parse_month,
    read_contract,
)
from gridflex.market.settlement.attribution import Contribution
from gridflex.market.settlement.book import SettlementBook, write_book
from gridflex.market.settlement.runs import Run
from gridflex.market.volumes import Rounding
from tests.shared import ROOT
from tests.unit.market.days import CALENDAR
from tests.unit.market.test_settlement import EXAMPLE, SIX
from tests.unit.stand_in_server import Server, server

__all__ = ["server"]

CONTRACT: dict[str, Any] = {
    "seller": {"name": "GridFlex Ltd", "address": ["1 Example Street"]},
    "customer": {"name": "Data Centre Ltd", "address": ["2 Example Road"]},
    "account": "GRIDFLEX",
    "gpus": {"2026-07": 499, "2026-08": 500},
    "next_number": 8,
}
BOOK = SettlementBook(
    periods=(EXAMPLE,),
    contributions=(
        Contribution(SIX, "job-1", "vision", "C1", Decimal("2.0")),
        Contribution(SIX, "job-2", "language", "C1", Decimal("0.8")),
    ),
)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "book.json").write_bytes(write_book(BOOK))
    (tmp_path / "contract.yaml").write_text(yaml.safe_dump(CONTRACT))
    return tmp_path


def run(*words: str | Path) -> str:
    result = CliRunner(env={"COLUMNS": "200"}).invoke(settlement_app, [str(word) for word in words])
    if isinstance(result.exception, GridFlexError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_show_prints_days(files: Path) -> None:
    printed = run("show", "--book", files / "book.json")

    assert "2026-07-01" in printed
    assert "378.00" in printed


def test_show_tells_accounts_apart_and_shows_one_on_request(files: Path) -> None:
    other = replace(EXAMPLE, account="OTHER", fees_gbp=Decimal(8))
    (files / "two.json").write_bytes(write_book(SettlementBook((EXAMPLE, other))))

    both = run("show", "--book", files / "two.json")
    one = run("show", "--book", files / "two.json", "--account", "OTHER")
    half_hours = json.loads(
        run("show", "--book", files / "two.json", "--account", "GRIDFLEX", "--json")
    )

    assert "account" in both
    assert ("378.00" in both, "370.00" in both) == (True, True)
    assert ("378.00" in one, "370.00" in one, "account" in one) == (False, True, False)
    assert {row["account"] for row in half_hours["results"] + half_hours["days"]} == {"GRIDFLEX"}


def test_show_refuses_an_account_without_settlements(files: Path) -> None:
    with pytest.raises(
        ContractError, match="account GRIDFLOX has no settlement; valid is GRIDFLEX"
    ):
        run("show", "--book", files / "book.json", "--account", "GRIDFLOX")


def test_show_prints_the_half_hours_of_a_day_with_their_notes(files: Path) -> None:
    idle = replace(EXAMPLE, units=(replace(EXAMPLE.units[0], is_active=False),))
    (files / "book.json").write_bytes(write_book(replace(BOOK, periods=(idle,))))

    printed = run("show", "--book", files / "book.json", "--day", "2026-07-01")

    assert "-210.00" in printed
    assert "no activity notice" in printed


def test_the_half_hours_of_a_day_are_whole_in_80_columns(files: Path) -> None:
    asked = ["show", "--book", str(files / "book.json"), "--day", "2026-07-01"]

    shown = CliRunner(env={"COLUMNS": "80"}).invoke(settlement_app, asked).output.splitlines()

    assert shown[1] == "Settlement of 2026-07-01 by half-hour"
    assert shown[2].split() == ["delivered", "sold", "imbalance", "trades", "net"]
    assert shown[3].split() == ["UTC", "period", "run", "MWh", "MWh", "GBP", "GBP", "GBP"]
    row = ["17:00", "37", "SF", "2.8000", "3.000", "-42.00", "420.00", "378.00"]
    assert shown[5].split() == row
    assert max(len(line.rstrip()) for line in shown) <= 80
    assert shown[3].index("GBP") + 3 == shown[5].index("-42.00") + 6


def test_the_half_hours_of_two_accounts_are_told_apart(files: Path) -> None:
    other = replace(EXAMPLE, account="OTHER", fees_gbp=Decimal(8))
    (files / "two.json").write_bytes(write_book(SettlementBook((EXAMPLE, other))))

    printed = run("show", "--book", files / "two.json", "--day", "2026-07-01").splitlines()

    assert [line.split()[:2] for line in printed[-2:]] == [
        ["GRIDFLEX", "17:00"],
        ["OTHER", "17:00"],
    ]


def test_show_as_json_keeps_only_what_was_asked_for(files: Path) -> None:
    body = json.loads(run("show", "--book", files / "book.json", "--run", "R1", "--json"))

    assert body["results"] == body["days"] == []


def test_a_day_that_is_not_settled_is_said_in_a_sentence(files: Path) -> None:
    shown = run("show", "--book", files / "book.json", "--day", "2026-07-02", "--run", "R1")

    assert shown.splitlines()[1:] == ["nothing of 2026-07-02 in R1 is settled yet"]


def test_show_writes_the_same_bytes_each_time(files: Path) -> None:
    for name in ("one", "two"):
        run("show", "--book", files / "book.json", "--statement", files / name)

    assert (files / "one").read_bytes() == (files / "two").read_bytes()


def test_show_without_a_file_settles_what_a_running_system_has(server: Server) -> None:
    server.answer = json.loads(write_book(BOOK))

    printed = run("show", "--url", server.url)

    assert "378.00" in printed
    assert server.asked == [("GET", "/v1/settlement/book", b"", "")]


WAITS = {
    "day": "2026-07-01",
    "run": "SF",
    "net_gbp": "378.000000",
    "paid_on": "2026-07-23",
    "in_bill_of": "2026-08",
    "is_published": False,
}
"""SF of 1 July by the usual lags, as long as it has not paid."""


def test_invoice_without_a_file_is_issued_by_a_running_system(files: Path, server: Server) -> None:
    offline = run(
        *("invoice", "--book", files / "book.json", "--contract", files / "contract.yaml"),
        *("--month", "2026-07", "--out", files / "there", "--json"),
    )
    server.answers = {
        "/v1/settlement/invoices": json.loads(offline)["documents"],
        "/v1/settlement/invoices/unbilled": [WAITS],
    }

    printed = run(
        *("invoice", "--url", server.url, "--contract", files / "contract.yaml"),
        *("--month", "2026-07", "--out", files / "bills", "--on", "2026-08-02", "--json"),
    )

    assert [json.loads(one)["is_recorded"] for one in (offline, printed)] == [False, True]
    assert json.loads(printed)["unbilled"] == [WAITS]
    (method, path, body, _), (_, _, again, _) = server.asked
    assert (method, path, again) == ("POST", "/v1/settlement/invoices", body)
    asked = json.loads(body)
    assert (asked["month"], asked["known_on"]) == ("2026-07", "2026-08-02")
    assert asked["contract"]["account"] == "GRIDFLEX"
    for suffix in ("html", "json", "pdf"):
        name = f"GF-2026-00008.{suffix}"
        assert (files / "bills" / name).read_bytes() == (files / "there" / name).read_bytes()


def test_invoice_writes_the_documents_of_a_month(files: Path) -> None:
    printed = run(
        *("invoice", "--book", files / "book.json", "--contract", files / "contract.yaml"),
        *("--month", "2026-07", "--out", files / "bills"),
    )

    # SF of 1 July pays on 23 July, so it is in the bill issued on 1 August
    assert "invoice GF-2026-00008 of 2026-08-01: net 2075.60 GBP" in printed
    assert sorted(path.name for path in (files / "bills").iterdir()) == [
        "2026-07.csv",
        "GF-2026-00008.html",
        "GF-2026-00008.json",
        "GF-2026-00008.pdf",
    ]
    body = json.loads((files / "bills" / "GF-2026-00008.json").read_bytes())
    assert [(row["team"], row["net_gbp"]) for row in body["show_back"]] == [
        ("language", "108.00"),
        ("vision", "270.00"),
    ]


def test_invoice_names_what_is_settled_and_not_billed_yet(files: Path) -> None:
    asked = ("invoice", "--book", files / "book.json", "--contract", files / "contract.yaml")
    early = (*asked, "--month", "2026-07", "--out", files / "bills", "--on", "2026-07-22")

    printed, as_json = run(*early), json.loads(run(*early, "--json"))
    billed = run(*asked, "--month", "2026-07", "--out", files / "bills")

    assert (
        "not billed yet: 2026-07-01 SF, net 378.00 GBP, pays on 2026-07-23 by the usual lags: "
        "in the bill of 2026-08"  # July is billed with what had paid on the 22nd
    ) in printed
    (row,) = as_json["unbilled"]
    assert Decimal(row["net_gbp"]) == 378
    assert row | {"net_gbp": WAITS["net_gbp"]} == WAITS
    assert "not billed yet" not in billed


@pytest.mark.parametrize(
    ("paid_on", "bill"),
    [
        pytest.param("2026-09-01", "2026-08", id="the day on which a bill is issued"),
        pytest.param("2026-09-02", "2026-09", id="the day after"),
    ],
)
def test_the_bill_that_counts_a_run_is_the_first_after_it_pays(paid_on: str, bill: str) -> None:
    row = {"settlement_date": "2026-07-01", "run": "SF", "paid_on": paid_on}
    contract = BillingContract.model_validate(CONTRACT | {"settlement_calendar": [row]})
    month = parse_month("2026-07")

    def made(known_on: date) -> tuple[Unbilled, ...]:
        return monthly_bill(
            BOOK,
            contract=contract,
            month=month,
            known_on=known_on,
            calendar=CALENDAR,
            rounding=Rounding(),
        ).unbilled

    (one,) = made(month.end)
    assert (one.in_bill_of, one.is_published) == (bill, True)
    counted = parse_month(bill).end
    assert made(counted) == ()
    assert made(parse_month(bill).first) == (one,)


def test_invoice_before_the_run_pays_has_the_fee_only(files: Path) -> None:
    printed = run(
        *("invoice", "--book", files / "book.json", "--contract", files / "contract.yaml"),
        *("--month", "2026-07", "--out", files / "bills", "--on", "2026-07-22", "--json"),
    )

    (document,) = json.loads(printed)["documents"]
    assert document["net_gbp"] == "2000.00"


def test_a_later_run_is_credited_against_the_earlier_invoice() -> None:
    revised = replace(BOOK, periods=(EXAMPLE, replace(EXAMPLE, run=Run.R1, fees_gbp=Decimal(8))))
    billed = {
        "settlement_month": "2026-07",
        "commission_gbp": "75.60",
        "documents": ["GF-2026-00008"],
    }
    contract = read_contract(yaml.safe_dump(CONTRACT | {"billed": [billed], "next_number": 9}))

    bill = monthly_bill(
        revised,
        contract=contract,
        month=parse_month("2026-08"),
        known_on=date(2026, 9, 1),
        calendar=CALENDAR,
        rounding=Rounding(),
    )

    invoice, note = bill.documents
    assert (invoice.net_gbp, note.net_gbp) == (Decimal("5000.00"), Decimal("1.60"))
    assert note.corrects == ("GF-2026-00008",)
    assert bill.shares.total_gbp == Decimal("370.00")


def test_a_run_that_has_not_paid_yet_is_in_nobodys_share() -> None:
    later = replace(EXAMPLE, run=Run.R1, fees_gbp=Decimal(8))
    early = replace(EXAMPLE, run=Run.II, fees_gbp=Decimal(99))
    contract = read_contract(yaml.safe_dump(CONTRACT))

    bill = monthly_bill(
        replace(BOOK, periods=(early, EXAMPLE, later)),
        contract=contract,
        month=parse_month("2026-07"),
        known_on=date(2026, 8, 1),
        calendar=CALENDAR,
        rounding=Rounding(),
    )

    assert bill.shares.total_gbp == Decimal("378.00")
    assert bill.documents[0].net_gbp == Decimal("2075.60")


def test_a_published_calendar_decides_what_has_been_paid() -> None:
    row = {"settlement_date": "2026-07-01", "run": "SF", "paid_on": "2026-08-03"}
    contract = read_contract(yaml.safe_dump(CONTRACT | {"settlement_calendar": [row]}))

    bill = monthly_bill(
        BOOK,
        contract=contract,
        month=parse_month("2026-07"),
        known_on=date(2026, 8, 1),
        calendar=CALENDAR,
        rounding=Rounding(),
    )

    assert bill.documents[0].net_gbp == Decimal("2000.00")


@pytest.mark.parametrize(
    ("words", "kind", "reason"),
    [
        pytest.param(["show", "--book", "absent"], SourceError, "cannot be read", id="no book"),
        pytest.param(["show", "--book", "BOOK", "--day", "1/7"], ContractError, "1/7", id="day"),
        pytest.param(
            ["invoice", "--book", "BOOK", "--contract", "CONTRACT", "--month", "7", "--out", "X"],
            ContractError,
            "valid is YYYY-MM",
            id="month",
        ),
        pytest.param(
            [
                *("invoice", "--book", "BOOK", "--contract", "CONTRACT"),
                *("--month", "2026-09", "--out", "X"),
            ],
            ContractError,
            "gpus of 2026-09 are not stated; known are 2026-07, 2026-08",
            id="fleet",
        ),
        pytest.param(
            [
                *("invoice", "--book", "BOOK", "--contract", "MISSPELT"),
                *("--month", "2026-07", "--out", "X"),
            ],
            ContractError,
            "billing contract: account GRIDFLOX has no settlement in the book; valid is GRIDFLEX",
            id="account",
        ),
        pytest.param(
            ["invoice", "--book", "BOOK", "--contract", "BOOK", "--month", "2026-07", "--out", "X"],
            ContractError,
            "billing contract: seller",
            id="contract",
        ),
    ],
)
def test_wrong_input_is_named(
    files: Path, words: list[str], kind: type[GridFlexError], reason: str
) -> None:
    (files / "misspelt.yaml").write_text(yaml.safe_dump(CONTRACT | {"account": "GRIDFLOX"}))
    paths = {
        "BOOK": files / "book.json",
        "CONTRACT": files / "contract.yaml",
        "MISSPELT": files / "misspelt.yaml",
        "X": files / "x",
    }

    with pytest.raises(kind, match=reason):
        run(*[paths.get(word, word) for word in words])


def test_the_contract_in_the_documentation_is_valid() -> None:
    page = (ROOT / "docs" / "settlement.md").read_text()
    blocks = [part.split("```")[0] for part in page.split("```yaml\n")[1:]]
    (block,) = [one for one in blocks if one.startswith("seller:")]

    contract = read_contract(block)

    assert contract.gpus == {"2026-07": 499}
