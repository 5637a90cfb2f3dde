"""How torch's slices reach a GPU and its answers come back, on a CUDA that is pretended."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch comes with the extra `trainer`")

from engine.devices import torch_gpu as device_module  # noqa: E402
from engine.devices.torch_gpu import (  # noqa: E402
    TorchPrecision,
    choose_room,
    open_accelerator,
    open_plain,
    open_torch,
)
from engine.errors import DeviceFailed  # noqa: E402
from engine.hounsfield import to_float16  # noqa: E402
from engine.model import load_model  # noqa: E402
from tests.engine.devices.pretended_cuda import PretendedCuda  # noqa: E402
from tests.engine.toy_model import toy_answer  # noqa: E402
from tests.engine.toy_program import write_toy_with_program  # noqa: E402

SPACING = 0.8, 0.7


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "toy"
    return load_model(write_toy_with_program(folder, convolved=True))


@pytest.fixture
def cuda(model, monkeypatch):
    opened = open_torch(model)  # before torch is pretended to be another one
    made = PretendedCuda(monkeypatch)
    made.device = made.placed(opened)
    return made


def slices(count):
    random = np.random.default_rng(count)
    return random.integers(-1024, 400, (count, 9, 11)).astype(np.int16)


def require_same(device, hu):
    answer = device.run(hu, SPACING)
    labels, agreement = toy_answer(hu, SPACING)
    np.testing.assert_array_equal(answer.labels, labels)
    np.testing.assert_allclose(answer.agreement, agreement, rtol=1e-6)


def test_slices_are_sent_as_they_are_from_pinned_memory(cuda):
    hu = slices(11)
    require_same(cuda.device, hu)
    parts = [each for each in cuda.sent if each[0].dim() == 3]
    assert torch.equal(torch.cat([part for part, _, _ in parts]), torch.from_numpy(hu))
    assert {(pinned, at_once) for _, pinned, at_once in parts} == {(True, True)}


def test_every_int16_is_clipped_and_converted_there_as_by_the_table(cuda, monkeypatch):
    every = np.arange(-(1 << 15), 1 << 15).astype(np.int16).reshape(4, 128, 128)
    computed = []
    compute = cuda.device._compute
    monkeypatch.setattr(
        cuda.device, "_compute", lambda hu, mm: computed.append(hu) or compute(hu, mm)
    )
    cuda.device.run(every, SPACING)
    np.testing.assert_array_equal(torch.cat(computed).numpy(), to_float16(every))


def test_answers_come_back_into_pinned_memory_and_are_waited_for_once(cuda):
    require_same(cuda.device, slices(11))
    # Labels and agreement of three parts.
    assert cuda.events == ["queued"] * 6 + ["end"]


def test_every_part_is_filled_up_so_that_one_graph_serves(cuda):
    for count in (11, 1, 4, 6):
        require_same(cuda.device, slices(count))
    assert cuda.captured == [(4, 9, 11)]


def test_after_a_failure_graphs_are_captured_anew(cuda, monkeypatch):
    require_same(cuda.device, slices(4))

    def failing(*_):
        raise RuntimeError("an illegal memory access")

    with monkeypatch.context() as patch:
        patch.setattr(cuda.device, "_graph_for", failing)
        with pytest.raises(DeviceFailed, match="an illegal memory access"):
            cuda.device.run(slices(4), SPACING)
    require_same(cuda.device, slices(4))
    assert cuda.captured == [(4, 9, 11)] * 2


def test_where_memory_is_short_graphs_are_freed_before_another_try(cuda, monkeypatch):
    whole, kept = cuda.device._graph_for, []

    def short(hu, spacing):
        kept.append(len(cuda.device._graphs))
        if len(hu) > 2:
            whole(hu, spacing)
            raise torch.OutOfMemoryError("out of memory")
        return whole(hu, spacing)

    monkeypatch.setattr(cuda.device, "_graph_for", short)
    require_same(cuda.device, slices(2))
    assert kept == [0, 0]


def test_one_call_at_a_time_uses_a_graphs_buffers(cuda, monkeypatch):
    inside, compute = [], cuda.device._compute

    def alone(hu, spacing):
        inside.append(1)
        assert len(inside) == 1
        answer = compute(hu, spacing)
        inside.pop()
        return answer

    monkeypatch.setattr(cuda.device, "_compute", alone)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda count: require_same(cuda.device, slices(count)), range(1, 13)))


def test_the_memory_of_all_processes_is_reported_as_for_tensorrt(cuda, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda place: (3 << 20, 8 << 20))
    assert cuda.device.memory_mb == 5

    def lost(place):
        raise RuntimeError("an illegal memory access")

    monkeypatch.setattr(torch.cuda, "mem_get_info", lost)
    assert cuda.device.memory_mb is None


def test_the_usual_slices_are_captured_last_so_that_the_first_job_finds_their_graph(
    cuda, monkeypatch
):
    """More sizes are tried than graphs are kept."""
    took = {1: 1.0, 2: 2.0, 3: 3.0}
    monkeypatch.setattr(device_module, "_seconds", lambda device, hu: took[device.room])
    choose_room(cuda.device, (1, 2, 3))
    assert cuda.captured == [(1, 512, 512), (2, 512, 512), (3, 512, 512), (1, 512, 512)]
    assert (1, 512, 512) in cuda.device._graphs


def test_what_is_measured_was_captured_before(cuda, monkeypatch):
    seen = []

    def seconds(device, hu):
        seen.append((device.room, 512, 512) in device._graphs)
        return 1.0

    monkeypatch.setattr(device_module, "_seconds", seconds)
    choose_room(cuda.device, (1, 2))
    assert seen == [True] * 4
    # Those of other sizes hold no memory.
    assert list(cuda.device._graphs) == [(1, 512, 512)]


def test_the_faster_of_two_runs_counts(cuda, monkeypatch):
    # Another program slowed the first run of the size that is the faster one.
    times = iter((2.0, 2.0, 9.0, 1.0))
    monkeypatch.setattr(device_module, "_seconds", lambda device, hu: next(times))
    choose_room(cuda.device, (1, 2))
    assert cuda.device.room == cuda.device.usual_room == 2


@pytest.fixture
def opening(cuda, model, monkeypatch):
    """Open torch's accelerator, of which there are so many."""
    made = []

    def on_a_gpu(model, *, place, precision):
        made.append(cuda.placed(opened(model, precision=precision), 1))
        return made[-1]

    opened = device_module.open_torch
    monkeypatch.setattr(
        torch.accelerator,
        "current_accelerator",
        lambda check_available: SimpleNamespace(type="cuda"),
    )
    monkeypatch.setattr(device_module, "open_nearest", lambda model, place: cuda.device)
    monkeypatch.setattr(device_module, "open_torch", on_a_gpu)
    monkeypatch.setattr(device_module, "ROOMS", (1, 2))
    monkeypatch.setattr(device_module, "_seconds", lambda device, hu: 3.0 - device.room)

    def opening(count):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        return open_accelerator(model), made

    return opening


