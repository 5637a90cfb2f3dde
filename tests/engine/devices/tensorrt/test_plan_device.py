"""The TensorRT device on a GPU of plain memory; with the marker `gpu`, on a real one."""

import gc
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256
from types import SimpleNamespace

import numpy as np
import pytest

from engine.acceptance.gate import check_device
from engine.devices.multi_gpu import MultiGpu
from engine.devices.tensorrt import engine as tensorrt_engine
from engine.devices.tensorrt import plan_device as tensorrt
from engine.devices.tensorrt.library import Library
from engine.devices.tensorrt.plan_device import STREAMS, open_active, open_plan
from engine.errors import BrokenPlan, DeviceFailed, DeviceOutOfMemory, StalePlan, UnknownPlan
from engine.hounsfield import to_float16
from engine.plans.key import Flavour, Options
from tests.engine.devices import fake_gpu
from tests.engine.devices.fake_gpu import SCRATCH, FakeContext, FakeEngine, fake_rtx, fake_tensorrt
from tests.engine.toy_model import toy_answer

SPACING = 0.8, 0.7


def slices(count, rows=40, columns=50):
    random = np.random.default_rng(count)
    return random.integers(-1024, 400, (count, rows, columns)).astype(np.float16)


@pytest.fixture
def plan(keep, toy):
    return keep(b"engine", passed=True, model=toy.digest, options=Options(batch=4, largest=512))


@pytest.fixture
def device(gpu, plan, store, toy):
    return open_plan(plan, store, toy)


@pytest.mark.parametrize("count", [1, 3, 4, 5, 8, 9, 23])
def test_any_number_of_slices_is_answered_in_order(device, count):
    hu = slices(count)
    answer = device.run(hu, SPACING)
    labels, agreement = toy_answer(hu, SPACING)
    np.testing.assert_array_equal(answer.labels, labels)
    np.testing.assert_allclose(answer.agreement, agreement, rtol=1e-6)


def require_same(device, hu):
    answer = device.run(hu, SPACING)
    labels, agreement = toy_answer(hu, SPACING)
    np.testing.assert_array_equal(answer.labels, labels)
    np.testing.assert_allclose(answer.agreement, agreement, rtol=1e-6)


BLOCKS = STREAMS * (2 * 4 + 1)
"""What one size takes: four tensors on both sides, and what TensorRT computes in."""


def test_slices_of_another_size_are_answered_too_and_two_sizes_stay_ready(device, gpu):
    for size, ready in (((40, 50), 1), ((64, 33), 2), ((40, 50), 2), ((9, 9), 2), ((64, 33), 2)):
        require_same(device, slices(9, *size))
        assert len(gpu.blocks) == ready * BLOCKS


def needed(size, count):
    """Bytes of the GPU that both streams take for so many slices at once."""
    return STREAMS * (count * (size[0] * size[1] * (3 + SCRATCH) + 16) + 8)


def test_what_does_not_fit_is_cut_smaller(device, gpu):
    gpu.limit = needed((40, 50), 2)
    require_same(device, slices(9))
    assert device.batch == 16  # the caller's step stays
    assert gpu.taken == gpu.limit


def test_the_streams_of_another_size_go_before_slices_are_cut_smaller(device, gpu):
    gpu.limit = needed((40, 50), 4)
    require_same(device, slices(9, 20, 20))
    require_same(device, slices(9))
    assert gpu.taken == gpu.limit


def test_a_plan_too_small_for_the_slices_that_an_answer_depends_on_is_refused(
    gpu, plan, store, toy
):
    with pytest.raises(DeviceFailed, match=r"takes 4 slices at once.*depends on 5"):
        open_plan(plan, store, seeing(toy, 2))


def seeing(model, neighbours):
    working = model.manifest.working.model_copy(update={"neighbours": neighbours})
    return replace(model, manifest=model.manifest.model_copy(update={"working": working}))


