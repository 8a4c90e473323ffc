"""One model for everything that can be configured: file, then environment, then flags."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from gridflex.errors import ContractError
from gridflex.settings import ClockSettings, Settings, SiteSettings, gridflex_time
from gridflex.settings_files import dump_settings, load_settings, parse_settings, write_settings
from tests.shared import ROOT

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
FILE = """
database_url: postgresql://file
http: {port: 9001, host: 0.0.0.0}
planner: {budget_s: 1, carbon_price_gbp_per_tco2: 100}
sites:
  - {name: london, gpus: 8, postcode: EC1}
  - {name: slough, gpu_type: A100, ray_url: "http://slough.test:8265"}
"""


@pytest.fixture(autouse=True)
def empty_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable and no file but those of the test."""
    for name in [name for name in os.environ if name.startswith("GRIDFLEX_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(FILE)
    return path


def test_nothing_given_is_a_laptop() -> None:
    settings = load_settings()

    assert settings == Settings()
    assert settings.database_url is None
    assert [site.name for site in settings.sites] == ["local"]
    assert settings.http.host == "127.0.0.1"


def test_the_file_changes_what_it_names(config: Path) -> None:
    settings = load_settings(config)

    assert settings.http.port == 9001
    assert settings.planner.carbon_price_gbp_per_tco2 == 100
    assert settings.planner.horizon_half_hours == 96
    assert [(site.name, site.gpus, site.gpu_type) for site in settings.sites] == [
        ("london", 8, "H100"), ("slough", None, "A100"),
    ]  # fmt: skip


def test_the_environment_goes_before_the_file_key_by_key(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRIDFLEX_PLANNER__BUDGET_S", "5")
    monkeypatch.setenv("GRIDFLEX_DATABASE_URL", "postgresql://environment")

    settings = load_settings(config)

    assert settings.planner.budget_s == 5
    assert settings.planner.carbon_price_gbp_per_tco2 == 100
    assert settings.database_url
    assert settings.database_url.get_secret_value() == "postgresql://environment"


def test_flags_go_before_environment_and_file_key_by_key(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRIDFLEX_PLANNER__BUDGET_S", "5")
    monkeypatch.setenv("GRIDFLEX_HTTP__PORT", "9002")

    settings = load_settings(config, flags={"http": {"port": 9003}, "state_dir": "/flag"})

    assert settings.http.port == 9003
    assert settings.http.host == "0.0.0.0"  # noqa: S104 - the file says so
    assert settings.planner.budget_s == 5
    assert settings.state_path == Path("/flag")


def test_flags_keep_the_secrets_below_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDFLEX_HTTP__TOKEN", "hush")

    settings = load_settings(flags={"http": {"port": 9003}})

    assert settings.http.token is not None
    assert settings.http.token.get_secret_value() == "hush"


def test_a_file_in_the_working_folder_is_found(config: Path) -> None:
    config.rename("gridflex.yaml")

    assert load_settings().http.port == 9001


def test_a_file_named_in_the_environment_goes_before_the_one_in_the_working_folder(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("gridflex.yaml").write_text("http: {port: 9009}")
    monkeypatch.setenv("GRIDFLEX_CONFIG", str(config))

    assert load_settings().http.port == 9001


def test_an_empty_file_changes_nothing() -> None:
    Path("gridflex.yaml").write_text("# nothing yet\n")

    assert load_settings() == Settings()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("prot: 1", "prot is not known", id="misspelt"),
        pytest.param("http: {prot: 1}", "http.prot is not known", id="misspelt inside"),
        pytest.param("http: {port: 99999}", "http.port: 99999 .*at most 65535", id="out of range"),
        pytest.param(
            "energy: {unit: V__CGRID001, authorisation: A}",
            r"missing: energy\.credential \(or GRID",
            id="no credential",
        ),
        pytest.param("energy: {site: york}", "'york' is none of local", id="no such site"),
        pytest.param("http: {auth: maybe}", "'maybe' .*'token' or 'disabled'", id="no choice"),
        pytest.param("sites: []", "sites: .*at least 1", id="no site"),
        pytest.param(
            "sites: [{name: a}, {name: a}]", "site names must differ, got a, a", id="same name"
        ),
        pytest.param(
            "sites: [{name: a, ray_url: 'http://h:1'}, {name: b, ray_url: 'http://H:1/'}]",
            "ray_url of sites a and b must differ, got http://H:1/ twice",
            id="same cluster",
        ),
        pytest.param(
            "sites: [{name: A B}]",
            r"sites.0.name: 'A B' .*that matches",
            id="site name",
        ),
        pytest.param(
            "sites: [{gpu_type: H1000}]", r"sites.0.gpu_type: .*'H1000'.*A100, B200", id="GPU"
        ),
        pytest.param("sites: [{marginal_pue: 0.9}]", r"sites.0.marginal_pue: 0.9 .* 1", id="PUE"),
        pytest.param("grid: {agile_region: I}", "grid.agile_region: 'I' is not valid", id="region"),
        pytest.param(
            "grid: {nord_pool_url: ''}", "grid.nord_pool_url: '': .*https", id="no address"
        ),
        pytest.param("grid: {octopus_url: ftp://x.test}", "grid.octopus_url: .*https", id="scheme"),
        pytest.param("grid: {elexon_url: 'http://'}", "grid.elexon_url: .*https", id="no host"),
        pytest.param("grid: {elexon_url: 'http://x:99999'}", "99999': .*https", id="no port"),
        pytest.param("default_duration: soon", "default_duration: 'soon' .*PT30S", id="duration"),
        *(
            pytest.param(f"default_duration: {text}", "default_duration: .*zero.*P31D", id=text)
            for text in ("-PT1H", "PT0S", "P100D")
        ),
        *(
            pytest.param(f"sites: [{{ray_url: '{text}'}}]", "ray_url: .*https", id=f"Ray {text}")
            for text in ("", "10.0.0.1:8265", "ftp:/x", "http:10.0.0.1", "http://a b")
        ),
        pytest.param("sites: [{gpus: true}]", "sites.0.gpus: True: .*whole number", id="GPUs"),
        pytest.param(
            "forecast: {retrain_models: [nonsense]}",
            "forecast.retrain_models.0: 'nonsense': must be one of prophet, ensemble, lightgbm",
            id="kind of forecaster",
        ),
        pytest.param("market: {url: http:/x}", "market.url: .*https", id="our address"),
        pytest.param("market: {egress_url: '{role}'}", "market.egress_url: .*https", id="egress"),
        pytest.param("market: {registry_url: /x}", "registry_url: .*https", id="registry"),
        pytest.param("market: {service_url: x}", "service_url: .*https", id="service"),
        pytest.param("market: {registration_url: x}", "registration_url: .*https", id="records"),
        pytest.param("ledger: {timestamp_url: x}", "timestamp_url: .*https", id="stamps"),
        pytest.param(
            "clock: {speed: 60}", "clock: .*needs origin and origin_wall", id="speed only"
        ),
        pytest.param(
            "clock: {origin: 2026-07-01T12:00:00Z}", "clock: .*given together", id="half a replay"
        ),
        pytest.param(
            "clock: {origin: 2026-07-01T12:00:00}", "clock.origin: .*time zone", id="naive"
        ),
        pytest.param("http: {port: 1", "not valid YAML", id="no YAML"),
        pytest.param("- http", "must map the names of settings to values", id="a list"),
        pytest.param("1: 2", "must map the names of settings to values", id="a number as name"),
    ],
)
def test_a_wrong_file_is_refused_by_file_key_and_value(text: str, message: str) -> None:
    Path("wrong.yaml").write_text(text)

    with pytest.raises(ContractError, match=f"(?s)wrong.yaml: .*{message}"):
        load_settings(Path("wrong.yaml"))


@pytest.mark.parametrize("value", [".inf", ".nan"])
@pytest.mark.parametrize(
    "text",
    [
        "sites: [{marginal_pue: VALUE}]",
        "clock: {origin: 2026-07-01T12:00Z, origin_wall: 2026-07-01T12:00Z, speed: VALUE}",
        "grid: {poll_s: VALUE}",
        "planner: {budget_s: VALUE}",
        "market: {ttl_s: VALUE}",
        "retention: {plan_inputs_days: VALUE}",
        "energy: {predictability: [{start: 2026-08-24, bias_fraction: VALUE}]}",
    ],
)
def test_a_number_that_is_not_finite_is_refused(text: str, value: str) -> None:
    Path("wrong.yaml").write_text(text.replace("VALUE", value))

    with pytest.raises(ContractError, match="is not valid; valid is a finite number"):
        load_settings(Path("wrong.yaml"))


def test_a_file_that_is_no_text_is_refused() -> None:
    Path("wrong.yaml").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ContractError, match=r"wrong.yaml: not valid YAML"):
        load_settings(Path("wrong.yaml"))


def test_every_wrong_key_is_named_at_once() -> None:
    Path("wrong.yaml").write_text("prot: 1\nhttp: {port: 0}\nplanner: {budget_s: -1}")

    with pytest.raises(ContractError, match=r"planner\.budget_s: .*; http\.port: .*; prot is "):
        load_settings(Path("wrong.yaml"))


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        pytest.param(
            "GRIDFLEX_HTTP__PORT",
            "http",
            "settings and GRIDFLEX_HTTP__PORT: http.port: 'http' .*whole number",
            id="no number",
        ),
        pytest.param("GRIDFLEX_HTTP__PROT", "1", "http.prot is not known", id="misspelt inside"),
        pytest.param("GRIDFLEX_SITES", "london", "environment: .*sites", id="no JSON"),
        pytest.param(
            "GRIDFLEX_PLANER__BUDGET_S",
            "5",
            "GRIDFLEX_PLANER__BUDGET_S: GRIDFLEX_PLANER is no setting; .*GRIDFLEX_PLANNER,",
            id="misspelt group",
        ),
    ],
)
def test_a_wrong_variable_is_refused_by_key(
    variable: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)

    with pytest.raises(ContractError, match=message):
        load_settings()


