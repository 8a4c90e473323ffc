"""Record layouts of the flows that a Virtual Trading Party sends and receives.

Source: NETA Interface Definition and Design, Part 1, spreadsheet v47, tabs ECVAA and SVAA. Item
names follow the document.
"""

from __future__ import annotations

from typing import Final

from gridflex.market.messages.idd import Layout
from gridflex.market.messages.idd_items import Item, Kind

_MANY: Final = None
_LONG_DAY: Final = 50

_DATE = Item("settlement_date", Kind.DATE)
_PERIOD = Item("settlement_period", Kind.INTEGER, 2)
_UNIT = Item("bm_unit_id", Kind.TEXT, 11)
_GSP_GROUP = Item("gsp_group_id", Kind.TEXT, 2)
_REASON = Item("rejection_reason", Kind.TEXT, 80)
_LONG_REASON = Item("rejection_reason", Kind.TEXT, 100)
_CONTRACT = Item("contract_volume", Kind.DECIMAL, 10, 3)
_EXPECTED = Item("expected_volume", Kind.DECIMAL, 14, 4)
_DELIVERED = Item("delivered_volume", Kind.DECIMAL, 14, 4)
_IMPORT_MSID = Item("import_msid", Kind.INTEGER, 13)
_EXPORT_MSID = Item("export_msid", Kind.INTEGER, 13, is_optional=True)
_IMPORT_AMSID = Item("import_amsid", Kind.INTEGER, 13)
_EXPORT_AMSID = Item("export_amsid", Kind.INTEGER, 13, is_optional=True)
_FROM = Item("effective_from", Kind.DATE)
_TO = Item("effective_to", Kind.DATE, is_optional=True)


def _maybe(item: Item) -> Item:
    return Item(item.name, item.kind, item.length, item.places, is_optional=True)


_AUTHORISATION: Final = (
    Item("ecvnaa_id", Kind.TEXT, 10),
    Item("ecvn_ecvnaa_id", Kind.TEXT, 10),
    Item("reference", Kind.TEXT, 10),
)

_CD9: Final = Layout("CD9", (_PERIOD, _CONTRACT), least=0, most=_MANY)

_DELIVERED_PERIODS: Final = (_PERIOD, _DELIVERED)

FLOWS: Final[dict[str, tuple[Layout, ...]]] = {
    "E0041001": (
        Layout(
            "EDN",
            (
                _AUTHORISATION[0],
                Item("ecvnaa_key", Kind.TEXT, 10),
                *_AUTHORISATION[1:],
                *(_FROM, _TO),
            ),
            children=(_CD9,),
        ),
    ),
    "E0091001": (
        Layout(
            "EDX",
            (Item("ecvna_id", Kind.TEXT, 8), *_AUTHORISATION, _FROM, _TO, _REASON),
            children=(Layout("CD2", (_PERIOD, _maybe(_CONTRACT)), least=0, most=_MANY),),
        ),
    ),
    "E0281001": (
        Layout(
            "EDA",
            (
                Item("ecvna_id", Kind.TEXT, 8),
                *_AUTHORISATION,
                *(_FROM, _TO),
                Item("first_effective_period", Kind.INTEGER, 2),
                Item("file_name", Kind.TEXT, 14),
                Item("sequence", Kind.INTEGER, 9),
                Item("transaction", Kind.INTEGER, 12),
            ),
            children=(_CD9,),
        ),
    ),
    "E0511001": (
        Layout(
            "SDP",
            (_DATE, _PERIOD),
            children=(Layout("WMA", (_UNIT, Item("is_active", Kind.BOOLEAN)), most=_MANY),),
        ),
    ),
    "E0521001": (
        Layout(
            "WMR",
            (_DATE, _PERIOD, _maybe(_REASON)),
            children=(Layout("WMJ", (_UNIT, _REASON), least=0, most=_MANY),),
        ),
    ),
    "P0328001": (
        Layout(
            "BSD",
            (_FROM, _TO),
            children=(
                Layout(
                    "BSB",
                    (_UNIT,),
                    children=(Layout("BSP", (_PERIOD, _EXPECTED), most=_LONG_DAY),),
                    most=_MANY,
                ),
            ),
        ),
    ),
    "P0329001": (
        Layout(
            "BSR",
            (
                *(_maybe(_UNIT), _maybe(_FROM), _TO, _maybe(_PERIOD), _maybe(_EXPECTED)),
                _LONG_REASON,
            ),
            most=_MANY,
        ),
    ),
    "P0330001": (Layout("BSA", (_UNIT,), most=_MANY),),
    "P0331001": (
        Layout(
            "BSX",
            (_UNIT, _DATE),
            children=(
                Layout(
                    "BSW",
                    (_PERIOD, _EXPECTED, Item("warning_reason", Kind.TEXT, 100)),
                    most=_LONG_DAY,
                ),
            ),
            most=_MANY,
        ),
    ),
    "P0282002": (
        Layout(
            "MSA",
            (_DATE,),
            children=(
                Layout(
                    "MSB",
                    (_GSP_GROUP,),
                    children=(
                        Layout(
                            "MSC",
                            (_UNIT,),
                            children=(
                                Layout(
                                    "MSJ",
                                    (_IMPORT_MSID, _EXPORT_MSID),
                                    children=(
                                        Layout("MSP", _DELIVERED_PERIODS, least=0, most=_LONG_DAY),
                                        Layout(
                                            "ASJ",
                                            (_IMPORT_AMSID, _EXPORT_AMSID),
                                            children=(
                                                Layout("ASP", _DELIVERED_PERIODS, most=_LONG_DAY),
                                            ),
                                            least=0,
                                            most=_MANY,
                                        ),
                                    ),
                                    most=_MANY,
                                ),
                            ),
                            most=_MANY,
                        ),
                    ),
                    most=_MANY,
                ),
            ),
        ),
    ),
    "P0283002": (
        Layout(
            "MSR",
            (
                *(_maybe(_DATE), _maybe(_GSP_GROUP), _maybe(_UNIT)),
                Item("pair_indicator", Kind.TEXT, 1, is_optional=True),
                *(_maybe(_IMPORT_MSID), _EXPORT_MSID, _maybe(_IMPORT_AMSID), _EXPORT_AMSID),
                *(_maybe(_PERIOD), _maybe(_DELIVERED), _LONG_REASON),
            ),
            most=_MANY,
        ),
    ),
    "P0284001": (
        Layout(
            "MSF",
            (
                *(_DATE, _maybe(_GSP_GROUP), _maybe(_UNIT), _maybe(_IMPORT_MSID), _EXPORT_MSID),
                *(_maybe(_PERIOD), _maybe(_DELIVERED)),
            ),
        ),
    ),
}
"""By flow and version: contract, activity, expected-volume and delivered-volume messages."""
