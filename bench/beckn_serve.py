"""The Beckn application alone behind Serve, for `bench/beckn.py` and the long fuzz test.

As a script it serves until its standard input ends; its first line of output says where:

    python bench/beckn_serve.py FOLDER
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import ray
from ray import serve

from gridflex.adapters import database
from gridflex.adapters.beckn.keys import BecknKeys
from gridflex.adapters.clusters.ray_auth import MODE_VARIABLE
from gridflex.beckn.trust.registry import format_record
from gridflex.beckn.trust.signing import SigningKey
from gridflex.beckn.trust.verification import Local
from gridflex.running import launch, processes
from gridflex.serve.app import ApplicationArgs, build_beckn
from gridflex.settings import Settings
from gridflex.settings_files import load_settings, write_settings

NETWORK = "gridflex.example/bench"
BUYER = Local("buyer.example", "http://127.0.0.1:9/beckn")
SELLER_ID = "seller.example"
CPUS = 8
"""Logical; more than there are, since replicas and proxies reserve shares of them."""


@dataclass(frozen=True, slots=True)
class Served:
    """What runs.

    Args:
        settings: Its settings.
        url: Where messages go.
        key: The buyer's, whom its registry knows.
    """

    settings: Settings
    url: str
    key: SigningKey


@contextmanager
def serving(folder: Path | None = None) -> Iterator[Served]:
    """Run PostgreSQL, Ray, HAProxy and the Beckn application; nothing is left afterwards.

    Args:
        folder: For state and keys; None makes one and removes it.
    """
    with ExitStack() as stack:
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="gridflex-bench-"))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
        # Ray starts workers at a lower priority, and here the senders are on the same cores.
        ours = {"RAY_TMPDIR": str(folder), MODE_VARIABLE: "disabled", "RAY_worker_niceness": "0"}
        os.environ |= ours
        keys = BecknKeys(folder / "buyer", subscriber_id=BUYER.subscriber_id)
        keys.new("k1")
        settings = _settings(folder, processes.free_port(), keys.current())
        stack.callback(database.stop_embedded, settings)
        database.ensure_database(settings)
        gcs_port = processes.free_port()
        ray_pid = launch.start_ray(settings, gcs_port=gcs_port, num_cpus=CPUS, num_gpus=0)
        stack.callback(processes.end, ray_pid)
        stack.callback(launch.disconnect)
        _serve(settings, f"127.0.0.1:{gcs_port}")
        yield Served(settings, settings.market.url, keys.current())


def _serve(settings: Settings, gcs_address: str) -> None:
    os.environ.setdefault(launch.HA_PROXY_VARIABLE, "1")
    ray.init(address=gcs_address, log_to_driver=False)
    serve.start(http_options={"host": settings.http.host, "port": settings.http.port})
    application = build_beckn(ApplicationArgs(config=write_settings(settings)))
    serve.run(application, name="beckn", route_prefix="/beckn")


def _settings(folder: Path, port: int, key: SigningKey) -> Settings:
    registry = folder / "registry.json"
    record = format_record(
        key.key_id,
        url=BUYER.url,
        kind="BAP",
        public_base64=key.public_base64,
        networks=[NETWORK],
        at=datetime.now(UTC),
    )
    registry.write_text(json.dumps([record]))
    BecknKeys(folder / "market", subscriber_id=SELLER_ID).new("k1")
    return load_settings(
        flags={
            "state_dir": str(folder),
            "http": {"port": port, "auth": "disabled"},
            "sites": [
                {
                    "name": "local",
                    "gpus": 8,
                    "ray_url": f"http://127.0.0.1:{processes.free_port()}",
                }
            ],
            "market": {
                "subscriber_id": SELLER_ID,
                "url": f"http://127.0.0.1:{port}/beckn",
                "network_id": NETWORK,
                "registry_url": f"file://{registry}",
            },
        }
    )


def main() -> None:
    """Serve in a folder, and say where and with which key to sign."""
    if len(sys.argv) < 2:
        return
    with serving(Path(sys.argv[1])) as served:
        said = {"url": served.url, "seed": served.key.seed_base64}
        print(json.dumps(said), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
