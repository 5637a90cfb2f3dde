"""The batch size measured when a plan is opened, on a GPU of plain memory with a set pace."""

import numpy as np
import pytest

from engine.acceptance.gate import check_device
from engine.devices.batch_size import candidates, checked_sizes
from engine.devices.tensorrt import plan_device as tensorrt
from engine.devices.tensorrt.builder import TUNED_BATCH, tuned_batch
from engine.devices.tensorrt.library import Library
from engine.devices.tensorrt.plan_device import PARTS, STREAMS, open_active, open_plan
from engine.errors import DeviceOutOfMemory
from engine.plans.key import Flavour, Options
from tests.engine.devices.fake_gpu import SCRATCH, FakeContext, fake_rtx
from tests.engine.devices.tensorrt.test_plan_device import seeing
from tests.engine.toy_model import toy_answer

SPACING = 0.8, 0.7
SIDE = 32
MOST = 64

PACE = {4: 3.0, 8: 2.0, 16: 1.0, 32: 1.4, 64: 1.2}
"""Time of one slice by batch size: 16 at once are the fastest."""


@pytest.fixture
def pace():
    return dict(PACE)


@pytest.fixture
def computed(monkeypatch, pace):
    """A clock that only computing moves; returns the batch sizes that were computed, in order."""
    now, sizes = [0.0], []
    compute = FakeContext.compute

    def timed(context):
        size, rows, _ = context.shape
        if rows >= SIDE:  # not those of the reference
            sizes.append(size)
            now[0] += size * pace.get(size, 9.0)
        compute(context)

    monkeypatch.setattr(FakeContext, "compute", timed)
    monkeypatch.setattr(tensorrt, "perf_counter", lambda: now[0])
    return sizes


@pytest.fixture
def active(gpu, keep, store, toy, computed):
    """Activate a plan that takes so many slices at once."""

    def make(most=MOST):
        options = Options(batch=most, usual=SIDE, largest=64)
        plan = keep(b"engine", passed=True, model=toy.digest, options=options)
        return store.activate(plan.name)

    return make


@pytest.fixture
def opened(active, store, toy):
    def opened(most=MOST):
        active(most)
        return open_active(toy, store)

    return opened


def slices(count, side=SIDE):
    random = np.random.default_rng(count)
    return random.integers(-1024, 400, (count, side, side)).astype(np.int16)


def require_same(device, hu):
    np.testing.assert_array_equal(device.run(hu, SPACING).labels, toy_answer(hu, SPACING)[0])


def needed(count):
    """Bytes of the GPU that both streams take for so many slices at once."""
    return STREAMS * (count * (SIDE * SIDE * (3 + SCRATCH) + 16) + 8)


@pytest.mark.parametrize("fastest", sorted(PACE))
def test_the_fastest_of_the_batch_sizes_is_the_one_that_serves(opened, pace, computed, fastest):
    pace[fastest] = 0.5
    device = opened()
    assert set(computed) == set(PACE)
    computed.clear()
    require_same(device, slices(3 * fastest))
    assert set(computed) == {fastest}
    assert device.batch == PARTS * fastest


def test_of_nearly_equal_batch_sizes_the_smallest_serves(opened, pace):
    pace |= {8: 1.03, 64: 0.99}
    assert opened().batch == PARTS * 8


def test_no_batch_size_is_measured_that_the_plan_does_not_take(opened, computed):
    device = opened(12)
    assert set(computed) == {4, 8, 12}
    assert device.batch == PARTS * 8


def test_a_plan_of_one_batch_size_is_prepared_and_not_measured(opened, computed):
    device = opened(4)
    # Each stream once, before its graph is captured, and the call that opened them.
    assert computed == [4] * (STREAMS + 1)
    assert device.batch == PARTS * 4


def test_the_faster_of_two_runs_counts(opened, monkeypatch):
    # Another program slowed the first run of the size that is the faster one.
    times = iter((2.0, 2.0, 9.0, 1.0))
    monkeypatch.setattr(tensorrt.TensorRt, "_seconds", lambda device, some: next(times))
    assert opened(8).batch == PARTS * 8


def test_what_is_measured_was_prepared_before(opened, monkeypatch, gpu):
    seconds, opened_here = tensorrt.TensorRt._seconds, []

    def noted(device, some):
        before = set(gpu.blocks), len(gpu.graphs)
        took = seconds(device, some)
        opened_here.append((set(gpu.blocks), len(gpu.graphs)) != before)
        return took

    monkeypatch.setattr(tensorrt.TensorRt, "_seconds", noted)
    opened()
    assert opened_here == [False] * 2 * len(PACE)


