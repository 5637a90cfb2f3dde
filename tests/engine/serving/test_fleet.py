import sys
import weakref

import numpy as np
import onnx
import pytest

from engine.devices.tensorrt import plan_device as tensorrt
from engine.errors import DeviceFailed, DeviceOutOfMemory, StalePlan
from engine.model import load_model
from engine.serving import fleet
from engine.serving.fleet import Fleet, Opener, openers
from tests.engine.plans.convolution_model import write_convolution_model
from tests.engine.plans.factories import make_check
from tests.engine.toy_model import write_manifest


class Named:
    batch = 1

    def __init__(self, name):
        self.name = name


class Switch:
    """An opener that opens what it is told to, and counts."""

    def __init__(self, name, opens=True):
        self.name, self.opens, self.mark, self.count = name, opens, 0, 0
        self.error, self.opening = None, lambda: None

    def open(self):
        self.count += 1
        self.opening()
        if not self.opens:
            raise StalePlan("built for another GPU")
        if self.error:
            raise self.error
        return Named(f"{self.name} {self.mark}")

    def opener(self):
        return Opener(self.name, self.open, lambda: self.mark)


@pytest.fixture
def fast():
    return Switch("fast")


@pytest.fixture
def slow():
    return Switch("slow")


@pytest.fixture
def devices(fast, slow):
    return Fleet([fast.opener(), slow.opener()])


def test_the_first_in_order_serves_and_is_opened_once(devices, fast, slow):
    assert {devices.device().name for _ in range(3)} == {"fast 0"}
    assert (fast.count, slow.count) == (1, 0)


def test_where_the_first_cannot_the_next_serves_and_the_log_says_why(devices, fast, caplog):
    fast.opens = False
    with caplog.at_level("INFO"):
        assert devices.device().name == "slow 0"
    assert "skipped fast: built for another GPU" in caplog.text
    assert "on slow 0" in caplog.text


def test_another_plan_is_taken_up_by_the_next_job(devices, fast, slow):
    first = devices.device()
    fast.mark = 1
    assert devices.device().name == "fast 1"
    assert first.name == "fast 0"  # the job that had it goes on with it
    fast.mark, fast.opens = 2, False
    assert devices.device().name == "slow 0"
    fast.mark, fast.opens = 3, True
    assert devices.device().name == "fast 3"


def test_what_serves_is_not_opened_again_because_another_one_changed(devices, fast, slow):
    fast.opens = False
    devices.device()
    fast.mark = 1
    devices.device()
    assert (fast.count, slow.count) == (2, 1)


def test_a_device_that_fails_waits_while_the_next_serves(devices, fast, monkeypatch):
    devices.report_failure(devices.device(), DeviceFailed("out of memory"))
    assert [devices.device().name for _ in range(2)] == ["slow 0", "slow 0"]
    assert fast.count == 1
    later = fleet.monotonic() + fleet.RETRY_AFTER_S + 1
    monkeypatch.setattr(fleet, "monotonic", lambda: later)
    assert devices.device().name == "fast 0"


def test_a_device_without_memory_to_open_is_tried_again_later(devices, fast, monkeypatch):
    fast.error = DeviceOutOfMemory("another plan is still at work")
    assert [devices.device().name for _ in range(2)] == ["slow 0", "slow 0"]
    assert fast.count == 1
    fast.error = None
    later = fleet.monotonic() + fleet.RETRY_AFTER_S + 1
    monkeypatch.setattr(fleet, "monotonic", lambda: later)
    assert devices.device().name == "fast 0"


def test_where_nothing_serves_a_device_that_failed_before_is_named_too(devices, fast, slow):
    fast.error, slow.error = DeviceOutOfMemory("no memory"), DeviceFailed("no graph")
    with pytest.raises(DeviceFailed, match="no memory"):
        devices.device()
    with pytest.raises(DeviceFailed, match=r"fast: it failed less than.*slow: no graph"):
        devices.device()


def test_the_plan_before_is_let_go_before_the_next_is_opened(devices, fast):
    before = weakref.ref(devices.device())
    there = []
    fast.opening = lambda: there.append(before())
    fast.mark = 1
    assert devices.device().name == "fast 1"
    assert there == [None]


def test_a_device_that_is_released_is_gone_and_the_next_job_opens_it_again(devices, fast):
    before = weakref.ref(devices.device())
    devices.release()
    assert before() is None
    devices.device()
    assert fast.count == 2


def test_a_device_that_failed_is_tried_at_once_with_another_plan(devices, fast):
    devices.report_failure(devices.device(), DeviceFailed("out of memory"))
    devices.device()
    fast.mark = 1
    assert devices.device().name == "fast 1"


def test_the_last_device_to_fail_fails_the_job_and_not_the_node(devices):
    devices.report_failure(devices.device(), DeviceFailed("one"))
    with pytest.raises(DeviceFailed, match="two"):
        devices.report_failure(devices.device(), DeviceFailed("two"))
    assert devices.device().name == "fast 0"


def test_a_device_that_fails_late_costs_the_one_that_serves_now_nothing(devices, fast):
    before = devices.device()
    fast.mark = 1
    now = devices.device()
    devices.report_failure(before, DeviceFailed("out of memory"))
    assert devices.device() is now


def test_where_none_can_serve_each_says_why(devices, fast, slow):
    fast.opens = slow.opens = False
    with pytest.raises(DeviceFailed, match="fast: built for another GPU; slow: built"):
        devices.device()


def test_without_plans_the_processor_serves(toy, tmp_path):
    assert Fleet(openers(toy, tmp_path / "absent", threads=1)).device().name == "OpenVINO CPU"


