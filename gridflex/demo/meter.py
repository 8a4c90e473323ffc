"""The demo's site as settlement knows it, with a boundary meter that is *simulated*.

The meter shows what the jobs used and nothing else; its readings are estimates and say so.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Final

from gridflex.agents.energy.traded_sites import TradedSite
from gridflex.halfhour import HalfHour
from gridflex.ledger.canonical import digest
from gridflex.ledger.event import Event
from gridflex.market.meters import Evidence, Reading
from gridflex.market.registry import (
    Allocation,
    AllocationType,
    BaselineIndicator,
    Consent,
    MeteredSite,
    SecondaryBmUnit,
    Validity,
)
from gridflex.market.registry_records import reading_event, registry_event
from gridflex.market.volumes import KWH_PER_MWH, ZERO, Rounding

REGISTERED_BEFORE: Final = timedelta(days=28)
IN_FORCE_BEFORE: Final = timedelta(days=14)
"""Longer than the five working days between registration and effect, holidays included."""

CONNECTION_MW: Final = 1.0
SITE_NAME: Final = "demo (simulated)"


def registration(site: TradedSite, *, day: date) -> list[Event]:
    """Return the records by which the site may be traded on a day."""
    validity = Validity(day - IN_FORCE_BEFORE)
    registered_on = day - REGISTERED_BEFORE
    document = digest(f"consent of {SITE_NAME}".encode())
    return [
        registry_event(one)
        for one in (
            MeteredSite(
                SITE_NAME,
                site.gsp_group,
                (site.pair,),
                connection_mw=CONNECTION_MW,
                supplier=site.supplier,
            ),
            SecondaryBmUnit(site.unit, site.account, validity),
            Consent(SITE_NAME, registered_on, validity, document),
            Allocation(
                pair=site.pair,
                unit=site.unit,
                type=AllocationType.WHOLE,
                indicator=BaselineIndicator.SUBMITTED,
                registered_on=registered_on,
                validity=validity,
            ),
        )
    ]


def boundary_readings(
    site: TradedSite, metered_kwh: Mapping[HalfHour, float], *, now: datetime
) -> list[Event]:
    """Return the readings of the site's simulated boundary meter, in tenths of a kWh."""
    return [
        reading_event(
            Reading(
                meter=site.pair.import_msid,
                half_hour=at,
                import_kwh=Rounding().volume_of_kwh(kwh) * KWH_PER_MWH,
                export_kwh=ZERO,
                evidence=Evidence.ESTIMATED,
                is_substituted=False,
                received_at=now,
            )
        )
        for at, kwh in sorted(metered_kwh.items())
    ]