def test_an_absent_file_is_refused() -> None:
    with pytest.raises(ContractError, match=r"absent\.yaml: cannot be read: No such file"):
        load_settings(Path("absent.yaml"))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("sites: [{ray_token: hush}, {ray_token: hush}]", id="of the whole model"),
        pytest.param("http: {token: [hush]}", id="of the token itself"),
        pytest.param("http: {tokens: hush}", id="of a token misspelt"),
        pytest.param("database_url: {url: hush}", id="of the database"),
        pytest.param("energy: {credential: [hush]}", id="of a credential"),
        pytest.param("energy: {unit: V__CGRID001, credential: hush}", id="of half of one"),
    ],
)
def test_a_refusal_shows_no_secret(text: str) -> None:
    Path("wrong.yaml").write_text(text)

    with pytest.raises(ContractError) as refused:
        load_settings(Path("wrong.yaml"))

    assert "hush" not in str(refused.value)


@pytest.mark.parametrize("value", ["", " \n", "a\nb"])
@pytest.mark.parametrize(
    "field",
    ["http.token", "sites.0.ray_token", "energy.credential", "market.registration_token"],
)
def test_a_secret_that_is_empty_is_refused_by_its_field(field: str, value: str) -> None:
    group, *_, name = field.split(".")
    of_group = {name: value}

    with pytest.raises(ContractError, match=f"{field}: valid is text on one line"):
        load_settings(flags={group: [of_group] if group == "sites" else of_group})


