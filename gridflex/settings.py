"""All that can be configured, in one model: ``gridflex.yaml`` < ``GRIDFLEX_*`` < flags.

Built once in an entry point and passed down; nothing but `gridflex.settings_files` reads files or
the environment. Nested values use two underscores there: ``GRIDFLEX_PLANNER__BUDGET_S=5``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from gridflex.beckn_settings import MarketSettings
from gridflex.checked_values import Http, RunTime, Secret, Whole
from gridflex.energy_settings import EnergySettings
from gridflex.fleet import GPU_TYPES, Site
from gridflex.instants import Instant
from gridflex.places import PLACE
from gridflex.units import MOST_PRICE_GBP


class SiteSettings(BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """One Ray cluster that runs jobs.

    Attributes:
        name: Unique short name; the first site is the default one.
        ray_url: Address of its Ray dashboard, where the Job API lives.
        ray_token: Token of that cluster; None takes Ray's own (``RAY_AUTH_TOKEN`` or the file
            that ``ray start`` writes).
        gpus: GPUs that GridFlex may fill; None asks the cluster.
        gpu_type: Key of `gridflex.fleet.GPU_TYPES`.
        postcode: Outward part such as ``RG10``, or ``region-13``, for regional carbon intensity;
            None for the national one.
        marginal_pue: Facility power added per unit of IT power added.
        intensity_cap_gco2_per_kwh: Energy-weighted mean that a plan should stay under.
        power_caps: Power limits that jobs here may be started under, as shares of a GPU's
            default one; each run is told its own in ``GRIDFLEX_POWER_CAP_FRACTION``.
        power_caps_set_by: ``gridflex`` sets them on the GPUs that a run holds, which takes root
            there and a site that is the Ray cluster of the agents; ``jobs`` leaves it to the jobs.
        tariff: Tariff file of the site (docs/settlement.md); plans then count energy at what it
            costs delivered, with losses, networks and levies. None counts the wholesale price.
    """

    name: str = Field(default="local", pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    ray_url: Http = "http://127.0.0.1:8265"
    ray_token: Secret | None = None
    gpus: Whole | None = Field(default=None, ge=0)
    gpu_type: str = "H100"
    postcode: str | None = Field(default=None, pattern=f"^({PLACE})$")
    marginal_pue: float = Field(default=1.1, ge=1)
    intensity_cap_gco2_per_kwh: float = Field(default=200.0, gt=0)
    power_caps: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = ()
    power_caps_set_by: Literal["gridflex", "jobs"] = "gridflex"
    tariff: Path | None = None

    @property
    def is_capped_by_us(self) -> bool:
        """Whether GridFlex is to set power limits here."""
        return bool(self.power_caps) and self.power_caps_set_by == "gridflex"

    @field_validator("gpu_type")
    @classmethod
    def _is_known(cls, gpu_type: str) -> str:
        if gpu_type not in GPU_TYPES:
            raise ValueError(f"must be one of {', '.join(sorted(GPU_TYPES))}")
        return gpu_type

    def site(self, *, gpus: int) -> Site:
        """Return the domain's view of this site with so many GPUs to fill."""
        return Site(
            name=self.name,
            gpus=gpus,
            gpu_type=self.gpu_type,
            postcode=self.postcode,
            marginal_pue=self.marginal_pue,
            intensity_cap_gco2_per_kwh=self.intensity_cap_gco2_per_kwh,
            power_caps=self.power_caps,
        )


