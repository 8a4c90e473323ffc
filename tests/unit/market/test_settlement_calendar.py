"""Rows of the published Settlement Calendar, in the settings and in billing contracts."""

from datetime import date

import pytest
from pydantic import ValidationError

from gridflex.energy_settings import EnergySettings
from gridflex.market.billing.monthly import BillingContract
from gridflex.market.settlement.calendar import CalendarRow, calendar_rows, published_days
from gridflex.market.settlement.runs import Run
from tests.unit.market.test_cli_settlement import CONTRACT

ROW = {"settlement_date": "2026-07-01", "run": "SF", "paid_on": "2026-07-30"}
DAY = date(2026, 7, 1)


@pytest.mark.parametrize(
    ("model", "given"),
    [(EnergySettings, {}), (BillingContract, CONTRACT)],
    ids=["settings", "bill"],
)
def test_a_run_of_a_day_is_there_once(
    model: type[EnergySettings | BillingContract], given: dict[str, object]
) -> None:
    other = [ROW, ROW | {"run": "R1"}]

    with pytest.raises(ValidationError, match="2026-07-01 SF is there twice"):
        model.model_validate(
            given | {"settlement_calendar": [ROW, ROW | {"paid_on": "2026-07-31"}]}
        )

    assert (
        len(model.model_validate(given | {"settlement_calendar": other}).settlement_calendar) == 2
    )


def test_rows_and_days_say_the_same() -> None:
    rows = (
        CalendarRow(settlement_date=DAY, run=Run.SF, paid_on=date(2026, 7, 30)),
        CalendarRow(settlement_date=DAY, run=Run.R1, paid_on=date(2026, 8, 25)),
    )

    assert calendar_rows(published_days(reversed(rows))) == rows
    assert published_days(rows)[DAY, Run.R1] == date(2026, 8, 25)


def test_a_contract_keeps_its_own_rows_beside_those_of_the_system() -> None:
    contract = BillingContract.model_validate(CONTRACT | {"settlement_calendar": [ROW]})

    both = contract.with_published({(DAY, Run.R1): date(2026, 8, 25)})

    assert [one.run for one in both.settlement_calendar] == [Run.SF, Run.R1]