def test_an_empty_token_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDFLEX_HTTP__TOKEN", "")

    with pytest.raises(ContractError, match=r"http\.token: valid is text on one line"):
        load_settings()


def test_a_secret_of_a_file_counts_without_its_line_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDFLEX_HTTP__TOKEN", "hush\n")

    token = load_settings().http.token

    assert token is not None
    assert token.get_secret_value() == "hush"


def test_settings_survive_the_way_to_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(
        sites=(
            SiteSettings(name="london", ray_token="a"),  # noqa: S106 - made up
            SiteSettings(name="slough", ray_url="http://slough.test:8265"),
        ),
        clock=ClockSettings(speed=360, origin=NOON, origin_wall=NOON + timedelta(days=9)),
        http={"token": "b"},
        energy={"unit": "V__CGRID001", "authorisation": "A1", "credential": "c", "lot_mw": "0.5"},
        default_duration=timedelta(minutes=90),
    )
    monkeypatch.setenv("GRIDFLEX_DEFAULT_DURATION", "PT5H")

    again = parse_settings(dump_settings(settings))

    assert again.model_dump() == settings.model_dump()
    assert again.sites[0].ray_token is not None
    assert again.sites[0].ray_token.get_secret_value() == "a"
    assert again.energy.credential is not None
    assert again.energy.credential.get_secret_value() == "c"


