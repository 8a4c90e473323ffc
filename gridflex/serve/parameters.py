"""Parameters that several paths take, with what callers are told of them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Path, Query

from gridflex.market.days import FIRST, LAST, SettlementDay
from gridflex.market.settlement.runs import Run

_DAYS = f"a date in London from {FIRST} to {LAST}"

JobName = Annotated[str, Path(description="Submission id of the job, as `ray job submit` says it.")]
PackageProtocol = Annotated[str, Path(description="Protocol of the package's URI: `gcs`.")]
PackageName = Annotated[
    str, Path(description="Rest of the package's URI, such as `_ray_pkg_0123abcd.zip`.")
]
PlanNumber = Annotated[str, Path(description="Number of the plan, or `newest`.")]
MeterName = Annotated[
    str, Path(description="Metering system id, 13 digits: an MPAN core or an asset meter.")
]
UnitName = Annotated[str, Path(description="Secondary BM Unit, such as `V__AGRID001`.")]

AccountName = Annotated[
    str, Query(description="Account that was settled: the `party` of its units in the registry.")
]
OneDay = Annotated[SettlementDay, Query(description=f"Settlement day, {_DAYS}.")]
EveryDay = Annotated[
    SettlementDay | None,
    Query(description=f"Settlement day, {_DAYS}; every one if left out."),
]
FirstDay = Annotated[SettlementDay, Query(description=f"First settlement day, {_DAYS}.")]
LastDay = Annotated[
    SettlementDay, Query(description="Last settlement day, itself included; not before the first.")
]
OnlyRun = Annotated[
    Run | None,
    Query(description=f"Settlement run, {', '.join(Run)}; every one if left out."),
]


def page_size(most: int) -> Any:  # noqa: ANN401 - as FastAPI types what declares a parameter
    """Return the declaration of how many are answered at once."""
    return Query(ge=1, le=most, description=f"How many at most, 1 to {most}.")