def brightest_answer(hu, spacing_mm):
    """The toy's answer to the brightest of each pixel and those below and above it."""
    below, above = np.concatenate([hu[:1], hu[:-1]]), np.concatenate([hu[1:], hu[-1:]])
    return toy_answer(np.maximum(hu, np.maximum(below, above)), spacing_mm)


@pytest.mark.parametrize("exact", [False, True])
def test_slices_have_their_neighbours_beside_them_wherever_a_call_is_cut(
    gpu, plan, store, toy, monkeypatch, exact
):
    monkeypatch.setattr(fake_gpu, "toy_answer", brightest_answer)
    device = open_plan(plan, store, seeing(toy, 1), exact=exact)
    for count in (5, 1, 3, 4, 9, 2, 23):
        hu = slices(count)
        labels, agreement = brightest_answer(hu, SPACING)
        answer = device.run(hu, SPACING)
        np.testing.assert_array_equal(answer.labels, labels)
        np.testing.assert_allclose(answer.agreement, agreement, rtol=1e-6)


def test_where_not_even_one_slice_fits_the_device_fails_and_gives_all_back(device, gpu):
    gpu.limit = 1000
    with pytest.raises(DeviceOutOfMemory, match=r"failed on .*cudaErrorMemoryAllocation"):
        device.run(slices(2), SPACING)
    assert not gpu.blocks


def test_what_is_under_way_is_waited_for_before_anything_is_given_back(device, gpu):
    launch, short = gpu.cudaGraphLaunch, [gpu.good, gpu.cudaError_t.cudaErrorMemoryAllocation]

    def launch_until_memory_is_short(graph, stream):
        status = short.pop(0) if short else gpu.good
        return launch(graph, stream) if status == gpu.good else (status,)

    gpu.cudaGraphLaunch = launch_until_memory_is_short
    require_same(device, slices(16))
    assert not short
    assert gpu.faults == []


def test_a_device_that_nobody_has_any_more_gives_all_back(gpu, plan, store, toy):
    device = open_plan(plan, store, toy)
    require_same(device, slices(9))
    del device
    gc.collect()
    assert not gpu.blocks
    assert not gpu.graphs


def test_after_a_fault_the_gpu_is_left_alone_until_the_process_ends(device, gpu, plan, store, toy):
    require_same(device, slices(9))
    held = len(gpu.blocks)
    gpu.broken = True
    with pytest.raises(DeviceFailed, match=r"cudaErrorIllegalAddress.*restart the node"):
        device.run(slices(9), SPACING)
    del device
    gc.collect()
    assert len(gpu.blocks) == held  # nothing of it is touched
    with pytest.raises(DeviceFailed, match=r"GPU 0 was lost by this process.*restart the node"):
        open_plan(plan, store, toy)


@pytest.mark.parametrize("size", [(4, 64), (64, 600)])
def test_slices_that_the_plan_does_not_take_are_refused_with_what_would_do(device, size):
    with pytest.raises(DeviceFailed, match=r"takes slices of 8 to 512.*--largest"):
        device.run(slices(1, *size), SPACING)


def test_every_answer_is_computed_by_a_cuda_graph_of_the_full_batch(device, gpu):
    for count in (16, 3, 1, 16, 5):
        require_same(device, slices(count))
    assert gpu.launched == 4 + 1 + 1 + 4 + 2
    assert len(gpu.graphs) == STREAMS
    for size in ((64, 64), (65, 65)):
        require_same(device, slices(1, *size))
    assert len(gpu.graphs) == 2 * STREAMS  # those of the first size were given back


def test_while_one_stream_computes_the_other_is_sent_its_slices(device, gpu):
    at_work, wait = [], gpu.cudaStreamSynchronize

    def wait_and_note(stream):
        at_work.append(sum(bool(work) for work in gpu.streams.values()))
        return wait(stream)

    device.run(slices(1), SPACING)
    gpu.cudaStreamSynchronize = wait_and_note
    require_same(device, slices(16))
    assert at_work == [2, 2, 2, 1]


