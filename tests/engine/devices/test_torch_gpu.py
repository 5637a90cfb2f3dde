"""torch as a device; with the marker `gpu`, on an accelerator."""

import io
import json
import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch comes with the extra `trainer`")

from engine.acceptance.gate import check_device  # noqa: E402
from engine.devices import torch_gpu as device_module  # noqa: E402
from engine.devices.torch_gpu import (  # noqa: E402
    TorchPrecision,
    choose_room,
    open_accelerator,
    open_nearest,
    open_torch,
)
from engine.devices.torch_program import read_program  # noqa: E402
from engine.errors import DeviceFailed, DeviceOutOfMemory, LibraryMissing  # noqa: E402
from engine.model import load_model  # noqa: E402
from engine.serving import fleet  # noqa: E402
from tests.engine.toy_model import toy_answer, write_manifest  # noqa: E402
from tests.engine.toy_program import write_toy_with_program  # noqa: E402

SPACING = 0.8, 0.7


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(write_toy_with_program(tmp_path_factory.mktemp("models") / "toy"))


@pytest.fixture(scope="module")
def convolved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "convolved"
    return load_model(write_toy_with_program(folder, convolved=True))


@pytest.fixture
def device(model):
    return open_torch(model)


def slices(count, rows=9, columns=11):
    random = np.random.default_rng(count)
    return random.integers(-1024, 400, (count, rows, columns)).astype(np.float16)


def require_same(answer, hu):
    labels, agreement = toy_answer(hu, SPACING)
    np.testing.assert_array_equal(answer.labels, labels)
    np.testing.assert_allclose(answer.agreement, agreement, rtol=1e-6)


@pytest.mark.parametrize("count", [1, 4, 5, 11])
def test_any_number_of_slices_is_answered_in_order(device, count):
    hu = slices(count)
    require_same(device.run(hu, SPACING), hu)


def test_slices_of_another_size_are_answered_too(device):
    for size in ((5, 7), (6, 4), (5, 7)):
        hu = slices(3, *size)
        require_same(device.run(hu, SPACING), hu)


def test_it_passes_the_gate(model, device):
    assert check_device(model, device, range(1, 5)).passed


def test_products_with_matrices_stay_exact_in_half_precision(model):
    device = open_torch(model, precision=TorchPrecision.BFLOAT16)
    hu = slices(3)
    hu[:, 0, 0] = 299  # 300 in bfloat16, which is no tumour any more
    require_same(device.run(hu, SPACING), hu)


def test_half_precision_serves_only_where_the_gate_passes_it(model, convolved):
    assert open_nearest(model, "cpu").name == "torch cpu float16"
    half = open_torch(convolved, precision=TorchPrecision.BFLOAT16)
    assert not check_device(convolved, half, [3]).passed
    assert open_nearest(convolved, "cpu").name != half.name


def test_where_no_precision_is_near_enough_each_says_why(model, monkeypatch):
    run = device_module.Torch.run
    monkeypatch.setattr(device_module.Torch, "run", lambda self, hu, mm: run(self, hu + 60, mm))
    with pytest.raises(DeviceFailed, match=r"cpu float16: .*Dice.*cpu float32: .*Dice"):
        open_nearest(model, "cpu")