class ClockSettings(BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Wall time, or a replay in which ``origin`` was at ``origin_wall`` and time runs faster.

    Attributes:
        speed: Seconds of GridFlex time per second of wall time.
        origin: GridFlex time at ``origin_wall``; None for wall time.
        origin_wall: Wall time at which the replay began.
    """

    speed: float = Field(default=1.0, gt=0)
    origin: Instant | None = None
    origin_wall: Instant | None = None

    @model_validator(mode="after")
    def _whole(self) -> ClockSettings:
        if (self.origin is None) != (self.origin_wall is None):
            raise ValueError("origin and origin_wall are given together or not at all")
        if self.origin is None and self.speed != 1:
            raise ValueError("a speed other than 1 needs origin and origin_wall")
        return self


class GridSettings(BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Where prices and carbon intensity come from.

    Attributes:
        carbon_intensity_url: GB Carbon Intensity API.
        elexon_url: Elexon Insights API.
        octopus_url: Octopus API, for the Agile product.
        nord_pool_url: Nord Pool's data portal API, for the auction itself; None asks nothing. Using
            its data commercially needs a licence of Nord Pool.
        agile_region: Region letter of the Agile tariff, A to P without I and O.
        timeout_s: Longest wait for one answer, in wall time.
        poll_s: Seconds of GridFlex time between polls.
        outturn_label_shift: Added to the start of the Carbon Intensity API's ``actual`` rows.
    """

    carbon_intensity_url: Http = "https://api.carbonintensity.org.uk"
    elexon_url: Http = "https://data.elexon.co.uk/bmrs/api/v1"
    octopus_url: Http = "https://api.octopus.energy/v1"
    nord_pool_url: Http | None = None
    agile_region: str = Field(default="C", pattern="^[A-HJ-NP]$")
    timeout_s: float = Field(default=10.0, gt=0)
    poll_s: float = Field(default=900.0, gt=0)
    outturn_label_shift: timedelta = timedelta(minutes=30)


class PlannerSettings(BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """What a plan minimises and how long it may think.

    Attributes:
        carbon_price_gbp_per_tco2: What a tonne counts for beside the price of energy.
        waiting_gbp_per_gpu_hour: What an hour of waiting of one GPU's work counts for.
        horizon_half_hours: How far a plan looks ahead at least.
        budget_s: Wall time one re-plan may take.
        front_budget_s: Wall time to look, after a plan was committed, for what other plans trade
            off; 0 leaves that to whoever asks for it.
        restart_s: Seconds of GridFlex time that a start or resume takes before work goes on; where
            the newest starts were seen to take longer, up to a half-hour, plans allow for that.
        replan_s: Seconds of GridFlex time between two plans when nothing happens.
        other_load_level: Chance with which work that is not steered finds the GPUs it needs free.
    """

    carbon_price_gbp_per_tco2: float = Field(default=80.0, ge=0, le=MOST_PRICE_GBP)
    waiting_gbp_per_gpu_hour: float = Field(default=0.0, ge=0, le=MOST_PRICE_GBP)
    horizon_half_hours: int = Field(default=96, ge=2, le=1488)
    budget_s: float = Field(default=2.0, gt=0)
    front_budget_s: float = Field(default=1.0, ge=0)
    restart_s: float = Field(default=60.0, ge=0)
    replan_s: float = Field(default=1800.0, gt=0)
    other_load_level: float = Field(default=0.9, ge=0.05, le=0.95)


def _trainable(name: str) -> str:
    from gridflex.forecasting.models import CHAMPIONS  # noqa: PLC0415 - rarely asked

    if name not in CHAMPIONS:
        raise ValueError(f"must be one of {', '.join(CHAMPIONS)}")
    return name


class ForecastSettings(BaseModel, extra="forbid", frozen=True):
    """Forecasts of our own; without a trained champion there are none.

    Attributes:
        rank: ``measured`` uses the providers' first unless ours was better over ``skill_days``;
            ``first`` uses ours wherever there is one, ``last`` only where no provider speaks.
        skill_days: Over how many days the issued forecasts are compared.
        retrain_every: After which GridFlex time a target is trained again, as a Ray job on the
            cluster of the agents; None never does.
        retrain: What is trained again then.
        retrain_models: Kinds of forecasters to try then; none named tries all.
        retrain_samples: Settings to try for each.
        retrain_days: Length of the part of the past that is held back, and of each stretch before.
        retrain_stretches: Stretches on which settings are chosen.
        retrain_gpu: Whether training may take a GPU, which jobs may be waiting for.
    """

    rank: Literal["measured", "first", "last"] = "measured"
    skill_days: int = Field(default=14, ge=1, le=90)
    retrain_every: timedelta | None = Field(default=None, ge=timedelta(hours=1))
    retrain: tuple[Literal["carbon", "price"], ...] = ("carbon", "price")
    retrain_models: tuple[Annotated[str, AfterValidator(_trainable)], ...] = ()
    retrain_samples: int = Field(default=4, ge=1)
    retrain_days: int = Field(default=28, ge=1)
    retrain_stretches: int = Field(default=3, ge=1)
    retrain_gpu: bool = False


class HttpSettings(BaseModel, extra="forbid", frozen=True):
    """Where GridFlex listens and whom it lets in.

    Attributes:
        host: Address to bind.
        port: Port of the gateway and the API.
        auth: ``token`` as Ray itself does, ``disabled`` for none; None follows
            ``RAY_AUTH_MODE``, which Ray 2.60 takes as ``token`` when unset.
        token: The token to ask for; None takes Ray's own.
    """

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    auth: Literal["token", "disabled"] | None = None
    token: Secret | None = None


class LedgerSettings(BaseModel, extra="forbid", frozen=True):
    """The ledger's name and key.

    Attributes:
        origin: Name of this ledger, in its key and its checkpoints; unique in the world.
        key_dir: Folder with the signing key, readable by its owner only; must be the same on every
            node that may run the agents. None is in ``state_dir``.
        timestamp_url: RFC 3161 authority that stamps checkpoints; None for none.
    """

    origin: str = Field(default="gridflex.local/ledger", pattern=r"^[^\s+]{1,200}$")
    key_dir: Path | None = None
    timestamp_url: Http | None = None


class RetentionSettings(BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """How long is kept what nothing but a later look needs; None is for good.

    Jobs, plans, series, metered energy and the ledger are always kept.

    Attributes:
        raw_responses_days: Answers of the grid's providers, as they came.
        plan_inputs_days: All that a plan was made from, for `what-if` and `explain`.
    """

    raw_responses_days: float | None = Field(default=90.0, ge=1)
    plan_inputs_days: float | None = Field(default=30.0, ge=1)


class Settings(BaseSettings):
    """Everything GridFlex can be told.

    Attributes:
        state_dir: Folder for the embedded database, packages and logs.
        database_url: PostgreSQL; None starts the embedded server in ``state_dir``.
        packages_url: fsspec URL of the folder that keeps uploaded packages; None is in
            ``state_dir``.
        models_url: fsspec URL of the folder that keeps trained forecasters; None is in
            ``state_dir``.
        sites: Ray clusters, the default one first.
        clock: Wall time or replay.
        grid: Price and carbon providers.
        forecast: Forecasts of our own.
        planner: Planning weights and limits.
        http: Listening address and authentication.
        ledger: Name and key of the ledger.
        market: Trading over Beckn.
        energy: Selling energy under P415.
        retention: How long bulky records are kept.
        checkpoint_dir: Folder or URL under which each job gets a folder for its checkpoints; must
            be reachable from every node of its site. None is in ``state_dir``.
        default_duration: Run time assumed for a job without ``duration`` and without history.
    """

    model_config = SettingsConfigDict(
        env_prefix="GRIDFLEX_", env_nested_delimiter="__", extra="forbid", frozen=True
    )

    state_dir: Path = Path("~/.gridflex")
    database_url: Secret | None = None
    packages_url: str | None = None
    models_url: str | None = None
    checkpoint_dir: str | None = None
    sites: tuple[SiteSettings, ...] = Field(default=(SiteSettings(),), min_length=1)
    clock: ClockSettings = ClockSettings()
    grid: GridSettings = GridSettings()
    forecast: ForecastSettings = ForecastSettings()
    planner: PlannerSettings = PlannerSettings()
    http: HttpSettings = HttpSettings()
    ledger: LedgerSettings = LedgerSettings()
    market: MarketSettings = MarketSettings()
    energy: EnergySettings = EnergySettings()
    retention: RetentionSettings = RetentionSettings()
    default_duration: RunTime = timedelta(hours=1)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, whose values arrive as arguments."""
        return env_settings, init_settings

    @model_validator(mode="after")
    def _sites_are_distinct(self) -> Settings:
        names = [site.name for site in self.sites]
        if len(set(names)) != len(names):
            raise ValueError(f"site names must differ, got {', '.join(names)}")
        places: dict[str, str] = {}
        for site in self.sites:
            url = site.ray_url.rstrip("/").lower()
            if (other := places.setdefault(url, site.name)) != site.name:
                raise ValueError(
                    f"ray_url of sites {other} and {site.name} must differ, got {site.ray_url} "
                    "twice: its GPUs would count twice"
                )
        if self.energy.site not in {None, *names}:
            raise ValueError(f"energy.site {self.energy.site!r} is none of {', '.join(names)}")
        return self

    @property
    def state_path(self) -> Path:
        """``state_dir`` as an absolute path."""
        return self.state_dir.expanduser().absolute()

    @property
    def package_url(self) -> str:
        """Where uploaded packages are kept, as an fsspec URL."""
        return self.packages_url or f"file://{self.state_path / 'packages'}"

    @property
    def model_url(self) -> str:
        """Where trained forecasters are kept, as an fsspec URL."""
        return self.models_url or f"file://{self.state_path / 'models'}"

    @property
    def ledger_key_path(self) -> Path:
        """Folder of the ledger's signing key."""
        named = self.ledger.key_dir
        return named.expanduser().absolute() if named else self.state_path / "ledger"

    @property
    def energy_path(self) -> Path:
        """Folder in which files are exchanged with the energy market."""
        named = self.energy.folder
        return named.expanduser().absolute() if named else self.state_path / "energy"

    @property
    def market_key_path(self) -> Path:
        """Folder of the keys that sign Beckn messages."""
        named = self.market.key_dir
        return named.expanduser().absolute() if named else self.state_path / "market"

    @property
    def checkpoint_root(self) -> str:
        """Where jobs keep their checkpoints."""
        return self.checkpoint_dir or str(self.state_path / "checkpoints")


def gridflex_time(clock: ClockSettings, wall: datetime) -> datetime:
    """Return GridFlex time at the wall time ``wall``."""
    if clock.origin is None or clock.origin_wall is None:
        return wall
    return clock.origin + (wall - clock.origin_wall) * clock.speed