def spoil(plan, how):
    content = plan.path.read_bytes()
    if how == "cut in half":
        plan.path.write_bytes(content[: len(content) // 2])
    elif how == "one bit flipped":
        plan.path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    else:
        plan.path.unlink()


@pytest.mark.parametrize(
    ("how", "complaint"),
    [
        ("cut in half", "its manifest says"),
        ("one bit flipped", "is not what was built"),
        ("gone", "cannot read"),
    ],
)
def test_an_active_plan_that_broke_leaves_the_node_serving(
    gpu, toy, keep, store, caplog, how, complaint
):
    plan = keep(b"engine", passed=True, model=toy.digest)
    store.activate(plan.name)
    serving = Fleet(openers(toy, store.folder, threads=1))
    assert serving.device().name == f"TensorRT {plan.name}"
    spoil(plan, how)
    with caplog.at_level("INFO"):
        assert Fleet(openers(toy, store.folder, threads=1)).device().name == "OpenVINO CPU"
    assert complaint in caplog.text
    assert serving.device().name == f"TensorRT {plan.name}"  # what is loaded already goes on


def test_a_plan_that_passed_elsewhere_and_answers_wrongly_here_does_not_serve(
    gpu, toy, keep, store, caplog, monkeypatch
):
    store.activate(keep(b"engine", passed=True, model=toy.digest).name)
    run = tensorrt.TensorRt.run
    monkeypatch.setattr(tensorrt.TensorRt, "run", lambda self, hu, mm: run(self, hu + 60, mm))
    with caplog.at_level("INFO"):
        assert Fleet(openers(toy, store.folder, threads=1)).device().name == "OpenVINO CPU"
    assert "deviates from the reference of model toy 0.1" in caplog.text


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"version": "1.6"}, "built by tensorrt_rtx 1.6, installed is 1.7"),
        ({"model": "b" * 64}, "no plan is active for Fake"),
        ({"architecture": "sm120"}, "no plan is active for Fake"),
    ],
)
def test_an_active_plan_of_others_leaves_the_node_serving(
    gpu, toy, keep, store, caplog, changes, complaint
):
    store.activate(keep(b"engine", passed=True, **({"model": toy.digest} | changes)).name)
    with caplog.at_level("INFO"):
        assert Fleet(openers(toy, store.folder, threads=1)).device().name == "OpenVINO CPU"
    assert complaint in caplog.text


@pytest.mark.parametrize(
    ("status", "complaint"),
    [
        ("cudaErrorInsufficientDriver", "install a newer driver"),
        ("cudaErrorIllegalAddress", "cudaErrorIllegalAddress"),
    ],
)
def test_a_driver_that_is_too_old_or_in_trouble_leaves_the_node_serving(
    gpu, toy, keep, store, caplog, status, complaint
):
    store.activate(keep(b"engine", passed=True, model=toy.digest).name)
    gpu.cudaGetDeviceCount = lambda: (getattr(gpu.cudaError_t, status), None)
    with caplog.at_level("INFO"):
        assert Fleet(openers(toy, store.folder, threads=1)).device().name == "OpenVINO CPU"
    assert complaint in caplog.text


def test_a_plan_that_is_rejected_while_it_serves_is_left_by_the_next_job(
    gpu, toy, keep, store, caplog
):
    plan = keep(b"engine", passed=True, model=toy.digest)
    store.activate(plan.name)
    serving = Fleet(openers(toy, store.folder, threads=1))
    assert serving.device().name == f"TensorRT {plan.name}"
    store.record_check(plan, make_check(passed=False))
    with caplog.at_level("INFO"):
        assert serving.device().name == "OpenVINO CPU"
    assert "was rejected: batch 1: liver Dice 0.5" in caplog.text


def test_a_torch_whose_libraries_are_not_there_leaves_the_node_serving(
    toy_folder, tmp_path, monkeypatch, caplog
):
    class Broken:
        def find_spec(self, name, path, target=None):
            if name == "engine.devices.torch_gpu":
                raise OSError("libcudart.so.12: cannot open shared object file")

    (toy_folder / "ensemble.pt2").write_bytes(b"")
    write_manifest(toy_folder)
    monkeypatch.delitem(sys.modules, "engine.devices.torch_gpu", raising=False)
    monkeypatch.delattr("engine.devices.torch_gpu", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with caplog.at_level("INFO"):
        device = Fleet(openers(load_model(toy_folder), tmp_path, threads=1)).device()
    assert device.name == "OpenVINO CPU"
    assert "torch cannot be imported (libcudart" in caplog.text


def test_a_serving_file_that_makes_no_sense_leaves_the_node_serving(toy, store, keep, caplog):
    keep(b"engine")
    (store.folder / "serving.json").write_text("{")
    with caplog.at_level("INFO"):
        assert Fleet(openers(toy, store.folder, threads=1)).device().name == "OpenVINO CPU"
    assert "serving.json" in caplog.text


def test_weights_that_are_no_numbers_serve_on_no_device(tmp_path):
    folder = write_convolution_model(tmp_path / "small", labelled=True)
    healthy = Fleet(openers(load_model(folder), tmp_path, threads=1))
    assert healthy.device().name == "OpenVINO CPU"
    graph = onnx.load(folder / "ensemble.onnx")
    (weights,) = (each for each in graph.graph.initializer if each.name == "w2")
    nothing = np.full(weights.dims, np.nan, np.float32)
    weights.CopyFrom(onnx.numpy_helper.from_array(nothing, "w2"))
    onnx.save(graph, folder / "ensemble.onnx")
    write_manifest(folder)
    with pytest.raises(DeviceFailed, match="OpenVINO CPU deviates from the reference of model toy"):
        Fleet(openers(load_model(folder), tmp_path, threads=1)).device()
