"""The symbolic links of `gridflex/` survive packaging, and nothing is packed or imported twice."""

import importlib
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import ray
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ray._private.runtime_env.packaging import create_package

from tests.unit.test_layers import ENTRY_POINTS, FILES, imported_by, paths_like

ROOT = Path(__file__).parents[2]
PACKED = (".gitignore", ".rayignore", "LICENSE", "README.md", "pyproject.toml", "serve_config.yaml")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what a fresh clone would have of the three folders, links as links."""
    copy = tmp_path_factory.mktemp("checkout")
    for folder in ("gridflex", "agents", "envs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / folder, copy / folder, symlinks=True, ignore=ignored)
    for name in PACKED:
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names inside a wheel that was built by way of a source archive."""
    dist = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist)]
    subprocess.run([*command, str(checkout)], check=True, capture_output=True)
    (built,) = dist.glob("*.whl")
    return set(zipfile.ZipFile(built).namelist())


@pytest.fixture(scope="module")
def working_dir_package(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names inside the archive that Ray uploads for ``--working-dir .``."""
    package = tmp_path_factory.mktemp("ray") / "package.zip"
    create_package(str(checkout), package, include_gitignore=True)
    return zipfile.ZipFile(package).namelist()


def test_the_links_point_at_the_real_folders() -> None:
    assert (ROOT / "gridflex" / "agents").readlink() == Path("../agents")
    assert (ROOT / "gridflex" / "envs").readlink() == Path("../envs")


def test_the_wheel_holds_the_linked_packages(wheel: set[str]) -> None:
    expected = {
        f"gridflex/{path.relative_to(ROOT)}"
        for path in FILES
        if path.is_relative_to(ROOT / "agents")
    }
    expected |= {"gridflex/agents/__init__.py", "gridflex/envs/__init__.py", "gridflex/py.typed"}

    assert expected <= wheel


def test_the_wheel_has_one_package_at_its_top(wheel: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}

    assert tops == {"gridflex", f"gridflex-{PROJECT['version']}.dist-info"}


def test_the_wheel_holds_every_file_that_is_not_python(wheel: set[str]) -> None:
    package = ROOT / "gridflex"
    files = {
        path
        for path in package.rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }

    assert {str(path.relative_to(ROOT)) for path in files} <= wheel


def test_ray_packs_the_agents_once(working_dir_package: list[str]) -> None:
    copies = [name for name in working_dir_package if name.endswith("agents/__init__.py")]

    assert copies == ["gridflex/agents/__init__.py"]


def test_ray_packs_the_environments_once(working_dir_package: list[str]) -> None:
    copies = [name for name in working_dir_package if name.endswith("envs/__init__.py")]

    assert copies == ["gridflex/envs/__init__.py"]


@pytest.mark.parametrize("name", ["agents", "envs"])
def test_a_bare_folder_refuses_to_be_imported(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT)
    monkeypatch.delitem(sys.modules, name, raising=False)

    with pytest.raises(ImportError, match=f"import gridflex.{name}"):
        importlib.import_module(name)


def test_an_actor_cannot_start_ray_in_a_unit_test() -> None:
    class Nothing:
        """Does nothing."""

    with pytest.raises(RuntimeError, match="must not start Ray"):
        ray.remote(Nothing).remote()


def test_every_imported_library_is_declared() -> None:
    declared = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    provided_by = packages_distributions()
    files = FILES | paths_like(*ENTRY_POINTS)
    tops = {name.split(".")[0] for path in files for name in imported_by(path.read_text())}

    undeclared = {
        top
        for top in tops
        - sys.stdlib_module_names
        - {"gridflex", "pydantic_core"}  # half of pydantic
        if not declared & {canonicalize_name(name) for name in provided_by.get(top, [])}
    }

    assert not undeclared


def test_the_lock_file_pins_every_requirement_within_its_range() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = dict(line.split()[0].split("==") for line in lines if not line.startswith("#"))
    pinned = {canonicalize_name(name): version for name, version in pins.items()}
    wanted = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]

    for requirement in map(Requirement, wanted):
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier


def test_the_lock_file_names_packages_and_nothing_else() -> None:
    text = (ROOT / "requirements.lock").read_text()

    assert "torch==2.13.0 " in text
    assert not [mark for mark in ("://", "--", " @ ", "+cpu", "+cu") if mark in text]
