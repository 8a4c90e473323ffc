"""Packages are complete or absent, kept once, and handed to a cluster that lacks them."""

import asyncio
import os
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pytest

from gridflex.adapters.clusters.ray_jobs import RayJobs
from gridflex.adapters.jobs.packages import PackageStore, package_name
from gridflex.errors import ContractError, SourceError
from tests.fake_ray import FakeRay

URI = "gcs://_ray_pkg_0123456789abcdef.zip"


@pytest.fixture
def url() -> str:
    return f"memory://packages-{uuid.uuid4().hex}"


@pytest.fixture
def store(url: str) -> PackageStore:
    return PackageStore(url, max_bytes=10)


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def broken(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    raise ConnectionResetError("the client went away")


async def content(store: PackageStore, uri: str = URI) -> bytes:
    return b"".join([piece async for piece in store.read(uri)])


def kept(url: str) -> list[str]:
    files, root = fsspec.url_to_fs(url)
    return [path.rpartition("/")[2] for path in files.ls(root, detail=False)]


async def test_a_package_comes_back_as_it_came(store: PackageStore, url: str) -> None:
    assert not await store.has(URI)

    await store.put(URI, pieces(b"PK", b"", b"zip"))

    assert await store.has(URI)
    assert await content(store) == b"PKzip"
    assert kept(url) == ["_ray_pkg_0123456789abcdef.zip"]


async def test_the_first_complete_upload_stays(store: PackageStore, url: str) -> None:
    await store.put(URI, pieces(b"first"))
    await store.put(URI, pieces(b"second"))

    assert await content(store) == b"first"
    assert len(kept(url)) == 1


async def test_an_upload_that_breaks_off_leaves_nothing(store: PackageStore, url: str) -> None:
    with pytest.raises((SourceError, ConnectionResetError)):
        await store.put(URI, broken(b"PK"))

    assert not await store.has(URI)
    assert kept(url) == []


async def test_a_package_that_is_too_large_is_refused_and_leaves_nothing(
    store: PackageStore, url: str
) -> None:
    with pytest.raises(ContractError, match="larger than 10 bytes"):
        await store.put(URI, pieces(b"12345", b"67890", b"1"))

    assert kept(url) == []


async def test_two_uploads_at_once_make_one_whole_package(store: PackageStore, url: str) -> None:
    await asyncio.gather(*(store.put(URI, pieces(b"PK", b"zip")) for _ in range(8)))

    assert await content(store) == b"PKzip"
    assert len(kept(url)) == 1


async def test_a_package_that_never_came_cannot_be_read(store: PackageStore) -> None:
    with pytest.raises(ContractError, match=f"{URI} never arrived"):
        await content(store)


@pytest.mark.parametrize(
    "uri",
    [
        "gcs://_ray_pkg_0123456789abcdef.tar.gz",
        "gcs://_ray_pkg_01234567.zip",
        "gcs://my_module-1.0+cpu-py3-none-any.whl",
    ],
)
def test_names_that_rays_clients_give_are_taken(uri: str) -> None:
    assert package_name(uri) == uri.removeprefix("gcs://")


@pytest.mark.parametrize(
    "uri",
    [
        "gcs://../../etc/passwd.zip",
        "gcs://_ray_pkg_0123456789abcdef",
        "gcs://_ray_pkg_XYZ.zip",
        "gcs://a/b.whl",
        "gcs://..x.whl",
        "gcs://",
        "s3://_ray_pkg_0123456789abcdef.zip",
        "_ray_pkg_0123456789abcdef.zip",
        "gcs://.incoming-1.zip",
    ],
)
async def test_any_other_name_is_refused(store: PackageStore, uri: str) -> None:
    with pytest.raises(ContractError, match="is not a package"):
        await store.has(uri)


async def test_a_cluster_is_given_what_it_lacks(store: PackageStore) -> None:
    ray = FakeRay()
    await store.put(URI, pieces(b"PKzip"))
    async with RayJobs("http://ray.test", transport=ray.transport) as cluster:
        await store.supply(cluster, URI)

    assert ray.packages == {URI: b"PKzip"}


async def test_a_cluster_that_has_it_needs_nothing_from_here(store: PackageStore) -> None:
    ray = FakeRay(packages={URI: b"theirs"})
    async with RayJobs("http://ray.test", transport=ray.transport) as cluster:
        await store.supply(cluster, URI)

    assert ray.packages == {URI: b"theirs"}


async def test_a_package_that_is_neither_there_nor_here_is_the_jobs_fault(
    store: PackageStore,
) -> None:
    async with RayJobs("http://ray.test", transport=FakeRay().transport) as cluster:
        with pytest.raises(ContractError, match="never arrived"):
            await store.supply(cluster, URI)


async def test_files_are_kept_in_a_folder(tmp_path: Path) -> None:
    store = PackageStore(f"file://{tmp_path}/packages/")
    await store.put(URI, pieces(b"PK"))

    again = PackageStore(f"file://{tmp_path}/packages")

    assert await content(again) == b"PK"


async def test_a_folder_that_cannot_be_made_is_a_source_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = PackageStore(f"file://{tmp_path}/file/packages")

    with pytest.raises(SourceError, match="packages in file://"):
        await store.put(URI, pieces(b"PK"))


NOW = datetime(2026, 7, 2, 12, tzinfo=UTC)
YESTERDAY = NOW - timedelta(days=1)


async def test_old_packages_that_nobody_needs_and_broken_uploads_are_pruned(
    tmp_path: Path,
) -> None:
    store = PackageStore(f"file://{tmp_path}")
    names = {
        "_ray_pkg_00000000.zip": 25,
        "_ray_pkg_11111111.zip": 25,
        "_ray_pkg_22222222.zip": 23,
        ".incoming-0a": 25,
        ".incoming-0b": 1,
        "notes.txt": 99,
    }
    for name, hours_old in names.items():
        (tmp_path / name).write_bytes(b"x")
        written = (NOW - timedelta(hours=hours_old)).timestamp()
        os.utime(tmp_path / name, (written, written))

    removed = await store.prune(keep={"gcs://_ray_pkg_11111111.zip"}, before=YESTERDAY)

    assert removed == 2
    assert set(kept(f"file://{tmp_path}")) == set(names) - {"_ray_pkg_00000000.zip", ".incoming-0a"}


async def test_a_package_that_was_asked_for_is_as_good_as_new(tmp_path: Path) -> None:
    store = PackageStore(f"file://{tmp_path}")
    await store.put(URI, pieces(b"PK"))
    path = tmp_path / package_name(URI)
    os.utime(path, (0, 0))

    assert await store.has(URI)

    assert await store.prune(keep=(), before=YESTERDAY) == 0


async def test_there_is_nothing_to_prune_before_the_first_package(
    store: PackageStore, url: str
) -> None:
    assert await store.prune(keep=(), before=NOW) == 0
    await store.put(URI, pieces(b"PK"))
    assert await store.has(URI)

    assert await store.prune(keep=(), before=datetime(2999, 1, 1, tzinfo=UTC)) == 1
    assert kept(url) == []
