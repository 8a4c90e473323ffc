"""Jobs and the flexibility their owners grant, as written in Ray job metadata.

A job is one piece of work with one id, however often it is paused; each time it runs on a
cluster is an attempt. A job whose metadata has no ``gridflex.io/`` key is not flexible and
is never touched. Instants are aware UTC.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Final, NewType, TypeVar

import isodate

from gridflex import units
from gridflex.errors import MetadataError
from gridflex.halfhour import in_utc
from gridflex.run_time import RunTime

JobId = NewType("JobId", str)

PREFIX: Final = "gridflex.io/"
DEFAULT_STOP_GRACE: Final = timedelta(seconds=30)
MOST_POWER_KW: Final = 100_000.0
MOST_ENERGY_KWH: Final = 100_000_000.0
AGREES: Final = 0.1
"""Share by which the energy of a job may be off its power over its run time."""

MAX_WINDOW: Final = timedelta(days=31)

T = TypeVar("T")


class Tier(StrEnum):
    """How flexible a job is; f-SLA classes T0 to T5."""

    T0 = "T0"
    T1 = "T1"
    T2 = "T2"
    T3 = "T3"
    T4 = "T4"
    T5 = "T5"


@dataclass(frozen=True, slots=True)
class TierDefaults:
    """What a tier means where the metadata says nothing more.

    Args:
        extra_delay: How much later than "start now, run through" the job may finish.
        interruptible: Whether it may be paused.
        may_move: Whether it may run at a site other than the default one.
    """

    extra_delay: timedelta
    interruptible: bool
    may_move: bool


TIER_DEFAULTS: Final[Mapping[Tier, TierDefaults]] = {
    Tier.T0: TierDefaults(timedelta(0), interruptible=False, may_move=False),
    Tier.T1: TierDefaults(timedelta(hours=1), interruptible=False, may_move=False),
    Tier.T2: TierDefaults(timedelta(hours=24), interruptible=False, may_move=False),
    Tier.T3: TierDefaults(timedelta(days=7), interruptible=True, may_move=False),
    Tier.T4: TierDefaults(timedelta(hours=24), interruptible=True, may_move=False),
    Tier.T5: TierDefaults(timedelta(hours=24), interruptible=True, may_move=True),
}
"""Windows of the f-SLA tiers (denisa-c/gridpilot, FSLA_PROTOCOL.md)."""


class JobState(StrEnum):
    """Where a job is in its life."""

    HELD = "held"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_final(self) -> bool:
        """Whether nothing can happen to the job any more."""
        return self in FINAL_STATES


FINAL_STATES: Final = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.STOPPED})


@dataclass(frozen=True, slots=True)
class Flexibility:
    """What the owner of one job allows, after defaults.

    Args:
        tier: Class the defaults came from.
        deadline: Instant by which the job must have finished.
        duration: Expected run time at full speed; the median where it was learned.
        duration_is_declared: False where ``duration`` was estimated, not given by the owner.
        interruptible: Whether the job may be paused and resumed.
        checkpoint_every: How much work a pause can lose; None if unknown.
        stop_grace: How long the job may take to save its state when asked to stop.
        gpus: GPUs while running.
        min_gpus: Fewest GPUs it can run on.
        max_gpus: Most GPUs it can use.
        power_kw: Dynamic power while running, if the owner knows it.
        energy_kwh: Dynamic energy of the whole job, if the owner knows it.
        sites: Where it may run, by site name; empty means the default site.
        carbon_cap_gco2_per_kwh: Greatest energy-weighted mean intensity, if any.
        premium_gbp_per_kwh: What the owner wants for being moved.
        team: Who the show-back goes to.
        project: Finer show-back.
        run_time: Learned run time; None where the owner declared it or nothing was learned.
    """

    tier: Tier
    deadline: datetime
    duration: timedelta
    duration_is_declared: bool
    interruptible: bool
    gpus: int
    min_gpus: int
    max_gpus: int
    checkpoint_every: timedelta | None = None
    stop_grace: timedelta = DEFAULT_STOP_GRACE
    power_kw: float | None = None
    energy_kwh: float | None = None
    sites: tuple[str, ...] = ()
    carbon_cap_gco2_per_kwh: float | None = None
    premium_gbp_per_kwh: Decimal = Decimal(0)
    team: str | None = None
    project: str | None = None
    run_time: RunTime | None = None

    @property
    def safe_duration(self) -> timedelta:
        """Run time to allow for where it must not be late."""
        return _safe(self.run_time, self.duration)


@dataclass(frozen=True, slots=True)
class Shape:
    """GPUs and power limit under which a job runs.

    Args:
        gpus: GPUs it holds.
        power_cap_fraction: Power limit of each GPU as a share of its uncapped draw.
    """

    gpus: int
    power_cap_fraction: float = 1.0


@dataclass(frozen=True, slots=True)
class Submission:
    """What is known about a job when its metadata is read.

    Args:
        submitted_at: When it was submitted.
        entrypoint_gpus: GPUs requested for its entrypoint, as Ray has them.
        likely_duration: Run time to assume where the owner gives none and none was learned.
        site_gpus: GPUs of each site, by name; the first is the default site.
        run_time: What earlier runs say, if anything.
    """

    submitted_at: datetime
    entrypoint_gpus: float
    likely_duration: timedelta
    site_gpus: Mapping[str, int]
    run_time: RunTime | None = None


def parse_flexibility(metadata: Mapping[str, str], submission: Submission) -> Flexibility | None:
    """Return the flexibility that Ray job ``metadata`` grants, or None if it has no GridFlex key.

    ``max-deferral`` is the latest finish as a duration after submission; without it and
    without ``deadline`` the tier's window is added to the time by which the job would safely
    have finished if it started at once.

    Raises:
        MetadataError: A ``gridflex.io/`` key is unknown or its value is not valid.
    """
    ours = {k.removeprefix(PREFIX): v for k, v in metadata.items() if k.startswith(PREFIX)}
    if not ours:
        return None
    for name in ours.keys() - KEYS:
        known = ", ".join(sorted(KEYS))
        raise MetadataError(PREFIX + name, ours[name], valid=f"one of the keys {known}")
    return _Reader(ours, submission).flexibility()


KEYS: Final = frozenset(
    {
        *("tier", "deadline", "max-deferral", "duration"),
        *("interruptible", "checkpoint-every", "stop-grace"),
        *("gpus", "min-gpus", "max-gpus", "power-kw", "energy-kwh", "sites"),
        *("carbon-cap", "premium", "team", "project"),
    }
)


class _Reader:
    """Reads one job's keys, each with its own message when it is wrong."""

    def __init__(self, values: Mapping[str, str], submission: Submission) -> None:
        self._values = values
        self._submission = submission

    def flexibility(self) -> Flexibility:
        tier = self._get("tier", Tier, Tier.T2, valid="T0, T1, T2, T3, T4 or T5")
        defaults = TIER_DEFAULTS[tier]
        declared = self._duration("duration")
        learned = None if declared else self._submission.run_time
        duration = declared or _likely(learned, self._submission.likely_duration)
        sites = self._sites(may_move=defaults.may_move)
        most = max((self._submission.site_gpus[name] for name in sites), default=0)
        gpus = self._gpus(most)
        min_gpus, max_gpus = self._elastic_range(tier, gpus, most=most)
        return Flexibility(
            tier=tier,
            deadline=self._deadline(
                duration, window=_safe(learned, duration) + defaults.extra_delay
            ),
            duration=duration,
            duration_is_declared=declared is not None,
            interruptible=self._get(
                "interruptible", _boolean, defaults.interruptible, valid="true or false"
            ),
            gpus=gpus,
            min_gpus=min_gpus,
            max_gpus=max_gpus,
            checkpoint_every=self._duration("checkpoint-every"),
            stop_grace=self._duration("stop-grace") or DEFAULT_STOP_GRACE,
            power_kw=self._number("power-kw", most=MOST_POWER_KW),
            energy_kwh=self._energy_kwh(declared, assumed=duration),
            sites=sites,
            carbon_cap_gco2_per_kwh=self._number("carbon-cap", most=2_000.0),
            premium_gbp_per_kwh=self._get(
                "premium", _premium, Decimal(0), valid="GBP per kWh from 0 to 10, such as 0.15"
            ),
            team=self._label("team"),
            project=self._label("project"),
            run_time=learned,
        )

    def _get(self, name: str, read: Callable[[str], T], default: T, *, valid: str) -> T:
        text = self._values.get(name)
        if text is None:
            return default
        try:
            return read(text.strip())
        except (ValueError, InvalidOperation, OverflowError) as error:
            raise MetadataError(PREFIX + name, text, valid=valid) from error

    def _duration(self, name: str) -> timedelta | None:
        longest = f"{MAX_WINDOW.days} days"
        valid = f"an ISO 8601 duration above zero and at most {longest}, such as PT4H"
        return self._get(name, _duration, None, valid=valid)

    def _number(self, name: str, *, most: float) -> float | None:
        valid = f"a number above 0 and at most {most:g}"
        return self._get(name, lambda text: _number(text, most=most), None, valid=valid)

    def _energy_kwh(self, declared: timedelta | None, *, assumed: timedelta) -> float | None:
        """Return the energy of the job, which is its power over its run time."""
        energy = self._number("energy-kwh", most=MOST_ENERGY_KWH)
        if energy is None:
            return None
        power = self._number("power-kw", most=MOST_POWER_KW) if declared else None
        least, most = (1 - AGREES, 1 + AGREES) if power else (0, 1)
        full_kwh = (power or MOST_POWER_KW) * units.hours(assumed)
        if not least * full_kwh <= energy <= most * full_kwh:
            agreed = "agrees to a tenth with power-kw" if power else f"is {MOST_POWER_KW:g} kW"
            raise MetadataError(
                PREFIX + "energy-kwh",
                self._values["energy-kwh"],
                valid=f"from {least * full_kwh:g} to {most * full_kwh:g}, which {agreed} over the "
                f"run time of {isodate.duration_isoformat(_whole_seconds(assumed))}",
            )
        return energy

    def _label(self, name: str) -> str | None:
        return self._get(name, _label, None, valid="1 to 63 characters, no control character")

    def _deadline(self, duration: timedelta, *, window: timedelta) -> datetime:
        if "deadline" in self._values and "max-deferral" in self._values:
            raise MetadataError(
                PREFIX + "max-deferral",
                self._values["max-deferral"],
                valid="absent where deadline is given: one of the two says when it must finish",
            )
        submitted_at = self._submission.submitted_at
        earliest = submitted_at + duration
        name = "deadline" if "deadline" in self._values else "max-deferral"
        deferral = self._duration("max-deferral")
        by_deferral = submitted_at + (deferral or window)
        deadline = self._get(
            "deadline",
            _instant,
            by_deferral,
            valid="an RFC 3339 time with zone, such as 2026-07-01T18:00:00Z",
        )
        if not earliest <= deadline <= submitted_at + 2 * MAX_WINDOW:
            raise MetadataError(
                PREFIX + name,
                self._values.get(name),
                valid=(
                    f"a finish from {earliest:%Y-%m-%dT%H:%M:%SZ} (submission plus the run time "
                    f"of {isodate.duration_isoformat(_whole_seconds(duration))}) to "
                    f"{submitted_at + 2 * MAX_WINDOW:%Y-%m-%dT%H:%M:%SZ}"
                ),
            )
        return deadline

    def _gpus(self, most: int) -> int:
        requested = self._submission.entrypoint_gpus
        valid = f"a whole number from 0 to {most}, the GPUs of the largest site it may use"
        if most == 0:
            valid = "0: no site it may use has GPUs (a site's gpus setting says how many to fill)"
        gpus = self._get("gpus", _whole, math.ceil(requested), valid=valid)
        if not requested <= gpus <= most:
            least = f" and at least the {requested:g} of entrypoint_num_gpus" if requested else ""
            raise MetadataError(PREFIX + "gpus", str(gpus), valid=valid + least)
        return gpus

    def _elastic_range(self, tier: Tier, gpus: int, *, most: int) -> tuple[int, int]:
        elastic = tier is Tier.T4
        least, largest = (max(1, gpus // 2), min(2 * gpus, most)) if elastic else (gpus, gpus)
        fewest = min(1, gpus)
        valid_low = f"a whole number from {fewest} to {gpus}, the GPUs asked for"
        low = self._get("min-gpus", _whole, min(least, gpus), valid=valid_low)
        if not fewest <= low <= gpus:
            raise MetadataError(PREFIX + "min-gpus", str(low), valid=valid_low)
        most = most if gpus else 0
        valid_high = f"a whole number from {gpus}, the GPUs asked for, to {most}"
        if most == 0:
            valid_high = "0: the job asks for no GPUs (gpus)"
        high = self._get("max-gpus", _whole, max(largest, gpus), valid=valid_high)
        if not gpus <= high <= most:
            raise MetadataError(PREFIX + "max-gpus", str(high), valid=valid_high)
        return low, high

    def _sites(self, *, may_move: bool) -> tuple[str, ...]:
        known = tuple(self._submission.site_gpus)
        text = self._values.get("sites")
        if text is None:
            return known if may_move else known[:1]
        names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
        if not names or not set(names) <= set(known):
            valid = f"site names out of {', '.join(known)}, separated by commas"
            raise MetadataError(PREFIX + "sites", text, valid=valid)
        return names


def _likely(learned: RunTime | None, otherwise: timedelta) -> timedelta:
    return min(learned.median, MAX_WINDOW) if learned else otherwise


def _safe(learned: RunTime | None, otherwise: timedelta) -> timedelta:
    return min(learned.safe, MAX_WINDOW) if learned else otherwise


def _boolean(text: str) -> bool:
    if text.lower() not in {"true", "false"}:
        raise ValueError(text)
    return text.lower() == "true"


def _whole_seconds(duration: timedelta) -> timedelta:
    return timedelta(seconds=math.ceil(duration.total_seconds()))


def _duration(text: str) -> timedelta:
    value = isodate.parse_duration(text)
    if not isinstance(value, timedelta) or not timedelta(0) < value <= MAX_WINDOW:
        raise ValueError(text)
    return value


def _instant(text: str) -> datetime:
    return in_utc(datetime.fromisoformat(text))


def _number(text: str, *, most: float) -> float:
    value = float(text)
    if not 0 < value <= most:
        raise ValueError(text)
    return value


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(text)
    return int(text)


def _premium(text: str) -> Decimal:
    value = Decimal(text)
    if not 0 <= value <= 10:  # noqa: PLR2004 - GBP/kWh; ten times any price ever paid
        raise ValueError(text)
    return value


def _label(text: str) -> str:
    has_control = any(unicodedata.category(one) == "Cc" for one in text)
    if has_control or not 1 <= len(text) <= 63:  # noqa: PLR2004 - the Kubernetes label limit
        raise ValueError(text)
    return text
