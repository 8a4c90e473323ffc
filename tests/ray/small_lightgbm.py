"""The command line with one more kind of forecaster, which is fitted in a blink, or never.

A process of its own that trains needs it: what a test puts in place counts only in the test's.
"""

import os
import sys
import time
from typing import Final

from ray import tune

from gridflex.cli.root import app
from gridflex.forecasting import models
from gridflex.forecasting.forecaster import Forecaster
from gridflex.training import families
from gridflex.training.families import Family, Settings

HELD: Final = "HELD_TREES"
"""Environment variable: the setting whose fit does not end, so that the search has a middle."""


def _make(chosen: Settings) -> Forecaster:
    if os.environ.get(HELD) == str(chosen["trees"]):
        time.sleep(600)
    return models.kind("lightgbm")(trees=chosen["trees"])


SMALL: Final = Family("small", _make, {"trees": tune.grid_search([10, 30])})


if __name__ == "__main__":
    families.FAMILIES = {**families.FAMILIES, SMALL.name: SMALL}  # type: ignore[misc]  # for this process only
    app(sys.argv[1:])
