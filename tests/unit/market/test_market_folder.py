"""The simulated market behind a folder, as whoever trades through the folder sees it."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from gridflex.adapters.market.exchange import FolderExchange
from gridflex.adapters.market.mailbox import MarketFolder
from gridflex.cli.root import app
from gridflex.errors import ContractError, GridFlexError
from gridflex.halfhour import HalfHour
from gridflex.market.messages.artefacts import ArtefactKind, ContractNotice
from gridflex.market.messages.idd import Header, write
from gridflex.market.registry import BaselineIndicator
from gridflex.market.trading.desk import TradingDesk
from gridflex.market.trading.messenger import Messenger
from gridflex.market.trading.orders import OrderPendingError
from gridflex.market.trading.position import Position, Status
from gridflex.market.trading.reconciliation import Trade
from gridflex.sandbox.market import Mishap
from gridflex.sandbox.market_folder import FolderMarket, Quotation
from gridflex.settings import Settings
from tests.shared import ROOT
from tests.unit.market.days import CALENDAR
from tests.unit.market.memory import MemoryLedger
from tests.unit.market.test_desk import ACTIVE, CHANNELS, EARLY, MINUTE, OTHER, SIX, UNIT, agents

WMAN, SEV, ECVN, DVN = ArtefactKind
SOLD = ContractNotice("REF1", "A1", {SIX: Decimal("3.000")})
LATE = datetime(2026, 7, 1, 16, tzinfo=UTC)
Mishaps = Mapping[ArtefactKind, list[Mishap | None]]


def market(root: Path, mishaps: Mishaps | None = None) -> FolderMarket:
    quotation = Quotation(Decimal("84.5"), {SIX + 1: Decimal(40)}, depth_mw=Decimal(10))
    return FolderMarket(root, agents=agents(mishaps), quotation=quotation)


class Seller:
    """A desk that reaches the market through the folder."""

    def __init__(self, root: Path) -> None:
        positions = [
            Position(unit, SIX, BaselineIndicator.SUBMITTED, Decimal("3.2"), Decimal(1))
            for unit in (UNIT, OTHER)
        ]
        desk = TradingDesk(positions, channels=CHANNELS, keys={"A1": "SECRET"}, calendar=CALENDAR)
        self.trading = Messenger(desk, ledger=MemoryLedger(), mailbox=MarketFolder(root))

    async def notify(self) -> None:
        await self.trading.submit(SOLD, now=EARLY, split={(UNIT, SIX): Decimal("3.000")})

    async def status(self, kind: ArtefactKind, at: datetime = EARLY) -> Status:
        await self.trading.collect(now=at)
        return self.trading.desk.position(UNIT, SIX).track(kind).status


def sell(root: Path, at: datetime = EARLY, first: HalfHour = SIX, mw: str = "6.0") -> Trade | None:
    return FolderExchange(root, now=lambda: at).sell(
        first=first,
        half_hours=1,
        mw=Decimal(mw),
        limit_gbp_per_mwh=Decimal(50),
        reference=f"{UNIT}:{first}",
    )


async def test_files_are_taken_and_answered(tmp_path: Path) -> None:
    seller, there = Seller(tmp_path), market(tmp_path)
    await seller.trading.submit(ACTIVE, now=EARLY)
    await seller.notify()

    done = there.round(EARLY)

    assert [name for name, _ in done.files] == ["EN000000000001", "VT000000000001"]
    assert done.answers == 3  # two receipts and an acceptance
    assert await seller.status(WMAN) is Status.RECEIVED
    assert await seller.status(ECVN) is Status.ACCEPTED
    assert list((tmp_path / "outbox").iterdir()) == []
    assert there.round(EARLY).files == ()


@pytest.mark.parametrize(
    ("mishap", "status", "kept"),
    [
        (Mishap.REJECT, Status.REJECTED, "rejected"),
        (Mishap.LOSE, Status.SENT, "lost"),
        (Mishap.MUTE, Status.SENT, "muted"),
        (Mishap.GARBLE, Status.REJECTED, "garbled"),
    ],
)
async def test_what_goes_wrong_with_a_file(
    tmp_path: Path, mishap: Mishap, status: Status, kept: str
) -> None:
    seller = Seller(tmp_path)
    await seller.notify()

    market(tmp_path, {ECVN: [mishap]}).round(EARLY)

    assert await seller.status(ECVN) is status
    assert [one.name for one in (tmp_path / kept).iterdir()] == ["EN000000000001"]


async def test_a_lost_file_that_is_sent_again_is_accepted(tmp_path: Path) -> None:
    seller, there = Seller(tmp_path), market(tmp_path, {ECVN: [Mishap.LOSE]})
    await seller.notify()
    there.round(EARLY)

    seller.trading.send_again(now=EARLY + 6 * MINUTE)
    there.round(EARLY + 6 * MINUTE)

    assert await seller.status(ECVN, EARLY + 6 * MINUTE) is Status.ACCEPTED


async def test_a_file_that_comes_after_gate_closure_changes_nothing(tmp_path: Path) -> None:
    seller, there = Seller(tmp_path), market(tmp_path)
    await seller.notify()

    there.round(LATE)

    assert await seller.status(ECVN, LATE) is Status.REJECTED
    assert "after gate closure" in seller.trading.desk.position(UNIT, SIX).track(ECVN).reason


async def test_a_market_that_starts_again_goes_on_with_its_numbers(tmp_path: Path) -> None:
    seller = Seller(tmp_path)
    await seller.notify()
    market(tmp_path).round(EARLY)
    await seller.status(ECVN)
    await seller.notify()

    market(tmp_path).round(EARLY)

    assert await seller.status(ECVN) is Status.ACCEPTED
    read = sorted(one.name[:12] for one in (tmp_path / "read").iterdir())
    assert read == [f"{number:012d}" for number in (1, 2, 3, 4)]


def test_an_order_is_taken_at_the_market_s_price_and_once(tmp_path: Path) -> None:
    with pytest.raises(OrderPendingError):
        sell(tmp_path)

    done = market(tmp_path).round(EARLY)

    trade = sell(tmp_path)
    assert trade is not None
    assert (trade.mwh, trade.price_gbp_per_mwh) == (Decimal("3.00"), Decimal("84.5"))
    assert done.orders == ((f"{UNIT}:{SIX}", trade.id),)
    assert market(tmp_path).round(EARLY).orders == ()


@pytest.mark.parametrize(
    ("first", "mw", "at"),
    [
        pytest.param(SIX, "10.1", EARLY, id="deeper than the market"),
        pytest.param(SIX + 1, "6.0", EARLY, id="below the limit"),
        pytest.param(SIX, "6.0", LATE, id="after gate closure"),
    ],
)
def test_an_order_that_is_not_taken(tmp_path: Path, first: HalfHour, mw: str, at: datetime) -> None:
    with pytest.raises(OrderPendingError):
        sell(tmp_path, first=first, mw=mw)

    market(tmp_path).round(at)

    assert sell(tmp_path, first=first, mw=mw) is None


def test_what_was_bought_before_a_restart_is_not_bought_again(tmp_path: Path) -> None:
    for reference, answered in (("A", "SIM000001"), ("B", None)):
        with pytest.raises(OrderPendingError):
            FolderExchange(tmp_path, now=lambda: EARLY).sell(
                first=SIX,
                half_hours=1,
                mw=Decimal("6.0"),
                limit_gbp_per_mwh=Decimal(0),
                reference=reference,
            )
        assert market(tmp_path).round(EARLY).orders == ((reference, answered),)


def command(tmp_path: Path, *words: str) -> Sequence[dict[str, object]]:
    energy = {
        "unit": UNIT,
        "authorisation": "A1",
        "credential": "SECRET",
        "folder": str(tmp_path / "exchange"),
    }
    clock = {"origin": EARLY.isoformat(), "origin_wall": datetime.now(UTC).isoformat()}
    config = tmp_path / "gridflex.yaml"
    config.write_text(yaml.safe_dump({"energy": energy, "clock": clock}))
    asked = ["sandbox", "market", "--config", str(config), "--once", "--json", *words]
    result = CliRunner().invoke(app, asked)
    if isinstance(result.exception, GridFlexError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.output.splitlines()]


def test_the_settings_in_the_documentation_are_valid() -> None:
    page = (ROOT / "docs" / "settlement.md").read_text()
    blocks = [part.split("```")[0] for part in page.split("```yaml\n")[1:]]
    energy = [one for one in blocks if one.startswith("energy:")]

    shown, *_ = [
        Settings(**yaml.safe_load(one) | {"sites": [{"name": "london"}]}) for one in energy
    ]

    assert shown.energy.unit == UNIT
    assert shown.energy_path == Path("/srv/gridflex/energy")


async def test_the_command_answers_a_folder(tmp_path: Path) -> None:
    seller = Seller(tmp_path / "exchange")
    await seller.notify()

    (done,) = command(tmp_path, "--mishap", "ecvn=reject,none")

    assert done["files"] == {"EN000000000001": "reject"}
    assert await seller.status(ECVN, EARLY + timedelta(minutes=1)) is Status.REJECTED


def test_a_mishap_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"ecvn=burn.*valid is KIND=WHAT"):
        command(tmp_path, "--mishap", "ecvn=burn")


async def test_a_file_that_cannot_be_read_is_set_aside_and_holds_up_no_other(
    tmp_path: Path,
) -> None:
    seller = Seller(tmp_path)
    await seller.notify()
    market(tmp_path).round(EARLY)
    inbox = tmp_path / "inbox"
    (inbox / "000000000000-junk").write_bytes(b"hello\xff")
    (inbox / "000000000000-folder").mkdir()
    report = Header("E0531001", EARLY, "EC", "ECVAA", "VT", "GRIDFLEX", 1)
    (inbox / "000000000000-report").write_bytes(write(report, layouts=(), body=()))

    assert await seller.status(ECVN) is Status.ACCEPTED

    assert list(inbox.iterdir()) == []
    assert "000000000000-report" in {one.name for one in (tmp_path / "read").iterdir()}
    assert list(seller.trading.refused) == ["000000000000-folder", "000000000000-junk"]
    assert "ASCII" in seller.trading.refused["000000000000-junk"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--depth-mw", "-1"), "depth-mw '-1' is not valid; valid is 0 to 100000"),
        (
            ("--system-price", "1e999"),
            "system-price '1e999' is not valid; valid is a number from -10000000",
        ),
        (("--price", "-100000"), "price '-100000' is not valid"),
        (("--readings", "/nope.csv"), "/nope.csv: cannot be read: No such file"),
        (("--readings", "/"), "/: cannot be read: Is a directory"),
        (("--meter", "1.5"), "meter '1.5' is not valid; valid are up to 13 digits"),
        (("--folder", __file__), "test_market_folder.py: cannot be used: "),
    ],
)
def test_a_market_that_cannot_be_is_refused_by_name(
    tmp_path: Path, words: tuple[str, ...], says: str
) -> None:
    with pytest.raises(GridFlexError, match=says):
        command(tmp_path, *words)
