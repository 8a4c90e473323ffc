"""What a sandbox must not share with a live GridFlex: its data and the keys of its ledger."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from gridflex.settings import Settings

_PART: Final = "sandbox"
"""Folder of a sandbox, under each that is configured."""


def kept_apart(settings: Settings) -> Settings:
    """Return the settings of a sandbox of this GridFlex, so that nothing mixes with what is live.

    It has a database of its own beside its other state, and folders under those that are named.
    Its ledger has another name, as it has another key, and nobody is asked to stamp it. It trades
    over Beckn only where the registry is of this machine, with the same keys: they were registered
    under our name.
    """
    market: dict[str, object] = {"key_dir": settings.market_key_path}
    if not _is_here(settings.market.registry_url):
        market["subscriber_id"] = None
    ledger = {
        "origin": f"{settings.ledger.origin}/{_PART}",
        "key_dir": _under(settings.ledger.key_dir),
        "timestamp_url": None,
    }
    return settings.model_copy(
        update={
            "state_dir": settings.state_path / _PART,
            "database_url": None,
            "packages_url": _below(settings.packages_url),
            "models_url": _below(settings.models_url),
            "checkpoint_dir": _below(settings.checkpoint_dir),
            "ledger": settings.ledger.model_copy(update=ledger),
            "energy": settings.energy.model_copy(update={"folder": _under(settings.energy.folder)}),
            "market": settings.market.model_copy(update=market),
        }
    )


def _under(folder: Path | None) -> Path | None:
    return folder / _PART if folder else None


def _below(url: str | None) -> str | None:
    return f"{url}{'' if url.endswith('/') else '/'}{_PART}" if url else None


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