def test_what_cannot_be_captured_is_computed_all_the_same_and_logged(device, gpu, caplog):
    gpu.capturable = False
    for _ in range(3):
        require_same(device, slices(16))
    assert (gpu.launched, gpu.graphs) == (0, [])
    assert "no CUDA graph for (4, 40, 50) slices (cudaErrorStreamCapture)" in caplog.text
    # Or a library that looks for errors would take it for its own.
    assert gpu.last_error == gpu.good


def test_a_tensorrt_without_memory_by_shape_gets_the_size_it_demands(device, monkeypatch, gpu):
    monkeypatch.delattr(FakeContext, "device_memory")
    require_same(device, slices(9))
    assert gpu.taken > STREAMS * FakeEngine.device_memory_size_v2


def test_after_a_lack_of_memory_larger_batches_are_tried_again_later(device, gpu, monkeypatch):
    gpu.limit = needed((40, 50), 2)
    require_same(device, slices(9))
    gpu.limit = 1 << 30
    require_same(device, slices(9))
    assert device._room == 2
    later = tensorrt.monotonic() + tensorrt.GROW_AFTER_S + 1
    monkeypatch.setattr(tensorrt, "monotonic", lambda: later)
    require_same(device, slices(9))
    assert device._room == 4


def test_every_int16_reaches_the_gpu_clipped_and_converted(device, monkeypatch):
    every = np.arange(-(1 << 15), 1 << 15).astype(np.int16).reshape(4, 128, 128)
    seen = []
    monkeypatch.setattr(
        fake_gpu, "toy_answer", lambda hu, mm: seen.append(hu.copy()) or toy_answer(hu, mm)
    )
    device.run(every, SPACING)
    np.testing.assert_array_equal(seen[-1], to_float16(every))


def test_slices_of_the_usual_size_are_prepared_before_the_device_serves(gpu, plan, store, toy):
    store.activate(plan.name)
    device = open_active(toy, store)
    held = set(gpu.blocks)
    device.run(slices(9, 512, 512), SPACING)
    assert set(gpu.blocks) == held


def test_a_gpu_without_room_for_slices_of_the_usual_size_does_not_serve(gpu, plan, store, toy):
    store.activate(plan.name)
    gpu.limit = needed((512, 512), 1) - 1
    with pytest.raises(DeviceOutOfMemory, match=r"failed on \(1, 512, 512\) slices"):
        open_active(toy, store)


def test_a_plan_that_there_is_no_memory_for_is_one_to_try_again(gpu, plan, store, toy, monkeypatch):
    class Full(fake_tensorrt.Runtime):
        def deserialize_cuda_engine(self, content):
            self.logger.log(1, "deserializeCudaEngine: Error Code 2: OutOfMemory (Requested 1 TB.)")

    monkeypatch.setattr(fake_tensorrt, "Runtime", Full)
    with pytest.raises(DeviceOutOfMemory, match=r"cannot load .*OutOfMemory.* stop other programs"):
        open_plan(plan, store, toy)


def test_every_thread_uses_the_gpu_of_the_plan(device, gpu):
    gpu.used.clear()
    with ThreadPoolExecutor(1) as other:
        other.submit(device.run, slices(1), SPACING).result()
    assert gpu.used == [0]


@pytest.fixture
def exact(gpu, plan, store, toy):
    return open_plan(plan, store, toy, exact=True)


def test_held_to_the_number_of_slices_each_is_computed_as_it_is(exact, gpu, monkeypatch):
    shapes, lend = [], FakeContext.lend

    def lend_and_note(context, address):
        shapes.append(context.shape[0])
        lend(context, address)

    monkeypatch.setattr(FakeContext, "device_memory", property(fset=lend_and_note))
    for count in (1, 3, 4):
        require_same(exact, slices(count))
    assert sorted(set(shapes)) == [1, 3, 4]
    assert gpu.launched == 0


