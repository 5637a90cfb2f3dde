"""The TensorRT device on a GPU of plain memory; with the marker `gpu`, on a real one."""

import numpy as np
import pytest

from engine.devices.tensorrt import open_active, open_plan
from engine.errors import BrokenPlan, DeviceFailed, StalePlan, UnknownPlan
from engine.plans.gate import check_device
from engine.plans.key import Flavour, Options
from tests.engine.toy import toy_answer

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


def test_slices_of_another_size_are_answered_too_and_memory_is_given_back(device, gpu):
    for size in ((40, 50), (64, 33), (40, 50)):
        hu = slices(9, *size)
        np.testing.assert_array_equal(device.run(hu, SPACING).labels, toy_answer(hu, SPACING)[0])
    assert len(gpu.blocks) == 2 * 2 * 4  # lanes, sides, tensors


def test_what_does_not_fit_is_cut_smaller(device, gpu):
    gpu.limit = 2 * 2 * (2 * 40 * 50 * 3 + 100)  # two slices a lane
    hu = slices(9)
    np.testing.assert_array_equal(device.run(hu, SPACING).labels, toy_answer(hu, SPACING)[0])
    assert device.batch == 16  # the caller's step stays


def test_where_not_even_one_slice_fits_the_device_fails_and_gives_all_back(device, gpu):
    gpu.limit = 1000
    with pytest.raises(DeviceFailed, match=r"cannot run .*cudaErrorMemoryAllocation"):
        device.run(slices(2), SPACING)
    assert not gpu.blocks


@pytest.mark.parametrize("size", [(4, 64), (64, 600)])
def test_slices_that_the_plan_does_not_take_are_refused_with_what_would_do(device, size):
    with pytest.raises(DeviceFailed, match=r"takes slices of 8 to 512.*--largest"):
        device.run(slices(1, *size), SPACING)


def test_what_comes_again_is_computed_by_a_cuda_graph(device, gpu):
    for count in (16, 16, 16, 3, 16, 16):
        hu = slices(count)
        np.testing.assert_array_equal(device.run(hu, SPACING).labels, toy_answer(hu, SPACING)[0])
    assert gpu.launched > 4
    device.run(slices(1, 64, 64), SPACING)
    assert gpu.graphs == []  # given back with the lanes


def test_what_cannot_be_captured_is_computed_all_the_same(device, gpu):
    gpu.capturable = False
    for _ in range(3):
        hu = slices(16)
        np.testing.assert_array_equal(device.run(hu, SPACING).labels, toy_answer(hu, SPACING)[0])
    assert gpu.launched == 0


def test_the_memory_that_is_in_use_is_told(device):
    before = device.memory_mb
    device.run(slices(8, 400, 400), SPACING)
    assert device.memory_mb > before


def test_the_device_is_named_by_its_plan(device, plan):
    assert device.name == f"TensorRT {plan.name}"


def test_a_plan_on_the_gpu_passes_the_gate(device, toy):
    assert check_device(toy, device, range(1, 5)).passed


def test_the_active_plan_is_opened(gpu, plan, store, toy):
    with pytest.raises(UnknownPlan, match=r"no plan is active for Fake \(sm89\) and model toy"):
        open_active(toy, store)
    store.activate(plan.name)
    assert open_active(toy, store).name == f"TensorRT {plan.name}"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"architecture": "sm86"}, "built for a GPU of sm86, this one is sm89"),
        ({"version": "1.6"}, r"built by tensorrt_rtx 1\.6, here is 1\.7"),
        ({"flavour": Flavour.TENSORRT}, "built by tensorrt, here is tensorrt_rtx"),
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
