"""The verifier as one file to hand out: an archive that Python runs as it is.

It holds the source of `gridflex.ledger.verify`, readable with any zip tool, and nothing else. The
same source always gives the same bytes, so that its digest can be published.
"""

from __future__ import annotations

import zipfile
from importlib.resources import files
from io import BytesIO
from typing import Final

_LAUNCHER: Final = """from gridflex.ledger.verify.command import main

raise SystemExit(main())
"""
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
"""The earliest instant a zip file knows."""


def standalone_verifier() -> bytes:
    """Return the archive; it needs Python 3.11 and ``cryptography``."""
    package = files("gridflex.ledger.verify")
    sources = {
        f"gridflex/ledger/verify/{one.name}": one.read_bytes()
        for one in package.iterdir()
        if one.name.endswith(".py")
    }
    sources |= {"__main__.py": _LAUNCHER.encode()}
    sources |= dict.fromkeys(("gridflex/__init__.py", "gridflex/ledger/__init__.py"), b"")
    made = BytesIO(b"#!/usr/bin/env python3\n")
    made.seek(0, 2)
    with zipfile.ZipFile(made, "a", compression=zipfile.ZIP_STORED) as archive:
        for name in sorted(sources):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), sources[name])
    return made.getvalue()
