"""How long the LSTM trains on this machine's GPU or CPU, and how well.

``python bench/lstm_device.py`` prepares GB carbon intensity of 2020-23 from the recorded series in
``GRIDFLEX_SHARED`` and trains on the best device there is. ``--write arrays.npz`` stops after
preparing; ``--arrays arrays.npz`` trains on such a file, and then needs nothing but NumPy, PyTorch
and Lightning: ``PYTHONPATH=. python bench/lstm_device.py --arrays arrays.npz``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import torch

from gridflex.forecasting.lstm_network import LstmSettings
from gridflex.forecasting.lstm_training import Fitted, train
from gridflex.forecasting.sequences import Sequences
from gridflex.halfhour import HalfHour


def main() -> None:
    """Prepare or read the arrays, train, and print one line of JSON at the end."""
    options = _options()
    settings = LstmSettings(epochs=options.epochs)
    if options.arrays:
        sequences = Sequences.from_bytes(options.arrays.read_bytes())
    else:
        sequences = recorded(settings)
    if options.write:
        options.write.write_bytes(sequences.to_bytes())
        print(f"{options.write}: {options.write.stat().st_size / 2**20:.1f} MiB")
        return
    started = time.perf_counter()

    def tell(epoch: int, loss: float) -> None:
        print(
            f"epoch {epoch:2d}  loss {loss:.4f}  {time.perf_counter() - started:6.1f} s", flush=True
        )

    fitted = train(sequences, settings, accelerator=options.accelerator, on_epoch=tell)
    print(json.dumps(figures(fitted, settings, train_s=time.perf_counter() - started)))


def figures(fitted: Fitted, settings: LstmSettings, *, train_s: float) -> dict[str, object]:
    """Return what a reader needs to compare two machines."""
    on_gpu = fitted.device.startswith("cuda")
    return {
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "torch": torch.__version__,
        "train_s": round(train_s, 1),
        "epochs": len(fitted.losses),
        "s_per_epoch": round(train_s / len(fitted.losses), 2),
        "best_loss": round(min(fitted.losses), 4),
        "losses": [round(loss, 4) for loss in fitted.losses],
        "settings": asdict(settings),
    }


def recorded(settings: LstmSettings) -> Sequences:
    """Return the arrays of GB carbon intensity as known at the end of 2023."""
    from gridflex.forecasting.lstm import prepare  # noqa: PLC0415 - what a bare machine lacks
    from gridflex.sandbox.grid.histories import read_history  # noqa: PLC0415

    folder = Path(os.environ.get("GRIDFLEX_SHARED", "../shared")) / "data" / "grid"
    if not folder.exists():
        sys.exit(f"no recorded series at {folder}; set GRIDFLEX_SHARED")
    known = read_history(folder).known_at(HalfHour(datetime(2024, 1, 1, tzinfo=UTC)))
    return prepare(known, ahead=settings.ahead)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train the LSTM on the best device there is.")
    parser.add_argument("--arrays", type=Path, help="train on this file")
    parser.add_argument("--write", type=Path, help="write the arrays to this file and stop")
    parser.add_argument("--accelerator", default="auto", help="auto, cpu or gpu")
    parser.add_argument("--epochs", type=int, default=LstmSettings().epochs, help="at most")
    return parser.parse_args()


if __name__ == "__main__":
    main()
