"""Power limits through NVML's own interface; the GPUs are simulated."""

import importlib
import inspect
import sys
from pathlib import Path

import pytest
from ray._private.thirdparty.pynvml import pynvml as bindings

from gridflex.adapters.power.guard import keep
from gridflex.adapters.power.nvml import Nvml, counted_by_ray
from gridflex.capping import GpuPower
from gridflex.errors import SourceError
from tests.nvml import BINDINGS, STATE_VARIABLE, FakeGpus


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeGpus:
    """A machine with two H200 on which we are root, found through ``import pynvml``."""
    monkeypatch.syspath_prepend(BINDINGS)
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "gpus.json"))
    return FakeGpus.make(tmp_path / "gpus.json")


def gpu(number: int, model: str = "NVIDIA H200") -> GpuPower:
    return GpuPower(
        f"GPU-{number}", default_w=700, least_w=200, most_w=700, limit_w=700, model=model
    )


def test_gpus_are_read_in_watts(machine: FakeGpus) -> None:
    machine.change()

    first, second = Nvml().gpus()

    assert first == gpu(0)
    assert second.uuid == "GPU-1"


def test_a_limit_is_set_and_stays_when_its_setter_has_gone(machine: FakeGpus) -> None:
    nvml = Nvml()
    nvml.set_limit("GPU-1", 399.0)
    nvml.close()

    assert machine.limits_w == [700.0, 399.0]
    assert Nvml().gpus()[1].limit_w == 399.0


@pytest.mark.parametrize(
    ("changes", "gpu", "watts", "message"),
    [
        pytest.param({"is_root": False}, "GPU-0", 400, "Insufficient Permissions; start Ray as",
                     id="not root"),
        pytest.param({}, "GPU-0", 199, "power limit of 199 W: Invalid Argument", id="too low"),
        pytest.param({}, "GPU-9", 400, "GPU GPU-9.*Not Found", id="no such GPU"),
    ],
)  # fmt: skip
def test_a_limit_that_is_refused_says_why(
    machine: FakeGpus, changes: dict[str, bool], gpu: str, watts: float, message: str
) -> None:
    machine.change(**changes)

    with pytest.raises(SourceError, match=message):
        Nvml().set_limit(gpu, watts)

    assert machine.limits_w == [700.0, 700.0]


def test_a_gpu_without_limits_says_so(machine: FakeGpus) -> None:
    FakeGpus.make(machine.path, has_limit=False)

    with pytest.raises(SourceError, match="GPU 0: Not Supported"):
        Nvml().gpus()


def test_a_machine_without_a_driver_says_so(machine: FakeGpus) -> None:
    machine.change(driver=None)

    with pytest.raises(SourceError, match="NVML: Driver Not Loaded"):
        Nvml()


def test_a_machine_without_bindings_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)

    with pytest.raises(SourceError, match=r"install gridflex\[gpu\]"):
        Nvml()


def test_the_stand_in_has_the_interface_of_the_bindings(machine: FakeGpus) -> None:
    machine.change()
    stand_in = importlib.import_module("pynvml")

    names = [name for name in vars(stand_in) if name.lower().startswith("nvml")]
    for name in names:
        ours, real = getattr(stand_in, name), getattr(bindings, name)
        if inspect.isfunction(ours):
            assert list(inspect.signature(ours).parameters) == list(
                inspect.signature(real).parameters
            ), name
        elif isinstance(ours, int):
            assert ours == real, name
    for number in stand_in.NVMLError._TEXT:
        real = bindings.NVMLError(number)  # type: ignore[no-untyped-call]
        assert str(stand_in.NVMLError(number)) == str(real)
        real_class = type(real).__name__
        assert type(stand_in.NVMLError(number)).__name__ in {real_class, "NVMLError"}
    assert len(names) >= 15


@pytest.mark.parametrize(
    ("visible", "expected"),
    [(None, "012"), ("2,0", "20"), ("GPU-1", "1"), (" 1 , 2 ", "12"), ("", "")],
)
def test_gpus_are_counted_as_ray_does(visible: str | None, expected: str) -> None:
    raylet = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}

    found = counted_by_ray(tuple(map(gpu, range(3))), raylet)

    assert [gpu.uuid[-1] for gpu in found] == list(expected)


def test_a_gpu_that_nvml_does_not_know_is_named() -> None:
    with pytest.raises(SourceError, match="CUDA_VISIBLE_DEVICES names 7"):
        counted_by_ray((gpu(0),), {"CUDA_VISIBLE_DEVICES": "0,7"})


MIXED = (gpu(0), gpu(1, "NVIDIA A100"))


@pytest.mark.parametrize("raylet", [{}, {"CUDA_VISIBLE_DEVICES": "0"}])
def test_gpus_that_differ_are_not_counted_in_an_order_that_cuda_may_not_share(
    raylet: dict[str, str],
) -> None:
    for order in ({}, {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}):
        with pytest.raises(SourceError, match=r"H200\) and CUDA.*CUDA_DEVICE_ORDER=PCI_BUS_ID"):
            counted_by_ray(MIXED, raylet | order)

    assert counted_by_ray(MIXED, raylet | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"})[0] == gpu(0)


def test_gpus_that_differ_and_are_named_by_what_they_are_need_no_order() -> None:
    assert counted_by_ray(MIXED, {"CUDA_VISIBLE_DEVICES": "GPU-1,GPU-0"}) == MIXED[::-1]


def test_a_guard_keeps_what_was_promised_and_not_released(tmp_path: Path) -> None:
    (tmp_path / "said").write_text("GPU-0 700.0\nGPU-1 650\n\nGPU-0\nGPU-2 700\nGPU-2 690.5\n")

    with (tmp_path / "said").open() as lines:
        assert keep(lines) == {"GPU-1": 650.0, "GPU-2": 690.5}
