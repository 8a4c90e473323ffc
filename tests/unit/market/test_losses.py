"""Loss factors over time, from the settings and from a file."""

import os
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from gridflex.adapters.market.loss_file import LossFile
from gridflex.agents.energy.ports import losses_of, settlement_terms
from gridflex.energy_settings import EnergySettings
from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.market.policy import Effective
from gridflex.market.settlement.compensation import (
    MutualisedP415,
    MutualisedP511,
    with_export_thresholds,
)
from gridflex.market.settlement.losses import NO_LOSSES, Losses, LossFactors, read_losses
from gridflex.market.settlement.runs import Run
from gridflex.market.volumes import ExportMWh

MIDNIGHT = HalfHour.parse("2026-06-30T23:00Z")  # in London
CSV = """start,line_loss_factor,transmission_multiplier
2026-07-01,1.02,
2026-07-01T06:00Z,1.05,1.01
"""


def test_each_row_holds_until_the_next_begins() -> None:
    losses = read_losses(CSV)

    night, day = losses.at(MIDNIGHT + 13), losses.at(MIDNIGHT + 14)

    assert night == LossFactors(Decimal("1.02"))
    assert day == LossFactors(Decimal("1.05"), Decimal("1.01"))
    assert losses.at(MIDNIGHT + 48_000) == day


def test_without_any_rows_nothing_is_lost() -> None:
    assert Losses().at(MIDNIGHT) == LossFactors(Decimal(1), Decimal(1))


