"""A registry in which one site trades by one unit."""

from datetime import timedelta

from gridflex.market.registry import (
    Allocation,
    AllocationType,
    BaselineIndicator,
    Consent,
    MeteredSite,
    SecondaryBmUnit,
    Validity,
)
from tests.unit.market.test_desk import PAIR, SIX, UNIT

SINCE = Validity(SIX.start.date() - timedelta(days=30))
SITE = MeteredSite("london", "C", (PAIR,), connection_mw=5.5, supplier="SUPPLY")
RECORDS = (
    SITE,
    SecondaryBmUnit(UNIT, "GRIDFLEX", SINCE),
    Consent("london", SINCE.start, SINCE, "0" * 64),
    Allocation(
        pair=PAIR,
        unit=UNIT,
        type=AllocationType.WHOLE,
        indicator=BaselineIndicator.SUBMITTED,
        registered_on=SINCE.start - timedelta(days=14),
        validity=SINCE,
    ),
)
