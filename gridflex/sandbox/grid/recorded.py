"""A world read from a folder of recorded half-hourly Parquet series."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from gridflex.errors import ContractError, SourceError
from gridflex.halfhour import HALF_HOUR, HalfHour
from gridflex.sandbox.grid.world import Values, World
from gridflex.signals import Origin

TABLE: Final = "gb_master_hh.parquet"
_FUELS: Final = {
    "CCGT": "ccgt_mw",
    "OCGT": "ocgt_mw",
    "COAL": "coal_mw",
    "NUCLEAR": "nuclear_mw",
    "WIND": "wind_mw",
    "BIOMASS": "biomass_mw",
    "NPSHYD": "npshyd_mw",
    "PS": "ps_mw",
    "OTHER": "other_mw",
}
_COLUMNS: Final = {
    "intensity_gco2_per_kwh": "ci_gco2_kwh",
    "day_ahead_gbp_per_mwh": "day_ahead_price_gbp_mwh",
    "mid_gbp_per_mwh": "mid_price_gbp_mwh",
    "mid_volume_mwh": "mid_volume_mwh",
    "system_gbp_per_mwh": "system_price_gbp_mwh",
    "niv_mwh": "niv_mwh",
    "demand_mw": "nd_mw",
    "transmission_demand_mw": "tsd_mw",
    "embedded_wind_mw": "embedded_wind_generation_mw",
    "embedded_solar_mw": "embedded_solar_generation_mw",
    "net_import_mw": "net_import_mw",
}


def read_world(folder: Path) -> World:
    """Return the world recorded in ``folder``.

    Args:
        folder: Holds `TABLE`: one row per half-hour, ``ts_utc`` and one column per quantity
            with its unit at the end of its name.

    Raises:
        SourceError: There is no such file, or it cannot be read.
        ContractError: A column is missing, or the half-hours are not consecutive.
    """
    path = folder / TABLE
    try:
        table = pd.read_parquet(path)
    except FileNotFoundError as error:
        raise SourceError(
            f"{path}: there is no such file; valid is a folder that has {TABLE}"
        ) from error
    except (OSError, ValueError) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from error
    missing = {"ts_utc", *_COLUMNS.values(), *_FUELS.values()} - set(table.columns)
    if missing:
        raise ContractError(f"{path}: columns {sorted(missing)} are missing")
    stamps = pd.DatetimeIndex(table["ts_utc"])
    if len(stamps) == 0 or not (stamps[1:] - stamps[:-1] == HALF_HOUR).all():
        raise ContractError(f"{path}: ts_utc must be consecutive half-hours")

    def column(name: str) -> Values:
        return table[name].to_numpy(dtype=np.float64)

    return World(
        origin=Origin.RECORDED,
        start=HalfHour.containing(stamps[0].to_pydatetime()),
        fuels_mw={fuel: column(name) for fuel, name in _FUELS.items()},
        **{name: column(recorded) for name, recorded in _COLUMNS.items()},
    )