def test_held_to_the_number_of_slices_a_lack_of_memory_gives_no_verdict(exact, gpu, toy):
    gpu.limit = needed((9, 11), 2)
    require_same(exact, slices(2, 9, 11))
    with pytest.raises(DeviceOutOfMemory):
        check_device(toy, exact, range(1, 5))


@pytest.fixture
def rtx(gpu, plan, store, toy, monkeypatch):
    """Open the plan with a TensorRT that compiles kernels and makes graphs by itself."""
    library = Library(Flavour.RTX, fake_rtx.__version__, fake_rtx)
    monkeypatch.setattr(tensorrt, "load_tensorrt", lambda flavour: library)
    return lambda: open_plan(plan, store, toy)


def test_tensorrt_for_rtx_makes_its_own_graphs(rtx, gpu):
    device = rtx()
    require_same(device, slices(23))
    assert gpu.launched == 0


def test_kernels_are_compiled_once_and_found_again(rtx, gpu, plan, store):
    file = store.kernels_file(plan)
    require_same(rtx(), slices(9))
    assert file.read_bytes()[32:] == b"kernels xx"
    require_same(rtx(), slices(3))
    assert file.read_bytes()[32:] == b"kernels xxx"
    assert file.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("how", ["flipped", "cut", "of another plan"])
def test_kernels_that_are_not_those_of_the_plan_are_compiled_again(rtx, plan, store, caplog, how):
    file = store.kernels_file(plan)
    require_same(rtx(), slices(9))
    kept = file.read_bytes()
    spoilt = {
        "flipped": kept[:-1] + b"y",
        "cut": kept[:20],
        "of another plan": sha256(b"other" + kept[32:]).digest() + kept[32:],
    }
    file.write_bytes(spoilt[how])
    require_same(rtx(), slices(3))
    assert "is damaged or belongs to another plan; kernels are compiled again" in caplog.text
    assert file.read_bytes()[32:] == b"kernels x"


def test_kernels_that_another_build_has_kept_are_compiled_again(
    rtx, keep, plan, store, toy, caplog
):
    other = keep(b"engine 2", passed=True, model=toy.digest, options=plan.key.options)
    require_same(open_plan(other, store, toy), slices(9))
    store.kernels_file(plan).write_bytes(store.kernels_file(other).read_bytes())
    require_same(rtx(), slices(3))
    assert "belongs to another plan; kernels are compiled again" in caplog.text


def test_kernels_of_another_driver_are_compiled_again(rtx, plan, store):
    file = store.kernels_file(plan)
    foreign = b"of another driver"
    file.write_bytes(sha256(sha256(b"engine").digest() + foreign).digest() + foreign)
    require_same(rtx(), slices(3))
    assert file.read_bytes()[32:] == b"kernels x"


def test_kernels_that_cannot_be_kept_cost_no_answer(rtx, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tensorrt_engine, "write_durably", full)
    require_same(rtx(), slices(3))


def test_a_tensorrt_that_does_not_start_is_a_failed_device(gpu, plan, store, toy, monkeypatch):
    def nothing(logger):
        logger.log(1, "CUDA initialization failure with error: 35")
        raise TypeError("pybind11::init(): factory function returned nullptr")

    monkeypatch.setattr(fake_tensorrt, "Runtime", nothing)
    with pytest.raises(DeviceFailed, match="does not start: CUDA initialization failure"):
        open_plan(plan, store, toy)


def test_the_memory_that_is_in_use_is_told(device):
    before = device.memory_mb
    device.run(slices(8, 400, 400), SPACING)
    assert device.memory_mb > before


def test_the_memory_of_a_gpu_that_was_lost_is_unknown(device, gpu):
    gpu.cudaSetDevice = lambda index: (gpu.cudaError_t.cudaErrorIllegalAddress,)
    assert device.memory_mb is None


