"""The steps of a tick: one that fails is told, and keeps no other from being done."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from typing import TypeVar

from gridflex.errors import ContractError, GridFlexError

log = logging.getLogger(__name__)

T = TypeVar("T")


class Steps:
    """Does the steps of one tick.

    Args:
        whose: What the log calls it.
    """

    def __init__(self, whose: str) -> None:
        self._whose = whose
        self._failed: dict[str, Exception] = {}

    @property
    def failed(self) -> dict[str, str]:
        """Why steps failed, by name."""
        return {name: reason(error) for name, error in self._failed.items()}

    @property
    def may_go_better(self) -> bool:
        """Whether a step failed for more than its data: the same again may then succeed."""
        return any(not isinstance(one, ContractError) for one in self._failed.values())

    async def take(self, name: str, step: Awaitable[T]) -> T | None:
        """Do a step and return what it returns; None if it failed.

        Args:
            name: By which its failure is told.
            step: What to do.
        """
        try:
            return await step
        except GridFlexError as error:
            log.warning("%s: %s failed: %s", self._whose, name, error)
            self._failed[name] = error
        except Exception as error:
            log.exception("%s: %s failed", self._whose, name)
            self._failed[name] = error
        return None


def reason(error: Exception) -> str:
    """Return an error in words; one that nobody raised on purpose names its kind."""
    return str(error) if isinstance(error, GridFlexError) else f"{type(error).__name__}: {error}"
