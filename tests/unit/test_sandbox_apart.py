"""A sandbox shares no data with what is live, whatever is configured."""

import threading
from pathlib import Path

import pytest

from gridflex.adapters import database
from gridflex.beckn_settings import MarketSettings
from gridflex.energy_settings import EnergySettings
from gridflex.errors import ContractError
from gridflex.running.apart import kept_apart
from gridflex.running.up import bring_down, one_at_a_time
from gridflex.settings import LedgerSettings, Settings, SiteSettings

LIVE = Settings(
    state_dir=Path("/live"),
    database_url="postgresql://db.test/live",
    packages_url="s3://bucket/packages/",
    models_url="s3://bucket/models",
    checkpoint_dir="/shared/checkpoints",
    ledger=LedgerSettings(key_dir=Path("/keys"), timestamp_url="https://stamps.test"),
    energy=EnergySettings(folder=Path("/exchange")),
)


def test_a_sandbox_keeps_everything_apart_from_what_is_live() -> None:
    sandbox = kept_apart(LIVE)

    assert sandbox.database_url is None
    assert sandbox.state_path == Path("/live/sandbox")
    assert sandbox.package_url == "s3://bucket/packages/sandbox"
    assert sandbox.model_url == "s3://bucket/models/sandbox"
    assert sandbox.checkpoint_root == "/shared/checkpoints/sandbox"
    assert sandbox.ledger_key_path == Path("/keys/sandbox")
    assert sandbox.ledger.origin == "gridflex.local/ledger/sandbox"
    assert sandbox.ledger.timestamp_url is None
    assert sandbox.energy_path == Path("/exchange/sandbox")


def test_what_is_not_named_is_in_the_state_folder_of_the_sandbox() -> None:
    sandbox = kept_apart(Settings(state_dir=Path("/live")))

    assert sandbox.package_url == "file:///live/sandbox/packages"
    assert sandbox.ledger_key_path == Path("/live/sandbox/ledger")
    assert sandbox.energy_path == Path("/live/sandbox/energy")


@pytest.mark.parametrize(
    "registry", ["http://127.0.0.1:9/dedi", "http://localhost/x", "http://[::1]/"]
)
def test_a_sandbox_trades_on_a_network_of_this_machine_with_the_registered_keys(
    registry: str,
) -> None:
    market = MarketSettings(subscriber_id="site.example", registry_url=registry)
    live = Settings(state_dir=Path("/live"), market=market)

    assert kept_apart(live).market.subscriber_id == "site.example"
    assert kept_apart(live).market_key_path == live.market_key_path


def test_a_sandbox_does_not_trade_on_a_network_of_others() -> None:
    market = MarketSettings(subscriber_id="site.example", registry_url="https://registry.test/dedi")

    assert kept_apart(Settings(market=market)).market.subscriber_id is None


def test_the_root_of_a_file_system_stays_one() -> None:
    assert kept_apart(Settings(models_url="memory://")).model_url == "memory://sandbox"


def test_one_command_at_a_time_starts_or_ends_a_gridflex(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    order: list[object] = []
    waits = threading.Event()

    def say(text: object) -> None:
        order.append(text)
        waits.set()

    def second() -> None:
        with one_at_a_time(settings, say):
            order.append("second")

    other = threading.Thread(target=second)
    with one_at_a_time(settings, say):
        other.start()
        assert waits.wait(60)
        order.append("first")
    other.join(60)

    assert order[1:] == ["first", "second"]
    assert "waiting for it" in str(order[0])


def test_ending_what_never_ran_leaves_no_state_folder(tmp_path: Path) -> None:
    nowhere = SiteSettings(ray_url="http://127.0.0.1:1")
    said: list[object] = []

    bring_down(Settings(state_dir=tmp_path / "state", sites=(nowhere,)), say=said.append)

    assert said == ["nothing to end: GridFlex was not started from this state folder"]
    assert list(tmp_path.iterdir()) == []


def test_a_state_folder_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")

    with (
        pytest.raises(ContractError, match=r"state_dir: /.*/state cannot be used \(File exists\)"),
        one_at_a_time(Settings(state_dir=tmp_path / "state"), print),
    ):
        pass


def test_a_state_folder_that_the_embedded_server_cannot_be_in_is_named(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path / "state dir")

    with pytest.raises(ContractError, match=r"state_dir: .*'/.*state dir/postgresql'; valid is"):
        database.ensure_database(settings)
