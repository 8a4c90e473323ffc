"""Trained models, where each came from, and which of them forecasts.

A model never changes once it is stored, and neither does what was decided about it: every
promotion and every rollback is a decision of its own, so the champion is what the decisions
so far add up to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from gridflex.errors import ContractError
from gridflex.halfhour import HalfHour
from gridflex.signals import Origin


class Standing(StrEnum):
    """What a model is good for now."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"
    RETIRED = "retired"


class Act(StrEnum):
    """What was decided about the models of one target."""

    PROMOTE = "promote"
    ROLL_BACK = "roll back"


@dataclass(frozen=True, slots=True)
class Training:
    """How a model came about.

    Args:
        target: What it forecasts, with its unit.
        model: Name of the forecaster, such as ``lightgbm``.
        settings: What the forecaster was made with.
        window_start: First half-hour of what it learnt from.
        window_end: First half-hour after that.
        origin: What the data rested on.
        code_version: Release, and digest of the forecasting code.
        metrics: Name, ending in its unit, to value, on the rolling backtest.
        trained_at: When it was fitted, GridFlex time.

    Raises:
        ContractError: The window holds no half-hour.
    """

    target: str
    model: str
    settings: Mapping[str, Any]
    window_start: HalfHour
    window_end: HalfHour
    origin: Origin
    code_version: str
    metrics: Mapping[str, float]
    trained_at: datetime

    def __post_init__(self) -> None:
        if self.window_end <= self.window_start:
            raise ContractError(
                f"{self.model} of {self.target}: the window {self.window_start} to "
                f"{self.window_end} holds no half-hour"
            )


@dataclass(frozen=True, slots=True)
class Artefact:
    """Where the fitted state of a model is.

    Args:
        url: Of the file.
        sha256: Digest of its content, hexadecimal.
        size_bytes: Length of its content.
    """

    url: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """One fitted forecaster that is kept.

    Args:
        id: Counts up with the order of storing.
        training: How it came about.
        artefact: Where its state is.
    """

    id: int
    training: Training
    artefact: Artefact

    @property
    def name(self) -> str:
        """What to call it in a message."""
        return f"model {self.id} ({self.training.model} of {self.training.target})"


@dataclass(frozen=True, slots=True)
class Decision:
    """A change of the champion of one target.

    Args:
        target: Whose champion.
        act: What was done.
        model_id: The champion from then on; None if there is none.
        reason: Why.
        at: When, GridFlex time.
        figures: What the decision rested on, such as errors of both.
    """

    target: str
    act: Act
    model_id: int | None
    reason: str
    at: datetime
    figures: Mapping[str, float] = field(default_factory=dict)


def champions(decisions: Iterable[Decision]) -> list[int]:
    """Return the champions of one target that still count, the present one last.

    A promotion adds one, a rollback takes the last one away, so that rolling back twice leads
    two champions back and not to and fro. Promoting the present one again adds nothing.

    Args:
        decisions: All about one target, oldest first.
    """
    standing: list[int] = []
    for decision in decisions:
        if decision.act is Act.ROLL_BACK:
            standing = standing[:-1]
        elif decision.model_id is not None and standing[-1:] != [decision.model_id]:
            standing = [*standing, decision.model_id]
    return standing


def rolled_back(
    decisions: Sequence[Decision], *, target: str, reason: str, at: datetime
) -> Decision:
    """Return the decision that makes the champion before the present one count again.

    Before the first champion there was none, and then there is none again: forecasts are the
    providers' and the usual level.

    Args:
        decisions: All about the target, oldest first.
        target: Whose champion.
        reason: Why.
        at: When.

    Raises:
        ContractError: There is no champion.
    """
    standing = champions(decisions)
    if not standing:
        raise ContractError(f"{target} has no champion to roll back")
    before = standing[-2] if len(standing) > 1 else None
    return Decision(target=target, act=Act.ROLL_BACK, model_id=before, reason=reason, at=at)


def standing_of(model_id: int, decisions: Sequence[Decision]) -> Standing:
    """Return what the decisions about its target make of a model."""
    standing = champions(decisions)
    if standing and standing[-1] == model_id:
        return Standing.CHAMPION
    was_promoted = any(
        decision.act is Act.PROMOTE and decision.model_id == model_id for decision in decisions
    )
    return Standing.RETIRED if was_promoted else Standing.CHALLENGER
