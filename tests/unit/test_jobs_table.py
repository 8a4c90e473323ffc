"""``gridflex jobs ls`` in terminals of several widths."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from gridflex.cli.jobs_table import print_jobs

RAY_ID = "raysubmit_7hJ2kLm9QwErTyUi"


def shown(*ids: str, width: int, message: str = "held until 16:00") -> list[str]:
    jobs: list[dict[str, Any]] = [
        {
            "id": job_id,
            "state": "succeeded",
            "flexibility": {"tier": "T2", "deadline": "2026-07-02T00:00:00Z"},
            "next_run": {"start": "2026-07-01T16:00:00Z"},
            "message": message,
        }
        for job_id in ids
    ]
    written = StringIO()
    print_jobs(Console(width=width, file=written), jobs)
    return [line.rstrip() for line in written.getvalue().splitlines()]


def test_at_80_columns_an_id_of_ray_is_whole_beside_tier_state_and_times() -> None:
    lines = shown(RAY_ID, width=80)

    assert len(lines) == 3
    assert lines[2].split() == [
        RAY_ID, "T2", "succeeded", "2026-07-02", "00:00", "2026-07-01", "16:00"
    ]  # fmt: skip
    assert max(map(len, lines)) <= 80


def test_a_column_goes_only_where_there_is_no_room_for_it() -> None:
    just_fits = max(map(len, shown(RAY_ID, width=80)))

    assert "tier" in shown(RAY_ID, width=just_fits)[0]
    assert "tier" not in shown(RAY_ID, width=just_fits - 1)[0]


def test_what_a_job_says_is_shown_where_there_is_room() -> None:
    assert shown(RAY_ID, width=120)[2].endswith("held until 16:00")


def test_a_long_message_takes_several_lines_and_keeps_its_end() -> None:
    why = "Paused by GridFlex to free power until 18:00 UTC, by order dso-1 (low frequency)."

    lines = shown(RAY_ID, width=110, message=why)

    assert max(map(len, lines)) <= 110
    assert lines[2].split()[:2] == [RAY_ID, "T2"]
    assert lines[-1].endswith("frequency).")


@pytest.mark.parametrize("width", [20, 50, 80])
def test_an_id_longer_than_the_terminal_is_whole_all_the_same(width: int) -> None:
    job_id = "x" * 200

    assert any(line.split()[0] == job_id for line in shown(job_id, width=width)[2:])
