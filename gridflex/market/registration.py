"""What a new record of the registry must satisfy beside the form of its kind.

Ledgers hold records from before this was asked. They are read as they are, so that an old ledger
is still one; what cannot be used of them is passed over where it is needed.
"""

from __future__ import annotations

from datetime import date
from typing import Final

from gridflex.errors import ContractError
from gridflex.market.meter_files import MAX_KWH
from gridflex.market.registry import Allocation, Consent, MeteredSite, Registry, pair_key
from gridflex.market.registry_records import RegistryRecord
from gridflex.market.volumes import HOURS_PER_HALF_HOUR, KWH_PER_MWH

MAX_CONNECTION_MW: Final = float(MAX_KWH / KWH_PER_MWH / HOURS_PER_HALF_HOUR)
"""What the greatest reading that is taken amounts to: anything above is a wrong unit."""

VALID_CONNECTION: Final = f"a number of MW above 0 and at most {MAX_CONNECTION_MW:g}"


def refuse_unusable(record: RegistryRecord, *, registry: Registry, today: date) -> None:
    """Refuse a new record that names no site, no meter, no capacity or is dated in the future.

    Args:
        record: As it was sent.
        registry: With all that was sent with it.
        today: By GridFlex time.

    Raises:
        ContractError: A field is not usable; names it, its value and what is valid.
    """
    match record:
        case MeteredSite():
            _refuse_site(record)
        case Consent():
            latest = min(record.validity.start, today)
            if record.signed_on > latest:
                why = "today" if latest == today else "its first day"
                raise ContractError(
                    f"consent of {record.site}: signed_on {record.signed_on} is not valid; valid "
                    f"is {latest}, {why}, or earlier"
                )
            registry.refuse_unknown_site(record.site)
        case Allocation():
            if record.registered_on > today:
                raise ContractError(
                    f"allocation of {pair_key(record.pair)}: registered_on {record.registered_on} "
                    f"is not valid; valid is {today}, today, or earlier"
                )


def is_connection(mw: float) -> bool:
    """Return whether a figure can be the capacity of a connection; not a number is none."""
    return 0 < mw <= MAX_CONNECTION_MW


def _refuse_site(site: MeteredSite) -> None:
    if not site.name.isprintable() or site.name != site.name.strip() or not site.name:
        raise ContractError(
            f"site: name {site.name!r} is not valid; valid is text without blanks around it"
        )
    if not site.pairs:
        raise ContractError(
            f"site {site.name}: pairs [] is not valid; valid is at least one pair of meters"
        )
    if not is_connection(site.connection_mw):
        raise ContractError(
            f"site {site.name}: connection_mw {site.connection_mw} is not valid; valid is "
            f"{VALID_CONNECTION}"
        )
