"""The regions of the Carbon Intensity API, and how the sandbox tells them apart.

No regional series is recorded, so a region's intensity is the national one times a constant:
an assumption, always marked as simulated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Region:
    """One region.

    Args:
        id: Number in the API.
        short_name: Name in the API.
        relative: Its intensity over the national one; assumed.
        areas: Letters with which its postcodes begin.
    """

    id: int
    short_name: str
    relative: float
    areas: str = ""


REGIONS: Final = (
    Region(1, "North Scotland", 0.35, "AB DD HS IV KW PH ZE"),
    Region(2, "South Scotland", 0.30, "DG EH FK G KA KY ML PA TD"),
    Region(3, "North West England", 0.50, "BB BL CA FY LA M OL PR SK WA WN"),
    Region(4, "North East England", 0.45, "DH DL NE SR TS"),
    Region(5, "Yorkshire", 0.95, "BD DN HD HG HU HX LS S WF YO"),
    Region(6, "North Wales & Merseyside", 0.70, "CH L LL"),
    Region(7, "South Wales", 1.70, "CF LD NP SA"),
    Region(8, "West Midlands", 0.95, "B DY HR ST SY TF WR WS WV"),
    Region(9, "East Midlands", 1.35, "CV DE LE LN MK NG NN"),
    Region(10, "East England", 0.90, "AL CB CM CO EN HP IG IP LU NR PE RM SG SS WD"),
    Region(11, "South West England", 1.00, "BA BS EX PL TA TQ TR"),
    Region(12, "South England", 1.15, "BH DT GL GU OX PO RG SL SN SO SP"),
    Region(13, "London", 0.95, "E EC HA N NW SE SW UB W WC"),
    Region(14, "South East England", 1.05, "BN BR CR CT DA KT ME RH SM TN TW"),
    Region(15, "England", 1.05),
    Region(16, "Scotland", 0.32),
    Region(17, "Wales", 1.35),
)

_BY_AREA: Final = {area: region for region in REGIONS for area in region.areas.split()}
_OUTWARD: Final = re.compile(r"([A-Z]{1,2})\d[A-Z\d]?")


def by_id(region_id: int) -> Region | None:
    """Return the region of a number."""
    return next((region for region in REGIONS if region.id == region_id), None)


def by_postcode(outward: str) -> Region | None:
    """Return the region of an outward postcode such as ``RG10``."""
    match = _OUTWARD.fullmatch(outward.upper())
    return _BY_AREA.get(match[1]) if match else None
