"""How a part of Great Britain is named, wherever somebody names one."""

from __future__ import annotations

from typing import Final

PLACE: Final = "[A-Z]{1,2}[0-9][A-Z0-9]?|region-(?:[1-9]|1[0-7])"
"""Pattern of an outward postcode, or of a region by its number at the Carbon Intensity API."""

VALID_PLACE: Final = "an outward postcode such as RG10, or region-1 to region-17"
"""The same in words."""
