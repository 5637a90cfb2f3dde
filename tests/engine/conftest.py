"""A toy model, volumes for it, and plans that nobody built."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from engine.device import Device
from engine.model import Model, default_model_folder, load_model
from engine.plans.store import PlanStore
from engine.volume import Geometry, Volume
from tests.engine.devices.fake_gpu import installed
from tests.engine.plans.factories import make_check, make_key, make_manifest
from tests.engine.toy_model import write_toy_model

MakeVolume = Callable[..., Volume]


@pytest.fixture
def make_volume() -> MakeVolume:
    """Wrap Hounsfield units as a volume; spacing is (slice, row, column)."""

    def make(hu, spacing_mm=(5.0, 0.8, 0.7)) -> Volume:
        hu = np.asarray(hu, np.int16)
        return Volume(hu, Geometry(hu.shape, np.diag([*spacing_mm, 1.0]), "1.2.3"))

    return make


@pytest.fixture
def toy_folder(tmp_path) -> Path:
    """A model folder that a test may spoil."""
    return write_toy_model(tmp_path / "toy")


@pytest.fixture(scope="session")
def toy(tmp_path_factory) -> Model:
    return load_model(write_toy_model(tmp_path_factory.mktemp("models") / "toy"))


@pytest.fixture(scope="session")
def toy_device(toy) -> Device:
    return open_processor(toy, threads=1)


def open_processor(model: Model, *, threads: int | None = None) -> Device:
    """Open OpenVINO in float32, or ONNX Runtime where OpenVINO is not installed."""
    try:
        from engine.devices.openvino_cpu import open_openvino
    except ImportError:
        from engine.devices.onnxruntime_cpu import open_onnxruntime

        return open_onnxruntime(model, threads=threads)
    return open_openvino(model, threads=threads)


@pytest.fixture(scope="session")
def base() -> Model:
    """The model that comes with Hepar, or a skip before it is there."""
    if not (default_model_folder() / "model.json").exists():
        pytest.skip(f"no default model in {default_model_folder()}")
    return load_model(default_model_folder())


@pytest.fixture
def gpu(monkeypatch):
    """A GPU of plain memory with TensorRT; plans may be for slices as small as the toy's."""
    runtime = installed(monkeypatch)
    yield runtime
    assert runtime.faults == []


@pytest.fixture
def store(tmp_path):
    return PlanStore(tmp_path / "plans")


@pytest.fixture
def keep(store):
    """Keep a plan of this content; `passed` tells how the gate took it, None that it was not."""

    def make(content, passed=None, **changes):
        with store.building():
            plan = store.keep(make_manifest(content, make_key(**changes)), content)
        return plan if passed is None else store.record_check(plan, make_check(passed))

    return make