def test_a_secret_does_not_show_in_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRIDFLEX_HTTP__TOKEN", "hush")

    assert "hush" not in repr(load_settings())


@pytest.mark.parametrize(
    ("text", "packages", "checkpoints"),
    [
        pytest.param(
            "state_dir: /state", "file:///state/packages", "/state/checkpoints", id="by default"
        ),
        pytest.param(
            "{packages_url: s3://b/p, checkpoint_dir: /nfs/c}", "s3://b/p", "/nfs/c", id="elsewhere"
        ),
    ],
)
def test_packages_and_checkpoints_lie_under_the_state_unless_told(
    text: str, packages: str, checkpoints: str
) -> None:
    Path("gridflex.yaml").write_text(text)

    settings = load_settings()

    assert (settings.package_url, settings.checkpoint_root) == (packages, checkpoints)


def test_a_home_folder_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")

    assert Settings().state_path == Path("/home/someone/.gridflex")


def test_a_site_becomes_the_domain_s_view_with_the_gpus_found() -> None:
    site = SiteSettings(name="slough", gpu_type="A100", postcode="SL1", marginal_pue=1.2)

    seen = site.site(gpus=16)

    assert (seen.name, seen.gpus, seen.gpu_type, seen.postcode) == ("slough", 16, "A100", "SL1")
    assert (seen.marginal_pue, seen.intensity_cap_gco2_per_kwh) == (1.2, 200.0)


def test_wall_time_is_gridflex_time_without_a_replay() -> None:
    assert gridflex_time(ClockSettings(), NOON) == NOON


def test_ten_seconds_of_a_replay_at_360_are_an_hour() -> None:
    wall = datetime(2026, 11, 1, 9, tzinfo=UTC)
    clock = ClockSettings(speed=360, origin=NOON, origin_wall=wall)

    assert gridflex_time(clock, wall + timedelta(seconds=10)) == NOON + timedelta(hours=1)
    assert gridflex_time(clock, wall - timedelta(seconds=5)) == NOON - timedelta(minutes=30)


@pytest.mark.parametrize("postcode", ["RG10", "SW1A", "E1", "region-1", "region-13", "region-17"])
def test_a_site_is_placed_by_outward_postcode_or_region(postcode: str) -> None:
    assert SiteSettings(postcode=postcode).site(gpus=1).postcode == postcode


@pytest.mark.parametrize(
    "postcode",
    [
        "Z",
        "rg10",
        "RG10 9XX",
        "13",
        "London",
        "",
        "region-0",
        "region-18",
        "region-99",
        "region-01",
    ],
)
def test_a_place_that_no_provider_knows_is_refused(postcode: str) -> None:
    with pytest.raises(ValidationError, match="postcode"):
        SiteSettings(postcode=postcode)


def test_settings_are_written_alike_by_every_process() -> None:
    """Agents are replaced where what is written differs; the order of a set would differ."""
    program = (
        "from gridflex.settings import Settings\n"
        "from gridflex.settings_files import dump_settings\n"
        "print(dump_settings(Settings()))"
    )
    written = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip

    assert len(written) == 1


def test_settings_in_force_are_loaded_as_they_stand_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(state_dir=tmp_path / "sandbox", database_url="postgresql://ours")
    path = write_settings(settings)
    monkeypatch.setenv("GRIDFLEX_STATE_DIR", str(tmp_path / "live"))
    monkeypatch.setenv("GRIDFLEX_DATABASE_URL", "postgresql://live")
    monkeypatch.setenv("GRIDFLEX_GRID__CARBON_INTENSITY_URL", "https://provider.test")

    assert load_settings(path).model_dump() == settings.model_dump()
    assert parse_settings(path.read_text()).model_dump() == settings.model_dump()
    assert load_settings(path, flags={"http": {"port": 9003}}).http.port == 9003
