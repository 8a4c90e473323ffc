"""`cluster.yaml` is what Ray's cluster launcher accepts."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from jsonschema import ValidationError
from ray.autoscaler._private.util import prepare_config, validate_config

from gridflex.settings_files import load_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cluster() -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    return values


def test_ray_accepts_the_cluster_file(cluster: dict[str, Any]) -> None:
    validate_config(prepare_config(copy.deepcopy(cluster)))


def test_ray_would_refuse_a_misspelt_key(cluster: dict[str, Any]) -> None:
    cluster["max_worker"] = cluster.pop("max_workers")

    with pytest.raises(ValidationError, match="max_worker"):
        validate_config(prepare_config(cluster))


def test_the_images_have_the_ray_that_is_locked(cluster: dict[str, Any]) -> None:
    images = {value for key, value in cluster["docker"].items() if key.endswith("image")}

    assert f"ray=={ray.__version__} " in (ROOT / "requirements.lock").read_text()
    assert {image.split("-")[0] for image in images} == {f"rayproject/ray:{ray.__version__}"}


def test_gridflex_is_told_of_every_gpu_that_may_be_started(
    cluster: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (exported,) = re.findall(
        r"GRIDFLEX_SITES='(.*?)'", " ".join(cluster["head_start_ray_commands"])
    )
    monkeypatch.setenv("GRIDFLEX_SITES", exported)

    nodes = cluster["available_node_types"].values()
    gpus = sum(node["resources"].get("GPU", 0) * node.get("max_workers", 0) for node in nodes)
    (site,) = load_settings().sites
    assert (site.gpus, site.gpu_type) == (gpus, "L4")


def test_every_node_gets_the_project_and_the_token_of_the_cluster(cluster: dict[str, Any]) -> None:
    token = Path("/home/ray/.ray/auth_token")

    assert cluster["file_mounts"] == {
        "/home/ray/gridflex": ".",
        str(token): str(Path("~", *token.parts[-2:])),
    }
