"""Which code made a model."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from importlib.resources import files


def code_version() -> str:
    """Return the release, and a digest of the forecasting code that tells two checkouts apart."""
    digest = hashlib.sha256()
    modules = [one for one in files("gridflex.forecasting").iterdir() if one.name.endswith(".py")]
    for module in sorted(modules, key=lambda one: one.name):
        digest.update(module.name.encode() + b"\0" + module.read_bytes())
    return f"{version('gridflex')}+{digest.hexdigest()[:12]}"
