"""Every error GridFlex raises on purpose.

GridFlexError
├── SourceError          an outside service failed; retry or degrade
│   ├── StaleDataError       it answered, but with data too old to act on
│   └── NoAnswerError        nobody knows whether it did what it was asked
├── ContractError        data or messages break an agreed schema; never retry
│   ├── MetadataError        one metadata key of one job
│   ├── NotFoundError        what was asked for is not there
│   └── ConflictError        somebody else was faster; decide again
└── InfeasibleError      no schedule meets the job's own limits
"""

from __future__ import annotations


class GridFlexError(Exception):
    """Root of all errors raised on purpose."""


class SourceError(GridFlexError):
    """An outside service did not answer, or answered with something unusable."""


class StaleDataError(SourceError):
    """The newest data is too old to act on."""


class NoAnswerError(SourceError):
    """No answer came: what was asked for may have been done, or may be done yet."""


class ContractError(GridFlexError):
    """Data or a message breaks an agreed schema; sending it again will not help."""


class MetadataError(ContractError):
    """One metadata key of a submitted job is wrong.

    Args:
        key: The full metadata key, such as ``gridflex.io/deadline``.
        value: What was sent.
        valid: What would have been accepted, for a person to read.
    """

    def __init__(self, key: str, value: object, *, valid: str) -> None:
        super().__init__(f"{key}: {value!r} is not valid; valid is {valid}")
        self.key = key
        self.value = value
        self.valid = valid

    def __reduce__(self) -> tuple[object, ...]:
        return (_metadata_error, (self.key, self.value, self.valid))


class NotFoundError(ContractError):
    """What was asked for is not there."""


class ConflictError(ContractError):
    """Somebody else was faster: what was sent rests on what has changed since."""


class InfeasibleError(GridFlexError):
    """No schedule meets the limits that were asked for."""


def _metadata_error(key: str, value: object, valid: str) -> MetadataError:
    return MetadataError(key, value, valid=valid)
