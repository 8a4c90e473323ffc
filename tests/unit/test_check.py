"""What `gridflex check` says of providers, tariffs, losses, power limits and the database."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from gridflex import cli
from gridflex.adapters import database
from gridflex.adapters.clusters.ray_jobs import RayJobs
from gridflex.capping import Ability
from gridflex.energy_settings import EnergySettings
from gridflex.errors import ContractError, SourceError
from gridflex.running import check
from gridflex.running.check import Check
from gridflex.settings import ClockSettings, Settings, SiteSettings
from tests.unit.grid.sandbox import BASE, SETTINGS, WITH_NORD_POOL, Sandbox, small_world
from tests.unit.market.test_desk import EARLY
from tests.unit.market.test_tariff import tariff_text


def settings(*tariffs: Path | None) -> Settings:
    sites = tuple(
        SiteSettings(name=name, tariff=tariff, ray_url=f"http://{name}.test:8265")
        for name, tariff in zip(("london", "slough"), tariffs, strict=True)
    )
    clock = ClockSettings(origin=EARLY, origin_wall=EARLY)
    return Settings(sites=sites, clock=clock.model_copy(update={"speed": 1e-9}))


@pytest.fixture
def tariff(tmp_path: Path) -> Path:
    (tmp_path / "tariff.yaml").write_text(tariff_text())
    return tmp_path / "tariff.yaml"


async def test_a_site_without_a_tariff_beside_one_with_is_named(tariff: Path) -> None:
    mixed = await check._tariffs(settings(tariff, None))
    alike = await check._tariffs(settings(tariff, tariff))
    none = await check._tariffs(settings(None, None))

    assert "delivered cost at london; slough: it has no tariff" in mixed
    assert alike == "energy counts at its delivered cost at london, slough"
    assert none == "no site has a tariff: energy counts at the wholesale price"


def test_where_no_limit_can_be_set_the_way_out_is_named() -> None:
    without = Ability("london", is_able=False, detail="no node with GPUs", at=EARLY)

    with pytest.raises(SourceError, match=r"^no node with GPUs;.*power_caps_set_by: jobs"):
        check.limits_found(without)
    assert check.limits_found(replace(without, is_able=True, detail="yes")) == "yes"
    assert check.limits_found(None).startswith("planned once")


@pytest.fixture
def misspelt(tmp_path: Path) -> Path:
    (tmp_path / "misspelt.yaml").write_text(tariff_text().replace("duos:", "dous:"))
    return tmp_path / "misspelt.yaml"


async def test_a_tariff_that_cannot_be_used_fails(tmp_path: Path, misspelt: Path) -> None:
    with pytest.raises(SourceError, match="cannot be read"):
        await check._tariffs(settings(tmp_path / "none.yaml", None))
    with pytest.raises(ContractError, match="duos"):
        await check._tariffs(settings(misspelt, None))


async def test_each_provider_is_asked_for_what_gridflex_asks_it() -> None:
    sandbox = Sandbox(small_world(), "2024-04-01T12:00Z")

    found = await check.provider_checks(
        WITH_NORD_POOL, now=sandbox.now, transport=sandbox.transport
    )

    assert [(one.name, one.is_ok) for one in found] == [
        ("carbon intensity", True), ("Nord Pool", True), ("Octopus", True), ("Elexon", True),
    ]  # fmt: skip
    assert found[2].detail == (
        "octopus/agile-derived is told, 2024-04-01T12:00Z to 2024-04-01T22:00Z (recorded)"
    )


async def test_a_wrong_address_of_a_provider_is_told_with_its_answer() -> None:
    sandbox = Sandbox(small_world(), "2024-04-01T12:00Z")
    wrong = SETTINGS.model_copy(update={"elexon_url": f"{BASE}/bmrs/api/v2"})

    found = await check.provider_checks(wrong, now=sandbox.now, transport=sandbox.transport)

    (failed,) = (one for one in found if not one.is_ok)
    assert failed.name == "Elexon"
    assert "/bmrs/api/v2/balancing/pricing/market-index" in failed.detail
    assert "HTTP 404" in failed.detail
    assert "then the usual level of the hour" in failed.detail


async def test_a_provider_is_asked_once() -> None:
    asked: list[str] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        raise httpx.ConnectError("refused", request=request)

    found = await check.provider_checks(SETTINGS, now=EARLY, transport=httpx.MockTransport(refuse))

    assert len(asked) == len(found) == 3
    assert not any(one.is_ok for one in found)


LOSSES = "start,line_loss_factor,transmission_multiplier\n2026-01-01,1.02,0.99\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(None, "cannot be read: No such file", id="missing"),
        pytest.param(LOSSES.replace("1.02", "102"), "line 2: line_loss_factor 102", id="invalid"),
        pytest.param(LOSSES.replace("2026", "2099"), "nothing is in force in", id="only later"),
    ],
)
async def test_a_losses_file_that_cannot_be_used_is_named(
    tmp_path: Path, text: str | None, reason: str
) -> None:
    path = tmp_path / "losses.csv"
    if text is not None:
        path.write_text(text)

    (found,) = await check.loss_checks(EnergySettings(losses_file=path), now=EARLY)

    assert (found.name, found.is_ok) == ("losses", False)
    assert f"energy.losses_file {path}: " in found.detail
    assert reason in found.detail


async def test_losses_in_force_are_told(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    path.write_text(LOSSES)

    (found,) = await check.loss_checks(EnergySettings(losses_file=path), now=EARLY)

    assert found.is_ok
    assert "line_loss_factor of 1.02 and a transmission_multiplier of 0.99" in found.detail
    assert await check.loss_checks(EnergySettings(), now=EARLY) == []


def test_check_shows_no_secret_and_fails_where_something_does_not_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GRIDFLEX_DATABASE_URL", "postgresql://me:hunter2@db/x")
    monkeypatch.setenv("GRIDFLEX_HTTP__TOKEN", "s3cret")
    monkeypatch.chdir(tmp_path)
    results = [Check("database", is_ok=False, detail="no [/x]")]
    monkeypatch.setattr(check, "run_checks", lambda _settings: results)

    for arguments in (["check"], ["check", "--json"]):
        result = CliRunner(env={"NO_COLOR": "1"}).invoke(cli.app, arguments)

        assert result.exit_code == 1
        assert "postgresql://me:***@db/x" in result.output
        assert "no [/x]" in result.output
        assert "hunter2" not in result.output
        assert "s3cret" not in result.output


def test_a_check_shows_the_end_of_a_long_address_at_80_columns(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    address = f"http://elexon.test/{'wrong/' * 12}market-index"
    results = [Check("Elexon", is_ok=True, detail=address)]
    monkeypatch.setattr(check, "run_checks", lambda _settings: results)

    told = (
        CliRunner(env={"COLUMNS": "80", "NO_COLOR": "1"})
        .invoke(cli.app, ["check"])
        .output.partition("what was found")[2]
    )

    cells = [line.split("│")[3].strip() for line in told.splitlines() if line.count("│") == 4]
    assert "".join(cells) == address


async def test_a_check_says_what_it_found_or_why_not() -> None:
    async def works() -> str:
        return "PostgreSQL 18"

    async def fails() -> str:
        raise ImportError("install s3fs to access S3")

    assert await check._try("a", works) == Check("a", is_ok=True, detail="PostgreSQL 18")
    assert await check._try("b", fails) == Check(
        "b", is_ok=False, detail="install s3fs to access S3"
    )


@pytest.mark.parametrize(
    ("url", "kind", "says"),
    [
        ("postgresql://me:hunter2@127.0.0.1:1/x", SourceError, r"database at 127\.0\.0\.1:1"),
        ("hunter2", ContractError, "database_url is not a URL"),
    ],
)
def test_a_database_that_cannot_be_is_named_without_its_password(
    url: str, kind: type[Exception], says: str
) -> None:
    with pytest.raises(kind, match=says) as raised:
        database.ensure_database(Settings(database_url=url))

    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "ends"),
    [
        ("http://127.0.0.1:1", "; start it with: gridflex up"),
        ("http://[::1]:1", "; start it with: gridflex up"),
        ("http://cluster.invalid:1", "failed"),
    ],
)
async def test_the_cluster_of_this_machine_is_started_by_us(
    monkeypatch: pytest.MonkeyPatch, url: str, ends: str
) -> None:
    def refused(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("All connection attempts failed", request=request)

    def cluster(site: SiteSettings) -> RayJobs:
        return RayJobs(site.ray_url, transport=httpx.MockTransport(refused))

    monkeypatch.setattr(RayJobs, "of_site", cluster)

    with pytest.raises(SourceError) as raised:
        await check._site(SiteSettings(name="local", ray_url=url))

    assert str(raised.value).endswith(ends)


@pytest.mark.parametrize("body", ["<html>hello</html>", "[]", "5", ""])
async def test_another_program_at_the_port_of_the_gateway_is_told(
    monkeypatch: pytest.MonkeyPatch, body: str
) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=body))
    monkeypatch.setattr(httpx, "AsyncClient", partial(httpx.AsyncClient, transport=transport))

    found = await check._try("gateway", partial(check._gateway, Settings()))

    told = "http://127.0.0.1:8000/readyz: what answers there is not GridFlex"
    assert (found.is_ok, found.detail) == (False, told)


async def test_a_gateway_that_is_ready_is_told_with_its_degraded_agents(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ready = {"status": "ready", "silent": {}, "degraded": ["grid", "orchestrator"]}
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=ready))
    monkeypatch.setattr(httpx, "AsyncClient", partial(httpx.AsyncClient, transport=transport))

    told = await check._gateway(Settings())

    assert told == "http://127.0.0.1:8000/readyz is ready; degraded: grid, orchestrator"
