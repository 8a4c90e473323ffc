"""Meter lists: how meters are named, and how a long list travels in pages.

A performance with more meters than fit into one message is cut into pages of the same id, each
with a ``pageInfo``. The seller-side platform pushes all of them one after the other; the other
side puts them together by their sequence, and asks for those that it lacks, one by one, with the
cursor of the page before. Nothing is settled before the last page is there.

Source:
    BecknPageInfo v1.0 and DemandFlexPerformance v2.0 of the Digital Energy Grid.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from gridflex.beckn.wire.entities import Contract, ContractCode, Performance
from gridflex.beckn.wire.errors import BecknError, Code

METERS_PER_PAGE: Final = 1_000
"""About 5 kB each for a day of half-hours; a body may have 8 MiB."""

PARTIAL: Final = "_PARTIAL"
"""What follows the state of a performance on every page but the last."""


@dataclass(frozen=True, slots=True)
class Page:
    """Where a page stands.

    Args:
        collection: Id of the performance.
        sequence: From 0.
        is_last: Whether none follows.
        cursor: By which it was asked for, if it was.
        next_cursor: By which the next one is asked for, if it can be.
    """

    collection: str
    sequence: int
    is_last: bool
    cursor: str | None = None
    next_cursor: str | None = None


def meter_of(resource_id: str) -> str:
    """Return the name of the meter behind a block."""
    return f"urn:gridflex:{resource_id}"


def block_of(meter_id: str) -> str:
    """Return the block behind a meter; the inverse of `meter_of`."""
    return meter_id.removeprefix("urn:gridflex:")


def digest_of(meters: Iterable[str]) -> dict[str, Any]:
    """Return what pins a list of meters to a message, wherever the list itself is.

    Source:
        DemandFlexBuyOffer v2.0, ``participatingMetersDigest``: SHA-256 of the sorted ids, joined
        by a line feed, none at the end.
    """
    names = sorted(set(meters))
    joined = hashlib.sha256("\n".join(names).encode()).hexdigest()
    return {"count": len(names), "sha256OfSortedIds": f"sha256:{joined}"}


def meters_in(performance: Performance) -> list[Mapping[str, Any]]:
    """Return the meters of a performance, or of a page of one."""
    return list((performance.performance_attributes or {}).get("meters") or ())


def pages_of(
    performance: Performance, size: int, *, with_cursors: bool = False
) -> list[Performance]:
    """Return a performance in pages of at most ``size`` meters; whole if one is enough.

    Args:
        performance: All of it.
        size: Meters on a page.
        with_cursors: Name the page's own cursor and the next one, for who asks page by page.
    """
    meters = meters_in(performance)
    count = -(-len(meters) // size)
    if count <= 1:
        return [performance]
    return [
        _page(performance, meters, number, count=count, size=size, with_cursors=with_cursors)
        for number in range(count)
    ]


def pushed(known: Contract, told: Contract, size: int) -> Iterator[Contract]:
    """Yield what is to be said, one message after the other, so that none has too many meters.

    Args:
        known: The contract before, which the pages are said about.
        told: What is to be said.
        size: Meters in one message.
    """
    performances = told.performance or []
    if all(len(meters_in(one)) <= size for one in performances):
        yield told
        return
    for performance in performances:
        for page in pages_of(performance, size):
            yield known.model_copy(update={"performance": [page]})
    if told.code is not known.code:
        yield without_performance(told)


def asked_page(contract: Contract, cursor: str | None, size: int) -> Contract:
    """Return the contract with the page of its meters that is asked for.

    Args:
        contract: With all meters.
        cursor: From the page before; None for the first.
        size: Meters on a page.

    Raises:
        BecknError: There is no such page.
    """
    performances = assembled(contract.performance or ())
    paged = [pages_of(one, size, with_cursors=True) for one in performances]
    if cursor is None:
        firsts = [pages[0] for pages in paged]
        return contract.model_copy(update={"performance": firsts}) if firsts else contract
    for page in (page for pages in paged for page in pages):
        info = page_info(page)
        if info is not None and info.cursor == cursor:
            return contract.model_copy(update={"performance": [page]})
    raise BecknError(
        Code.CTX_INVALID_FIELD, f"there is no page {cursor[:80]!r}", path="$.context.tags"
    )


def page_info(performance: Performance) -> Page | None:
    """Return where a page stands; None of a performance that came whole."""
    info = (performance.performance_attributes or {}).get("pageInfo")
    if not isinstance(info, dict):
        return None
    sequence = info.get("sequence")
    if isinstance(sequence, bool) or not isinstance(sequence, int) or sequence < 0:
        raise BecknError(
            Code.SCH_ATTRIBUTE_PACK_INVALID,
            f"pageInfo.sequence is {sequence!r}, not a whole number from 0 on"[:200],
        )
    return Page(
        collection=str(performance.id),
        sequence=sequence,
        is_last=info.get("isLast") is True,
        cursor=_text(info.get("cursor")),
        next_cursor=_text(info.get("nextCursor")),
    )


def assembled(performances: Iterable[Performance]) -> list[Performance]:
    """Return performances with their pages put together, the incomplete ones left out."""
    found = []
    for pages in _collections(performances):
        infos = [page_info(one) for one in pages]
        if infos[0] is None:
            found += pages
        elif not _gaps(infos):
            found.append(_joined(pages))
    return found


def is_whole(performances: Iterable[Performance]) -> bool:
    """Return whether no page is missing, and no list lies elsewhere."""
    all_pages = _collections(performances)
    if any(_is_elsewhere(one) for pages in all_pages for one in pages):
        return False
    return not any(_gaps([page_info(one) for one in pages]) for pages in all_pages)


def merged(first: Iterable[Performance], second: Iterable[Performance]) -> list[Performance]:
    """Return the performances of two statements; of two with the same page, the first's.

    A performance that first came whole and then in pages counts as paged, and the other way round.
    """
    newer = list(first)
    paged = {one.id: _is_paged(one) for one in newer}
    kept = [one for one in second if paged.get(one.id) in {None, _is_paged(one)}]
    return list({_key(one): one for one in (*kept, *newer)}.values())


def wanted_cursor(contract: Contract, told: Sequence[Performance]) -> tuple[str | None, ...]:
    """Return the cursors to ask with next, after a message with some pages; None for the first.

    A page that was asked for names the next one. What was pushed is asked for from the start if
    pages are missing at its end.

    Args:
        contract: With all pages that are here.
        told: The performances of the message.
    """
    if is_whole(contract.performance or ()):
        return ()
    infos = [info for one in told if (info := page_info(one)) is not None]
    asked: list[str | None] = [info.next_cursor for info in infos if info.next_cursor]
    is_end_of_push = any(info.is_last and info.cursor is None for info in infos)
    if is_end_of_push or (not infos and contract.code is ContractCode.COMPLETE):
        asked.append(None)
    return tuple(dict.fromkeys(asked))


def tags_for(cursor: str | None) -> list[dict[str, Any]] | None:
    """Return the context tags that ask for a page."""
    if cursor is None:
        return None
    entry = {"descriptor": {"code": "pageCursor"}, "value": cursor}
    return [{"descriptor": {"code": "pagination"}, "list": [entry]}]


def cursor_in(tags: Sequence[Any] | None) -> str | None:
    """Return the cursor in the tags of a context, if there is one."""
    for group in tags or ():
        if not isinstance(group, dict) or _code(group) != "pagination":
            continue
        for entry in group.get("list") or ():
            if isinstance(entry, dict) and _code(entry) == "pageCursor":
                return _text(entry.get("value"))
    return None


def without_performance(contract: Contract) -> Contract:
    """Return a contract that says nothing about its delivery."""
    wire = contract.to_wire()
    wire.pop("performance", None)
    return Contract.model_validate(wire)


def _page(
    performance: Performance,
    meters: Sequence[Mapping[str, Any]],
    number: int,
    *,
    count: int,
    size: int,
    with_cursors: bool,
) -> Performance:
    is_last = number == count - 1
    info: dict[str, Any] = {
        "@type": "PageInfo",
        "sequence": number,
        "pageSize": size,
        "total": len(meters),
        "isLast": is_last,
        "collectionId": str(performance.id),
    }
    if with_cursors:
        info["cursor"] = _cursor(performance, number)
        info["nextCursor"] = None if is_last else _cursor(performance, number + 1)
    attributes = {
        **(performance.performance_attributes or {}),
        "meters": list(meters[number * size : (number + 1) * size]),
        "pageInfo": info,
    }
    update: dict[str, Any] = {"performance_attributes": attributes}
    if not is_last and performance.status is not None:
        code = f"{performance.status.code or ''}{PARTIAL}"
        update["status"] = performance.status.model_copy(update={"code": code})
    return performance.model_copy(update=update)


def _joined(pages: Sequence[Performance]) -> Performance:
    meters = [meter for page in pages for meter in meters_in(page)]
    last = pages[-1]
    attributes = {**(last.performance_attributes or {}), "meters": meters}
    attributes.pop("pageInfo")
    return last.model_copy(update={"performance_attributes": attributes})


def _collections(performances: Iterable[Performance]) -> list[list[Performance]]:
    """Return the pages of each performance in order; those that came whole alone."""
    found: dict[object, list[Performance]] = {}
    for number, one in enumerate(performances):
        key = one.id if _is_paged(one) and one.id is not None else (number,)
        found.setdefault(key, []).append(one)
    for pages in found.values():
        pages.sort(key=lambda one: info.sequence if (info := page_info(one)) else 0)
    return list(found.values())


def _gaps(infos: Sequence[Page | None]) -> bool:
    paged = [info for info in infos if info is not None]
    if not paged:
        return False
    return not paged[-1].is_last or [info.sequence for info in paged] != list(range(len(paged)))


def _key(performance: Performance) -> tuple[str | None, int | None]:
    info = page_info(performance)
    return performance.id, info.sequence if info else None


def _is_elsewhere(performance: Performance) -> bool:
    return "metersRef" in (performance.performance_attributes or {})


def _is_paged(performance: Performance) -> bool:
    return page_info(performance) is not None


def _cursor(performance: Performance, number: int) -> str:
    return f"{performance.id}-page-{number}"


def _code(tag: Mapping[str, Any]) -> object:
    descriptor = tag.get("descriptor")
    return descriptor.get("code") if isinstance(descriptor, dict) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
