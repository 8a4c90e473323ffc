"""Uploaded packages (working directories, modules) kept until a held job runs.

A Ray cluster drops an uploaded package that no job refers to after ten minutes. GridFlex keeps
every package in one folder of any file system that fsspec knows and hands it to a cluster just
before dispatch. A package is complete or absent; the first complete upload under a name stays,
for Ray's clients name packages by their content.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Collection
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import fsspec

from gridflex.errors import ContractError, SourceError

MAX_PACKAGE_BYTES: Final = 100 * 1024**2
"""What a Ray dashboard takes in one request (``DASHBOARD_CLIENT_MAX_SIZE``)."""

EXTENSIONS: Final = (".zip", ".whl", ".tar.gz", ".tgz", ".tar.xz")
"""What Ray's clients upload (``PACKAGE_UPLOAD_EXTENSIONS``)."""

_PROTOCOL: Final = "gcs"
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+!-]{0,199}")
_HASHED: Final = re.compile(r"_ray_pkg_[0-9a-f]{8,64}")
_CHUNK_BYTES: Final = 1024**2
_INCOMING: Final = ".incoming-"


class PackageSink(Protocol):
    """A cluster that takes packages; see `gridflex.adapters.clusters.ray_jobs.RayJobs`."""

    async def has_package(self, uri: str) -> bool:
        """Return whether it has the package."""
        ...

    async def put_package(self, uri: str, content: AsyncIterator[bytes]) -> None:
        """Upload the package."""
        ...


class PackageStore:
    """Keeps packages in one folder.

    Args:
        url: fsspec URL of the folder, such as ``file:///var/lib/gridflex/packages``.
        max_bytes: Greatest size of one package.
    """

    def __init__(self, url: str, *, max_bytes: int = MAX_PACKAGE_BYTES) -> None:
        self._url = url.rstrip("/")
        self._max_bytes = max_bytes
        self._files, self._root = fsspec.url_to_fs(self._url)

    async def has(self, uri: str) -> bool:
        """Return whether the package is here; where the file system can, it counts as new again.

        Args:
            uri: Such as ``gcs://_ray_pkg_0123456789abcdef.zip``.

        Raises:
            ContractError: ``uri`` is not the name of a package.
            SourceError: The file system fails.
        """
        path = self._path(uri)
        found = bool(await self._do(self._files.isfile, path))
        if found:
            with contextlib.suppress(NotImplementedError, ValueError):
                await self._do(self._files.touch, path, truncate=False)
        return found

    async def put(self, uri: str, content: AsyncIterable[bytes]) -> None:
        """Keep a package; one that is here already stays as it is.

        Raises:
            ContractError: ``uri`` is not the name of a package, or it is too large.
            SourceError: The file system fails.
        """
        path = self._path(uri)
        partial = f"{self._root}/{_INCOMING}{uuid.uuid4().hex}"
        await self._do(self._files.makedirs, self._root, exist_ok=True)
        try:
            await self._write(partial, uri, content)
            if not await self._do(self._files.isfile, path):
                await self._do(self._files.mv, partial, path)
        finally:
            if await self._do(self._files.exists, partial):
                await self._do(self._files.rm_file, partial)

    async def read(self, uri: str) -> AsyncIterator[bytes]:
        """Yield a package in pieces.

        Raises:
            ContractError: ``uri`` is not the name of a package, or it is not here.
            SourceError: The file system fails.
        """
        if not await self.has(uri):
            raise ContractError(f"package {uri} never arrived at GridFlex")
        opened = await self._do(self._files.open, self._path(uri), "rb")
        try:
            while piece := await self._do(opened.read, _CHUNK_BYTES):
                yield piece
        finally:
            await self._do(opened.close)

    async def supply(self, cluster: PackageSink, uri: str) -> None:
        """Make sure that ``cluster`` has a package.

        Raises:
            ContractError: The package is neither there nor here.
            SourceError: The cluster or the file system fails.
        """
        if not await cluster.has_package(uri):
            if not await self.has(uri):
                raise ContractError(f"package {uri} never arrived at GridFlex")
            await cluster.put_package(uri, self.read(uri))

    async def prune(self, *, keep: Collection[str], before: datetime) -> int:
        """Remove old packages and what is left of broken uploads; other files stay.

        Args:
            keep: Packages that are needed, ``gcs://…``.
            before: Wall time; what was written or asked for later stays.

        Returns:
            How many files were removed.

        Raises:
            SourceError: The file system fails.
        """
        if not await self._do(self._files.isdir, self._root):
            return 0
        needed = {uri.partition("://")[2] for uri in keep}
        removed = 0
        for path in await self._do(self._files.ls, self._root, detail=False):
            name = path.rpartition("/")[2]
            is_ours = name.endswith(EXTENSIONS) or name.startswith(_INCOMING)
            if is_ours and name not in needed and await self._modified(path) < before:
                await self._do(self._files.rm_file, path)
                removed += 1
        return removed

    async def _modified(self, path: str) -> datetime:
        moment: datetime = await self._do(self._files.modified, path)
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    async def _write(self, path: str, uri: str, content: AsyncIterable[bytes]) -> None:
        size = 0
        opened = await self._do(self._files.open, path, "wb")
        try:
            async for piece in content:
                size += len(piece)
                if size > self._max_bytes:
                    raise ContractError(
                        f"package {uri} is larger than {self._max_bytes} bytes; leave large "
                        "files out (.rayignore) or name a remote zip as working_dir"
                    )
                await self._do(opened.write, piece)
        finally:
            await self._do(opened.close)

    async def _do(self, act: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - fsspec's
        try:
            return await asyncio.to_thread(act, *args, **options)
        except OSError as error:
            raise SourceError(f"packages in {self._url}: {error}") from error

    def _path(self, uri: str) -> str:
        return f"{self._root}/{package_name(uri)}"


def package_name(uri: str) -> str:
    """Return the file name in ``gcs://NAME``.

    Raises:
        ContractError: It is not a name that Ray's clients give to a package.
    """
    protocol, _, name = uri.partition("://")
    extension = next((end for end in EXTENSIONS if name.endswith(end)), None)
    if protocol != _PROTOCOL or extension is None or not _is_name(name, extension):
        raise ContractError(
            f"{uri!r} is not a package; valid is {_PROTOCOL}://_ray_pkg_ with a hexadecimal hash, "
            f"or the file name of a wheel, ending in {', '.join(EXTENSIONS)}"
        )
    return name


def _is_name(name: str, extension: str) -> bool:
    if extension == ".whl":
        return _NAME.fullmatch(name) is not None and ".." not in name
    return _HASHED.fullmatch(name.removesuffix(extension)) is not None