def test_without_an_accelerator_it_leaves_the_processor_to_openvino(model, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    with pytest.raises(LibraryMissing, match="no accelerator here; OpenVINO"):
        open_accelerator(model)


def test_what_does_not_fit_is_cut_smaller(device, monkeypatch):
    whole = device._compute

    def short(hu, spacing):
        if len(hu) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return whole(hu, spacing)

    monkeypatch.setattr(device, "_compute", short)
    hu = slices(5)
    require_same(device.run(hu, SPACING), hu)
    assert device.room == 1

    def never(hu, spacing):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(device, "_compute", never)
    with pytest.raises(DeviceFailed, match="has not enough memory for one slice"):
        device.run(hu, SPACING)


def test_what_torch_cannot_run_is_a_failed_device_and_the_next_call_works(device):
    hu = slices(2)
    with pytest.raises(DeviceFailed, match=r"failed on \(2, 9, 11\) slices"):
        device.run(hu, (1.0, 1.0, 1.0))
    require_same(device.run(hu, SPACING), hu)


@pytest.mark.skipif(torch.xpu.is_available(), reason="this torch has an XPU")
def test_a_device_that_torch_does_not_have_is_told(convolved):
    with pytest.raises(DeviceFailed, match=r"cannot place ensemble\.pt2 on xpu"):
        open_torch(convolved, place="xpu")


def test_a_device_without_room_for_the_model_is_told_as_such(model, monkeypatch):
    def full(program, place):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(device_module, "move_to_device_pass", full)
    with pytest.raises(DeviceOutOfMemory, match="not enough memory for the model"):
        open_torch(model)


def test_a_model_without_a_program_is_told(toy):
    with pytest.raises(DeviceFailed, match=r"toy 0\.1 has no ensemble\.pt2"):
        open_torch(toy)


class Touching:
    """Something whose pickle, once it is read, makes a file."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return pathlib.Path.touch, (self.file,)


def test_a_program_whose_sample_would_run_code_is_refused_and_runs_none(tmp_path):
    folder = write_toy_with_program(tmp_path / "toy", convolved=True)
    whole, path = zipfile.ZipFile(folder / "ensemble.pt2"), tmp_path / "spoilt.pt2"
    sample = io.BytesIO()
    torch.save(Touching(tmp_path / "ran"), sample)
    with whole, zipfile.ZipFile(path, "w") as spoilt:
        for name in whole.namelist():
            content = sample.getvalue() if "data/sample_inputs/" in name else whole.read(name)
            spoilt.writestr(name, content)
    with pytest.raises(DeviceFailed, match=r"holds pickles \(.*sample_inputs/.*could run code"):
        read_program(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("how", ["cut", "other", "pickle"])
def test_a_file_that_is_no_program_or_would_be_unpickled_is_refused(tmp_path, how):
    folder = write_toy_with_program(tmp_path / "toy", convolved=True)
    path = folder / "ensemble.pt2"
    content = path.read_bytes()
    if how == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif how == "other":
        path.write_bytes(b"no program")
    else:
        path.write_bytes(b"")
        with zipfile.ZipFile(path, "w") as archive:
            tensors = {"config": {"members.0.weight": {"use_pickle": True}}}
            archive.writestr("toy/data/weights/model_weights_config.json", json.dumps(tensors))
    write_manifest(folder)
    complaint = "holds pickles.*members" if how == "pickle" else "torch cannot read"
    with pytest.raises(DeviceFailed, match=complaint):
        open_torch(load_model(folder))


def test_the_fleet_prefers_it_to_openvino_where_there_is_an_accelerator(model, tmp_path, caplog):
    serving = fleet.Fleet(fleet.openers(model, tmp_path / "absent", threads=1))
    with caplog.at_level("INFO"):
        name = serving.device().name
    if torch.accelerator.is_available():
        assert name.startswith("torch")
    else:
        assert name == "OpenVINO CPU"
        assert "skipped torch: torch has no accelerator here" in caplog.text


def test_a_node_whose_model_has_no_program_never_imports_torch(toy, tmp_path):
    code = (
        "import sys; from pathlib import Path;"
        "from engine import model; from engine.serving import fleet;"
        "toy = model.load_model(Path(sys.argv[1]));"
        "fleet.Fleet(fleet.openers(toy, Path('absent'), threads=1)).device();"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, toy.folder], check=True, cwd=tmp_path)


def test_int16_of_any_value_is_clipped_and_converted_by_the_device(device):
    hu = np.random.default_rng(0).integers(-4000, 4000, (3, 9, 11)).astype(np.int16)
    hu[0, 0] = -32768
    hu[0, 1] = 32767
    require_same(device.run(hu, SPACING), hu)
    backwards = hu[::-1, ::-1]
    require_same(device.run(backwards, SPACING), backwards)


def test_after_a_lack_of_memory_more_slices_are_tried_again_later(device, monkeypatch):
    whole, seen = device._compute, []

    def short(hu, spacing):
        if len(hu) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return whole(hu, spacing)

    def enough(hu, spacing):
        seen.append(len(hu))
        return whole(hu, spacing)

    hu, usual = slices(8), device.room
    monkeypatch.setattr(device, "_compute", short)
    device.run(hu, SPACING)
    monkeypatch.setattr(device, "_compute", enough)
    device.run(hu, SPACING)
    assert device.room == 1
    now = device_module.monotonic()
    for turn in (1, 2, 3):
        later = now + turn * (device_module.GROW_AFTER_S + 1)
        monkeypatch.setattr(device_module, "monotonic", lambda later=later: later)
        require_same(device.run(hu, SPACING), hu)
    assert device.room == usual == max(seen)


def test_it_grows_back_to_what_was_measured_and_no_further(device, monkeypatch):
    device.usual_room, device.room = 3, 2  # no power of two, as halving 3 leaves 2
    now = device_module.monotonic()
    for turn in (1, 2):
        later = now + turn * (device_module.GROW_AFTER_S + 1)
        monkeypatch.setattr(device_module, "monotonic", lambda later=later: later)
        device.run(slices(8), SPACING)
        assert device.room == 3


def test_graphs_of_two_sizes_are_kept_and_the_older_one_goes(device, monkeypatch):
    captured = []

    def capture(run, hu, spacing):
        captured.append(tuple(hu.shape))
        return run

    monkeypatch.setattr(device_module, "_capture", capture)
    for size in ((5, 7), (6, 4), (5, 7), (6, 4), (8, 8), (5, 7)):
        device._graph_for(torch.zeros(4, *size, dtype=torch.float16), torch.ones(2))
    assert captured == [(4, 5, 7), (4, 6, 4), (4, 8, 8), (4, 5, 7)]


def test_weights_cast_once_answer_as_those_cast_at_every_call(convolved, monkeypatch):
    once = open_torch(convolved, precision=TorchPrecision.BFLOAT16)
    (weight,) = [each for each in once._module.parameters() if each.dim() == 4]
    assert weight.dtype == torch.bfloat16
    monkeypatch.setattr(device_module, "cast_convolutions", lambda module, kind: None)
    always = open_torch(convolved, precision=TorchPrecision.BFLOAT16)
    hu = slices(3)
    np.testing.assert_array_equal(once.run(hu, SPACING).labels, always.run(hu, SPACING).labels)


def test_the_fastest_number_of_slices_at_once_is_chosen_by_measurement(device, monkeypatch):
    took = {1: 3.0, 4: 1.0, 8: 2.0}
    monkeypatch.setattr(device_module, "USUAL", (9, 11))
    monkeypatch.setattr(device_module, "_seconds", lambda device, hu: took[device.room])
    choose_room(device, (1, 4, 8))
    assert (device.room, device.usual_room) == (4, 4)


def test_more_slices_than_there_is_memory_for_are_not_measured(device, monkeypatch):
    whole, measured = device._compute, []

    def short(hu, spacing):
        if len(hu) > 4:
            raise torch.OutOfMemoryError("out of memory")
        return whole(hu, spacing)

    def seconds(device, hu):
        measured.append(device.room)
        return 1.0

    monkeypatch.setattr(device, "_compute", short)
    monkeypatch.setattr(device_module, "USUAL", (9, 11))
    monkeypatch.setattr(device_module, "_seconds", seconds)
    choose_room(device, (2, 4, 8, 16))
    assert set(measured) == {2, 4}
    assert device.room == device.usual_room == 2


def test_several_gpus_serve_together_and_one_that_fails_is_left_out(model, monkeypatch, caplog):
    opened = open_torch

    def on_the_processor(model, *, place, precision):
        if place == "cuda:2":
            raise DeviceFailed("no memory")
        return opened(model, precision=precision)

    monkeypatch.setattr(device_module, "open_torch", on_the_processor)
    joined = device_module._with_others(model, opened(model), 3)
    assert len(joined.devices) == 2
    assert "without GPU 2: no memory" in caplog.text
    hu = slices(11)
    require_same(joined.run(hu, SPACING), hu)


@pytest.mark.gpu
def test_on_an_accelerator_every_shape_is_answered_as_on_the_processor(model):
    device = open_accelerator(model)
    for hu in (slices(3), slices(20), slices(8, 40, 30), slices(3)):
        require_same(device.run(hu, SPACING), hu)