def test_a_gpu_is_opened_with_the_number_of_slices_at_once_that_was_measured(cuda, opening):
    device, _ = opening(1)
    assert device is cuda.device
    assert (device.room, device.usual_room) == (2, 2)


def test_further_gpus_are_opened_checked_and_warm_with_what_the_first_one_measured(opening):
    device, others = opening(2)
    (other,) = others
    assert len(device.devices) == 2
    assert (other.room, other.usual_room) == (2, 2)
    assert (2, 512, 512) in other._graphs


def test_further_gpus_compute_in_the_precision_of_the_first(cuda, opening, monkeypatch):
    monkeypatch.setattr(cuda.device, "precision", TorchPrecision.BFLOAT16)
    monkeypatch.setattr(device_module, "check_reference", lambda model, device: None)
    _, (other,) = opening(2)
    assert other.precision is TorchPrecision.BFLOAT16


def test_a_further_gpu_that_answers_wrongly_is_left_out(cuda, opening, monkeypatch, caplog):
    run = device_module.Torch.run
    monkeypatch.setattr(
        device_module.Torch,
        "run",
        lambda self, hu, mm: run(self, hu if self is cuda.device else hu + 60, mm),
    )
    device, _ = opening(2)
    assert device is cuda.device
    assert "without GPU 1: " in caplog.text


@pytest.mark.parametrize(("half", "cached"), [(True, [True]), (False, [])])
def test_torch_is_compared_as_it_is_by_default(model, monkeypatch, half, cached):
    """With autocast's cache of cast weights and without a CUDA graph: neither helps nor hinders."""
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    device = open_plain(model, half=half)
    cuda = PretendedCuda(monkeypatch)
    cuda.placed(device)
    device.run(slices(3), SPACING)
    assert cuda.captured == []
    assert cuda.autocasts == cached
    assert (device.precision is TorchPrecision.FLOAT32) != half


def test_where_it_serves_autocast_keeps_no_cache_that_a_graph_would_refer_to(model, monkeypatch):
    device = open_torch(model, precision=TorchPrecision.BFLOAT16)
    cuda = PretendedCuda(monkeypatch)
    cuda.placed(device).run(slices(3), SPACING)
    assert cuda.autocasts == [False]
