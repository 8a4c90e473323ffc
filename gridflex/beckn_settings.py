"""Settings of who trades over Beckn."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from pydantic import BaseModel, Field

from gridflex.checked_values import Http, HttpOrFile, HttpTemplate, Secret


class MarketSettings(BaseModel, extra="forbid", frozen=True, allow_inf_nan=False):
    """Trading over Beckn; without a subscriber id nothing is traded.

    Attributes:
        subscriber_id: Our id in the network's registry; None does not trade.
        url: Our address in the registry, where messages arrive.
        name: Ours, for a person.
        grid_area: Where our sites draw power.
        network_id: The network on which we trade.
        registry_url: DeDi registry, before ``/lookup``.
        registry_name: Name of its list of participants.
        registration_url: Where the registry takes a record in; None is ``/records`` below
            ``registry_url``, as in the sandbox.
        registration_token: Bearer token for that.
        service_id: Subscriber id of the discovery and cataloguing service.
        service_url: Its address; None publishes and discovers nothing.
        egress_url: Where every message is posted instead of to its addressee, such as the caller
            side of a Beckn-ONIX adapter; None posts to the addressee. ``{role}`` in it becomes
            ``bap`` for requests and ``bpp`` for callbacks and catalogues.
        key_dir: Folder with our keys; must be the same on every node that may trade. None is in
            ``state_dir``.
        sells: Whether blocks of waiting jobs are published and sold.
        buys: Whether blocks of others are discovered and bought.
        answers: Whether needs for less load that others publish are answered with our jobs.
        least_premium_gbp_per_kwh: What a shifted kWh costs at least, whatever its owner wants.
        notice_half_hours: How long before a change we must know.
        most_intensity_gco2_per_kwh: Greatest carbon intensity of a half-hour that we fill.
        most_price_gbp_per_mwh: Greatest price of energy in one.
        most_premium_gbp_per_kwh: Greatest premium that we pay.
        most_contracts: Blocks that we have bought and not yet settled, and as many answered needs.
        most_drafts_per_peer: Contracts that one peer may have asked for and neither confirmed nor
            ended.
        meters_per_page: Meters in one message about what was delivered.
        publish_s: Seconds of GridFlex time between two catalogues.
        discover_s: Seconds of GridFlex time between two discoveries.
        ttl_s: How long our requests count and are waited for, in wall time.
        draft_s: After how much wall time a draft that is not confirmed lapses.
        clock_tolerance_s: How far ahead a peer's clock may be.
        cache_s: How long a registry record is kept at most.
        timeout_s: Longest wait for one acknowledgement.
        must_bind: Refuse a callback whose signature does not cover our request's.
        must_match_url: Refuse a sender whose address is not its registered one.
    """

    subscriber_id: str | None = Field(default=None, pattern=r"^[^\s|\"/]{1,200}$")
    url: Http = "http://127.0.0.1:8000/beckn"
    name: str = "GridFlex"
    grid_area: str = "GB"
    network_id: str = "gridflex.example/sandbox"
    registry_url: HttpOrFile = "https://fabric.nfh.global/registry/dedi"
    registry_name: str = "subscribers.beckn.one"
    registration_url: Http | None = None
    registration_token: Secret | None = None
    service_id: str = "fabric.nfh.global"
    service_url: Http | None = None
    egress_url: HttpTemplate | None = None
    key_dir: Path | None = None
    sells: bool = True
    buys: bool = True
    answers: bool = True
    least_premium_gbp_per_kwh: Decimal = Field(default=Decimal("0.15"), ge=0, le=10)
    notice_half_hours: int = Field(default=1, ge=1, le=96)
    most_intensity_gco2_per_kwh: float = Field(default=100.0, ge=0)
    most_price_gbp_per_mwh: float = 80.0
    most_premium_gbp_per_kwh: Decimal = Field(default=Decimal("0.15"), ge=0, le=10)
    most_contracts: int = Field(default=20, ge=0)
    most_drafts_per_peer: int = Field(default=100, ge=1)
    meters_per_page: int = Field(default=1_000, ge=1, le=10_000)
    publish_s: float = Field(default=1800.0, gt=0)
    discover_s: float = Field(default=1800.0, gt=0)
    ttl_s: float = Field(default=300.0, gt=0, le=86_400)
    draft_s: float = Field(default=1800.0, gt=0)
    clock_tolerance_s: float = Field(default=60.0, ge=0)
    cache_s: float = Field(default=300.0, ge=0)
    timeout_s: float = Field(default=30.0, gt=0)
    must_bind: bool = True
    must_match_url: bool = True
