"""The stored form of a fitted forecaster: arrays and JSON, never code that runs on loading."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gridflex.errors import ContractError

FORMAT: Final = 1
_HEADER: Final = "gridflex"


@dataclass(frozen=True, slots=True, eq=False)
class Artefact:
    """What a forecaster needs to forecast again.

    Args:
        kind: Name under which `gridflex.forecasting.models` finds the class.
        state: Anything JSON can hold.
        arrays: By name; texts and byte strings as arrays of ``uint8``.
    """

    kind: str
    state: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def dump(self) -> bytes:
        """Return the stored form; the same artefact always gives the same bytes."""
        header = {"format": FORMAT, "kind": self.kind, "state": dict(self.state)}
        parts = {_HEADER: as_array(json.dumps(header, sort_keys=True).encode()), **self.arrays}
        stored = io.BytesIO()
        with zipfile.ZipFile(stored, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in sorted(parts):
                member = io.BytesIO()
                np.lib.format.write_array(member, np.asarray(parts[name]), allow_pickle=False)
                archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue())
        return stored.getvalue()

    @classmethod
    def read(cls, stored: bytes) -> Artefact:
        """Read back what `dump` returned.

        Raises:
            ContractError: It is not an artefact, is damaged, or has another format.
        """
        try:
            with np.load(io.BytesIO(stored), allow_pickle=False) as parts:
                arrays = {name: parts[name] for name in parts.files}
            header = json.loads(as_bytes(arrays.pop(_HEADER)))
            kind, state, made = header["kind"], header["state"], header["format"]
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ContractError(f"not a stored forecaster: {error}") from error
        if made != FORMAT:
            raise ContractError(f"stored forecaster has format {made}, this version reads {FORMAT}")
        return cls(kind, state, arrays)


def as_array(data: bytes) -> NDArray[np.uint8]:
    """Return bytes as an array that an artefact can hold."""
    return np.frombuffer(data, dtype=np.uint8)


def as_bytes(array: NDArray[np.uint8]) -> bytes:
    """Return the bytes that `as_array` was given."""
    return array.astype(np.uint8, copy=False).tobytes()
