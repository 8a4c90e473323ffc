"""The jobs of the demo: one working day's mix, the same every time.

Lengths are in half-hours of GridFlex time, so that the day can be played at any pace. What
each job does is wait; its power is modelled from the GPUs that it reserves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import isodate

from gridflex.halfhour import HALF_HOUR
from gridflex.jobs import PREFIX, JobId, Tier

EPOCHS_PER_HALF_HOUR: Final = 2
MARGIN: Final = HALF_HOUR / 3
"""What an owner adds to the run time that a job needs."""


@dataclass(frozen=True, slots=True)
class DemoJob:
    """One job to submit.

    Args:
        number: From 1, in order of arrival.
        tier: Its flexibility class.
        arrives: Half-hours after the beginning of the day.
        gpus: GPUs it reserves.
        work: Half-hours it runs when nothing interrupts it.
        within: Half-hours after arrival by which it must have finished; None leaves it to
            the tier.
    """

    number: int
    tier: Tier
    arrives: float
    gpus: int
    work: int
    within: float | None = None

    @property
    def id(self) -> JobId:
        """Submission id."""
        return JobId(f"demo-{self.number:02d}-{self.tier.value.lower()}")

    @property
    def is_training(self) -> bool:
        """Whether it is the checkpointing example; the others only sleep."""
        return self.tier not in {Tier.T0, Tier.T1}

    def work_s(self, half_hour_s: float) -> float:
        """Return the wall time it needs when a half-hour lasts ``half_hour_s``."""
        return self.work * half_hour_s

    def entrypoint(self, python: str, *, half_hour_s: float) -> str:
        """Return the shell command.

        Args:
            python: Interpreter that runs the training example.
            half_hour_s: Wall seconds of one half-hour.
        """
        if not self.is_training:
            return f"sleep {self.work_s(half_hour_s):g}"
        epoch_s = half_hour_s / EPOCHS_PER_HALF_HOUR
        epochs = self.work * EPOCHS_PER_HALF_HOUR
        return f"{python} train.py --epochs {epochs} --epoch-seconds {epoch_s:g} --examples 200"

    def metadata(self) -> Mapping[str, str]:
        """Return the Ray job metadata that its owner would write.

        Its speed does not depend on its GPUs, so that its number is fixed.
        """
        duration = self.work * HALF_HOUR + MARGIN
        ours = {"tier": self.tier.value, "duration": isodate.duration_isoformat(duration)}
        ours |= {"min-gpus": str(self.gpus), "max-gpus": str(self.gpus)}
        if self.within is not None:
            ours["max-deferral"] = isodate.duration_isoformat(self.within * HALF_HOUR)
        return {f"{PREFIX}{key}": value for key, value in ours.items()}


def _numbered(rows: Mapping[Tier, tuple[tuple[float, ...], ...]]) -> tuple[DemoJob, ...]:
    flat = sorted(
        (arrives, tier.value, int(gpus), int(work), within[0] if within else None)
        for tier, jobs in rows.items()
        for arrives, gpus, work, *within in jobs
    )
    return tuple(
        DemoJob(number, Tier(tier), arrives, gpus, work, within)
        for number, (arrives, tier, gpus, work, within) in enumerate(flat, start=1)
    )


DAY: Final = _numbered(
    {
        # arrives, GPUs, work, finished within
        Tier.T0: ((3.2, 4, 2, 5), (9.5, 8, 1, 4), (19.4, 4, 3, 6), (33.3, 8, 2, 5)),
        Tier.T1: (
            *((1.1, 8, 2), (5.6, 8, 2), (11.3, 8, 3)),
            *((17.2, 8, 2), (21.5, 8, 2), (29.4, 8, 3)),
        ),
        Tier.T2: (
            *((2.3, 16, 3, 24), (4.4, 8, 5, 24), (6.2, 16, 3, 28), (8.5, 8, 4, 28)),
            *((10.3, 16, 3, 36), (13.4, 8, 4, 34), (16.5, 16, 3, 31), (20.2, 8, 4, 27)),
        ),
        Tier.T3: (
            *((0.3, 16, 6, 28), (3.5, 8, 15, 28), (7.3, 16, 6, 40), (9.2, 8, 9, 30)),
            *((12.4, 16, 5, 35), (15.3, 8, 6, 32), (18.4, 16, 5, 29)),
        ),
        Tier.T4: (
            *((1.5, 16, 4, 26), (4.1, 8, 6, 26), (8.2, 16, 4, 28), (11.5, 8, 5, 36)),
            *((14.2, 16, 4, 33), (19.1, 8, 4, 28), (23.3, 16, 3, 24)),
        ),
    }
)
"""Thirty-two jobs: rigid ones (T0) at any hour, deferrable ones through the working day."""