def test_only_the_batch_size_that_serves_keeps_memory_and_graphs(opened, gpu):
    device = opened()
    assert list(device._streams) == [(16, SIDE, SIDE)]
    assert len(gpu.graphs) == STREAMS
    held = set(gpu.blocks)
    require_same(device, slices(40))
    assert set(gpu.blocks) == held


def test_batch_sizes_that_there_is_no_memory_for_are_not_chosen(opened, pace, gpu, computed):
    gpu.limit = needed(16)
    pace[64] = 0.1
    device = opened()
    assert device.batch == PARTS * 16
    assert 64 not in computed  # nor was it tried


def later(monkeypatch):
    """Move the clock on by what a device waits after a shortage."""
    at = tensorrt.monotonic() + tensorrt.GROW_AFTER_S + 1
    monkeypatch.setattr(tensorrt, "monotonic", lambda: at)


def test_after_a_shortage_the_measured_batch_size_comes_back_and_no_larger_one(
    opened, gpu, computed, monkeypatch
):
    device = opened()
    gpu.limit = needed(5)
    require_same(device, slices(9, SIDE + 1))  # of another size, or nothing would be allocated
    gpu.limit = 1 << 30
    for expected in (8, 16, 16):
        later(monkeypatch)
        computed.clear()
        require_same(device, slices(99))
        assert set(computed) == {expected}


def test_doubling_stops_at_the_measured_batch_size(
    active, store, toy, pace, gpu, computed, monkeypatch
):
    pace[8] = 0.5
    active()
    device = open_active(seeing(toy, 1), store)
    gpu.limit = needed(4)  # of the other size only 3: a slice with both its neighbours
    require_same(device, slices(9, SIDE + 1))
    gpu.limit = 1 << 30
    for expected in (6, 8, 8):
        later(monkeypatch)
        computed.clear()
        require_same(device, slices(99))
        assert set(computed) == {expected}


def test_where_nothing_could_be_measured_the_batch_size_grows_to_the_tuned_one_later(
    opened, gpu, computed, monkeypatch
):
    gpu.limit = needed(2)
    device = opened()
    gpu.limit = 1 << 30
    for expected in (4, 8, TUNED_BATCH, TUNED_BATCH):
        later(monkeypatch)
        computed.clear()
        require_same(device, slices(99))
        assert set(computed) == {expected}


@pytest.mark.parametrize("most", [12, 24])
def test_no_batch_size_is_ever_computed_that_the_gate_has_not_seen(
    opened, pace, gpu, computed, monkeypatch, most
):
    for fastest in candidates(most):
        pace.update(PACE | {fastest: 0.5})
        device = opened(most)
        for count in range(2, most):
            gpu.limit = needed(count)
            require_same(device, slices(most, SIDE + count))  # another size allocates anew
            gpu.limit = 1 << 30
            for _ in range(2):
                later(monkeypatch)
                require_same(device, slices(most))
    assert {1, 2, 3, most} < set(computed)
    assert set(computed) - set(checked_sizes(most)) == set()


def test_each_of_several_gpus_is_measured(opened, gpu, computed):
    gpu.count = 2
    device = opened()
    assert device.batch == 2 * PARTS * 16
    assert [list(each._streams) for each in device.devices] == [[(16, SIDE, SIDE)]] * 2
    require_same(device, slices(99))


def test_tensorrt_for_rtx_is_measured_too_and_keeps_the_kernels_of_each_batch_size(
    active, gpu, store, toy, monkeypatch
):
    library = Library(Flavour.RTX, fake_rtx.__version__, fake_rtx)
    monkeypatch.setattr(tensorrt, "load_tensorrt", lambda flavour: library)
    plan = active()
    assert open_active(toy, store).batch == PARTS * 16
    compiled = store.kernels_file(plan).read_bytes()[32:]
    # A letter for each context: of the reference, of both streams of each size, of the chosen one.
    assert compiled == b"kernels " + b"x" * (1 + STREAMS * len(PACE) + 1)


def test_a_check_that_lacks_memory_names_smaller_plans_as_a_remedy(active, gpu, store, toy):
    exact = open_plan(active(), store, toy, exact=True)
    gpu.limit = STREAMS * 20 * 9 * 11 * (3 + SCRATCH)  # of the reference, 20 slices at most
    with pytest.raises(DeviceOutOfMemory, match=r"other programs .*, or build .* smaller --batch"):
        check_device(toy, exact, checked_sizes(MOST))


@pytest.mark.parametrize(("most", "tuned"), [(64, 16), (16, 16), (8, 8), (1, 1)])
def test_a_plan_is_tuned_for_a_batch_size_between_those_that_are_measured(most, tuned):
    assert tuned_batch(Options(batch=most)) == tuned
