"""TensorRT, torch and OpenVINO made to fail in turn, at every moment of a job.

The job ends on the next device with the same labels, and the log names the device that failed.
TensorRT runs on the GPU of plain memory; torch's accelerator is the processor.
"""

import re

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch comes with the extra `trainer`")

from engine.devices import torch_gpu
from engine.devices.torch_gpu import open_nearest
from engine.errors import DeviceFailed, LibraryMissing
from engine.model import load_model
from engine.plans.key import Options
from engine.segmentation.segment import segment
from engine.serving.fleet import Fleet, openers
from tests.engine.serving.breaker import MOMENTS, NAMES, Breaker
from tests.engine.toy_model import LIVER_HU, TUMOUR_HU, toy_answer
from tests.engine.toy_program import write_toy_with_program


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(write_toy_with_program(tmp_path_factory.mktemp("models") / "toy"))


@pytest.fixture
def fleet(model, gpu, keep, store, monkeypatch):
    """All three devices present, each able to serve."""
    options = Options(batch=4, largest=512)
    plan = keep(b"engine", passed=True, model=model.digest, options=options)
    store.activate(plan.name)
    monkeypatch.setattr(torch_gpu, "open_accelerator", lambda model: open_nearest(model, "cpu"))
    return Fleet(openers(model, store.folder, threads=1))


@pytest.fixture
def volume(make_volume):
    """Liver in all of 60 slices, so that every device needs several calls."""
    hu = np.full((60, 24, 30), -50)
    hu[:, 4:20, 4:24] = LIVER_HU
    hu[20:40, 8:14, 8:14] = TUMOUR_HU
    return make_volume(hu, (2.5, 0.8, 0.7))


@pytest.fixture
def breaker(monkeypatch, gpu):
    yield Breaker(monkeypatch, gpu)
    gpu.broken = False


def done(fleet, breaker, volume):
    """Do a job as a node does; return the device that ended it, and the labels."""
    while True:
        device = fleet.device()
        breaker.armed = True
        try:
            return device.name, segment(volume, device).label_map.labels
        except DeviceFailed as error:
            fleet.report_failure(device, error)
        finally:
            breaker.armed = False


def expected(volume):
    return toy_answer(volume.hu, (0.8, 0.7))[0]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize(
    ("failing", "serving"), [(["TensorRT"], "torch"), (["TensorRT", "torch"], "OpenVINO")]
)
def test_the_job_ends_on_the_next_device_with_the_same_labels(
    fleet, breaker, volume, caplog, failing, serving, moment
):
    for device in failing:
        breaker.fail(device, moment)
    with caplog.at_level("INFO"):
        name, labels = done(fleet, breaker, volume)
    assert name.startswith(NAMES[serving])
    np.testing.assert_array_equal(labels, expected(volume))
    for device in failing:
        named = device if moment == "opening" else NAMES[device]
        assert re.search(rf"{named}.*{moment} made here", caplog.text), caplog.text
    assert f"serving on {NAMES[serving]}" in caplog.text


@pytest.mark.parametrize("moment", MOMENTS[1:])
def test_where_all_fail_the_job_fails_and_the_next_job_tries_the_first_again(
    fleet, breaker, volume, moment
):
    for device in NAMES:
        breaker.fail(device, moment)
    with pytest.raises(DeviceFailed, match=f"{NAMES['OpenVINO']}.*{moment} made here"):
        done(fleet, breaker, volume)
    assert fleet.device().name.startswith("torch" if moment == "sticky error" else "TensorRT")


def test_where_none_can_be_opened_the_error_names_each_with_its_reason(fleet, breaker, volume):
    for device in NAMES:
        breaker.fail(device, "opening")
    with pytest.raises(DeviceFailed, match=r"TensorRT: opening .*; torch: opening .*; OpenVINO: "):
        done(fleet, breaker, volume)


@pytest.fixture
def without(model, store, monkeypatch):
    """Make devices impossible to open on this machine; returns the devices that are left."""

    def absent(*_, **__):
        raise LibraryMissing("not installed here")

    def leave(device):
        if device != "TensorRT":
            monkeypatch.setattr("engine.devices.tensorrt.plan_device.open_active", absent)
        if device != "torch":
            monkeypatch.setattr("engine.devices.torch_gpu.open_accelerator", absent)
        if device != "OpenVINO":
            monkeypatch.setattr("engine.devices.openvino_cpu.open_openvino", absent)

    return leave


@pytest.mark.parametrize("moment", MOMENTS[1:])
@pytest.mark.parametrize("only", NAMES)
def test_where_there_is_one_device_its_failure_ends_that_job_and_the_next_one_works(
    fleet, breaker, volume, without, only, moment
):
    without(only)
    with breaker.broken(only, moment), pytest.raises(DeviceFailed, match=f"{moment} made here"):
        done(fleet, breaker, volume)
    if (only, moment) == ("TensorRT", "sticky error"):
        with pytest.raises(DeviceFailed, match="GPU 0 was lost by this process"):
            done(fleet, breaker, volume)
        return
    name, labels = done(fleet, breaker, volume)
    assert name.startswith(NAMES[only])
    np.testing.assert_array_equal(labels, expected(volume))


@pytest.mark.parametrize("error", [DeviceFailed, RuntimeError])
@pytest.mark.parametrize("only", NAMES)
def test_where_the_one_device_cannot_be_opened_the_job_fails_and_a_later_one_works(
    fleet, breaker, volume, without, only, error
):
    without(only)
    with breaker.broken(only, "opening", error):
        for _ in range(2):
            with pytest.raises(DeviceFailed, match=f"{only}: .*opening made here"):
                done(fleet, breaker, volume)
    name, _ = done(fleet, breaker, volume)
    assert name.startswith(NAMES[only])


def test_with_nothing_wrong_the_first_device_serves(fleet, breaker, volume):
    name, labels = done(fleet, breaker, volume)
    assert name.startswith(NAMES["TensorRT"])
    np.testing.assert_array_equal(labels, expected(volume))