def test_half_hours_before_the_first_row_are_not_guessed() -> None:
    with pytest.raises(ContractError, match="nothing is in force in 2026-06-30T22:30Z"):
        read_losses(CSV).at(MIDNIGHT + -1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("start,line_loss_factor\n", "transmission_multiplier is missing", id="column"),
        pytest.param(
            "start,line_loss_factor,line_loss_factor,transmission_multiplier\n",
            "the column line_loss_factor more than once",
            id="column twice",
        ),
        pytest.param(CSV + "soon,1,1\n", "line 4: 'soon' is no half-hour", id="start"),
        pytest.param(CSV + "2026-07-02,2 %,1\n", "line 4: 2 % 1 are not numbers", id="number"),
        pytest.param(CSV + "2026-07-02,102,1\n", "line 4: line_loss_factor 102", id="percent"),
        pytest.param(CSV + "2026-07-02,1,NaN\n", "transmission_multiplier NaN", id="nan"),
        pytest.param(
            CSV + "2026-07-01,1,1\n", "comes after that from 2026-06-30T23:00", id="twice"
        ),
        pytest.param(CSV.partition("\n")[0] + "\n", "no row below the header", id="being written"),
        pytest.param(CSV + "2026-07-02,1,02,1\n", "line 4: there are more", id="decimal comma"),
        pytest.param(CSV + "2026-07-02,1.02", "line 4: there are fewer", id="written in part"),
        pytest.param(CSV + "9999-12-31,1,1\n", "line 4: day 9999-12-31", id="no day after it"),
        pytest.param(CSV + f"2026-07-02,{'1' * 200_000},1\n", "line 4: field larger", id="long"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(text: str, said: str) -> None:
    with pytest.raises(ContractError, match=said):
        read_losses(text)


def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    losses = losses_of(EnergySettings(losses_file=path))
    assert isinstance(losses, LossFile)
    with pytest.raises(ContractError, match=r"energy\.losses_file .*losses\.csv: not read yet"):
        losses.at(MIDNIGHT)
    losses.read()
    with pytest.raises(ContractError, match=r"energy\.losses_file .*losses\.csv: .*No such file"):
        losses.at(MIDNIGHT)
    path.write_text(CSV)
    losses.read()
    before = losses.at(MIDNIGHT)
    path.write_text(CSV.replace("1.02", "1.03"))
    os.utime(path, ns=(1, 1))
    losses.read()

    assert (before.line, losses.at(MIDNIGHT).line) == (Decimal("1.02"), Decimal("1.03"))


def test_a_file_that_was_away_for_a_time_counts_again(tmp_path: Path) -> None:
    path, away = tmp_path / "losses.csv", tmp_path / "away.csv"
    path.write_text(CSV)
    losses = LossFile(path)
    losses.read()
    path.rename(away)
    losses.read()
    with pytest.raises(ContractError, match="No such file"):
        losses.at(MIDNIGHT)

    away.rename(path)  # as old as it was
    losses.read()

    assert losses.at(MIDNIGHT).line == Decimal("1.02")


def test_between_two_readings_a_file_says_the_same(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    path.write_text(CSV)
    losses = LossFile(path)
    losses.read()
    path.write_text("start\n")
    os.utime(path, ns=(1, 1))

    kept = losses.at(MIDNIGHT)
    losses.read()

    assert kept.line == Decimal("1.02")
    with pytest.raises(ContractError, match="line_loss_factor"):
        losses.at(MIDNIGHT)


def test_a_file_that_did_not_change_is_not_read_again(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    path.write_text(CSV)
    losses = LossFile(path)
    losses.read()
    at = path.stat().st_mtime_ns
    path.write_text("not losses\n")
    os.utime(path, ns=(at, at))

    losses.read()

    assert losses.at(MIDNIGHT).line == Decimal("1.02")


def test_a_file_may_begin_with_a_byte_order_mark_as_spreadsheets_write_it(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    path.write_text(CSV, encoding="utf-8-sig")
    losses = LossFile(path)

    losses.read()

    assert losses.at(MIDNIGHT).line == Decimal("1.02")


SETTINGS = {
    "losses": [
        {"start": "2026-09-01", "line_loss_factor": "1.03"},
        {"start": "2026-07-01", "line_loss_factor": "1.02", "transmission_multiplier": "1.01"},
    ],
    "exports": [
        {"start": "2026-08-01", "threshold_mwh": "0.5", "largest_mwh": "0.2"},
        {"start": "2026-09-15", "threshold_mwh": "0.1"},
    ],
}


def test_the_settings_say_by_what_a_day_is_settled() -> None:
    settings = EnergySettings.model_validate(SETTINGS)
    terms = settlement_terms(settings, losses=losses_of(settings))

    summer = terms.rules(date(2026, 7, 1), Run.SF)
    august = terms.rules(date(2026, 8, 24), Run.SF)
    autumn = terms.rules(date(2026, 9, 15), Run.SF)

    assert summer.losses.at(MIDNIGHT) == LossFactors(Decimal("1.02"), Decimal("1.01"))
    assert summer.policy == MutualisedP415()
    assert summer.largest_export.mwh == 0
    assert august.policy == MutualisedP511(ExportMWh(Decimal("0.5")))
    assert august.largest_export.mwh == Decimal("0.2")
    assert autumn.policy == MutualisedP511(ExportMWh(Decimal("0.1")))
    assert autumn.largest_export.mwh == 0
    assert autumn.losses.at(HalfHour.parse("2026-09-15T12:00Z")).line == Decimal("1.03")


def test_a_threshold_that_is_not_known_any_more_ends_the_one_before() -> None:
    unknown = {"start": "2027-01-01", "threshold_mwh": None}
    given = SETTINGS | {"exports": [*SETTINGS["exports"], unknown]}
    terms = settlement_terms(EnergySettings.model_validate(given), losses=NO_LOSSES)

    before = terms.compensation.on(date(2026, 12, 31))
    after = terms.compensation.on(date(2027, 1, 1))

    assert before == MutualisedP511(ExportMWh(Decimal("0.1")))
    assert after == MutualisedP511()


def test_without_a_threshold_the_rule_stays_as_it_is() -> None:
    later: Effective[ExportMWh | None] = Effective(date(2026, 10, 1), ExportMWh(Decimal(1)), "test")

    rules = with_export_thresholds([later])

    assert rules.on(date(2026, 9, 30)) == MutualisedP511()
    assert rules.on(date(2026, 10, 1)) == MutualisedP511(ExportMWh(Decimal(1)))
    assert rules.on(date(2026, 7, 1)) == MutualisedP415()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param({"losses_file": "x.csv"}, "both given", id="two sources"),
        pytest.param({"losses": SETTINGS["losses"][:1] * 2}, "2026-09-01 is there twice", id="day"),
        pytest.param(
            {"losses": [{"start": "2026-09-01", "line_loss_factor": "103"}]}, "less than", id="%"
        ),
        pytest.param(
            {"exports": [{"start": "2026-08-24", "threshold_mwh": "NaN"}]}, "threshold", id="NaN"
        ),
        pytest.param(
            {"exports": [{"start": "2026-08-24", "largest_mwh": "-1"}]}, "largest", id="negative"
        ),
        pytest.param({"losses": [{"start": "9999-12-31"}]}, "losses.0.start", id="end of time"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(
    given: dict[str, object], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        EnergySettings.model_validate(SETTINGS | given)