def test_the_device_is_named_by_its_plan(device, plan):
    assert device.name == f"TensorRT {plan.name}"


def test_a_plan_on_the_gpu_passes_the_gate(device, toy):
    assert check_device(toy, device, range(1, 5)).passed


def test_the_active_plan_is_opened(gpu, plan, store, toy):
    with pytest.raises(UnknownPlan, match=r"no plan is active for Fake \(sm89\) and model toy"):
        open_active(toy, store)
    store.activate(plan.name)
    assert open_active(toy, store).name == f"TensorRT {plan.name}"


@pytest.fixture
def active(gpu, plan, store):
    """Two GPUs that a plan is active for."""
    gpu.count = 2
    store.activate(plan.name)


def test_all_gpus_of_a_kind_serve_together_each_with_its_worker(active, gpu, plan, store, toy):
    device = open_active(toy, store)
    assert (device.name, device.batch) == (f"TensorRT {plan.name}", 32)
    gpu.used.clear()
    for count in (1, 2, 23):
        require_same(device, slices(count))
    assert set(gpu.used) == {0, 1}
    assert device.memory_mb == 2 * device.devices[0].memory_mb


def test_gpus_that_serve_together_show_each_other_the_neighbours(
    gpu, plan, store, toy, monkeypatch
):
    monkeypatch.setattr(fake_gpu, "toy_answer", brightest_answer)
    device = MultiGpu([open_plan(plan, store, seeing(toy, 1)) for _ in range(3)])
    for count in (1, 2, 3, 4, 23):
        hu = slices(count)
        np.testing.assert_array_equal(
            device.run(hu, SPACING).labels, brightest_answer(hu, SPACING)[0]
        )


def test_a_gpu_that_cannot_serve_is_left_out(active, gpu, store, toy, caplog):
    use = gpu.cudaSetDevice
    gpu.cudaSetDevice = lambda i: use(i) if i else (gpu.cudaError_t.cudaErrorIllegalAddress,)
    with caplog.at_level("WARNING"):
        device = open_active(toy, store)
    assert device._gpu == 1
    assert "without GPU 0: " in caplog.text
    require_same(device, slices(3))


def test_a_plan_is_run_on_the_gpu_that_it_is_for(gpu, plan, store, toy):
    other = SimpleNamespace(name=b"Old", major=7, minor=5, totalGlobalMem=1 << 30)
    ours = gpu.cudaGetDeviceProperties(0)[1]
    gpu.count, gpu.cudaGetDeviceProperties = 2, lambda index: (gpu.good, (other, ours)[index])
    store.activate(plan.name)
    assert open_plan(plan, store, toy)._gpu == open_active(toy, store)._gpu == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"architecture": "sm86"}, "built for a GPU of sm86, this one is sm89"),
        ({"version": "1.6"}, r"built by tensorrt_rtx 1\.6, installed is 1\.7"),
        ({"flavour": Flavour.TENSORRT}, "built by tensorrt, installed is tensorrt_rtx"),
        ({"model": "b" * 64}, "built for model bbbbbbbbbbbb"),
    ],
)
def test_a_plan_of_others_is_refused_before_it_is_loaded(gpu, keep, store, toy, changes, reason):
    plan = keep(b"engine", passed=True, **({"model": toy.digest} | changes))
    with pytest.raises(StalePlan, match=reason):
        open_plan(plan, store, toy)


def test_a_plan_with_one_byte_flipped_is_refused_before_it_is_loaded(gpu, plan, store, toy):
    plan.path.write_bytes(b"engins")
    with pytest.raises(BrokenPlan):
        open_plan(plan, store, toy)


def test_what_tensorrt_says_of_a_plan_it_refuses_is_told(gpu, keep, store, toy):
    plan = keep(b"other", passed=True, model=toy.digest)
    with pytest.raises(DeviceFailed, match=r"cannot load .*magic tag does not match"):
        open_plan(plan, store, toy)
