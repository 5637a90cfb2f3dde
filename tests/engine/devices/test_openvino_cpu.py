from dataclasses import replace

import numpy as np
import openvino
import pytest

from engine.acceptance.gate import check_device
from engine.acceptance.reference import read_reference
from engine.devices.openvino_cpu import OpenVino, open_openvino, settings
from engine.errors import DeviceFailed
from engine.serving.cpu import open_device
from tests.engine.toy_model import toy_answer


def slices(count, rows=9, columns=11):
    return np.random.default_rng(count).integers(-1024, 400, (count, rows, columns), np.int16)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 17])
def test_any_number_of_slices_is_answered_in_order(toy_device, count):
    hu = slices(count).astype(np.float16)
    answer = toy_device.run(hu, (0.8, 0.7))
    labels, agreement = toy_answer(hu, (0.8, 0.7))
    np.testing.assert_array_equal(answer.labels, labels)
    np.testing.assert_allclose(answer.agreement, agreement, rtol=1e-6)


def test_slices_of_another_size_are_answered_too(toy_device):
    for size in ((5, 7), (5, 9), (6, 9), (6, 7), (5, 7)):
        hu = slices(3, *size).astype(np.float16)
        labels, _ = toy_answer(hu, (1.0, 1.0))
        np.testing.assert_array_equal(toy_device.run(hu, (1.0, 1.0)).labels, labels)


def test_a_hounsfield_unit_more_or_less_is_not_lost(toy_device):
    """Half precision inside the graph would blur 299 and 300 on a wider scale than this."""
    hu = np.array([[[99, 100, 199, 200, 299, 300]]], np.float16)
    assert toy_device.run(hu, (1.0, 1.0)).labels.tolist() == [[[0, 1, 1, 2, 2, 0]]]


def test_single_precision_is_asked_for_in_words():
    assert settings(None, None)["INFERENCE_PRECISION_HINT"] == "f32"


def test_compiled_graphs_are_kept_where_the_caller_says(toy, tmp_path):
    hu = slices(2).astype(np.float16)
    device = open_openvino(toy, threads=1, cache=tmp_path / "kept")
    first = device.run(hu, (1.0, 1.0))
    assert list((tmp_path / "kept").iterdir())
    again = open_openvino(toy, threads=1, cache=tmp_path / "kept").run(hu, (1.0, 1.0))
    np.testing.assert_array_equal(again.labels, first.labels)


def test_what_a_first_node_compiled_in_parts_the_next_one_finds(base, tmp_path, monkeypatch):
    monkeypatch.setattr(OpenVino, "_require_half", lambda self: None)
    hu = slices(2, 64, 64).astype(np.float16)
    kept = []
    for _ in range(2):  # whatever was made and numbered before
        open_openvino(base, threads=1, cache=tmp_path, half=True).run(hu, (1.0, 1.0))
        kept.append(sorted(path.name for path in tmp_path.iterdir()))
    assert kept[0] == kept[1]
    assert len(kept[0]) == 5  # members that find the liver, those in a box, and what lies around


def test_a_graph_that_cannot_be_read_is_named(toy, tmp_path):
    (tmp_path / "ensemble.onnx").write_bytes(b"no graph")
    with pytest.raises(DeviceFailed, match=r"cannot read .*ensemble\.onnx"):
        open_openvino(replace(toy, folder=tmp_path))


def test_what_openvino_cannot_run_is_a_failed_device_and_the_next_call_works(toy):
    device = open_openvino(toy, threads=1)
    hu = slices(2).astype(np.float16)
    with pytest.raises(DeviceFailed, match=r"ensemble\.onnx on \(2, 9, 11\) slices"):
        device.run(hu, (1.0, 1.0, 1.0))
    assert device.run(hu, (1.0, 1.0)).labels.shape == hu.shape


def test_the_first_device_that_works_is_openvino(toy):
    assert open_device(toy, threads=1).name == "OpenVINO CPU"


def test_a_graph_cut_where_its_members_begin_and_end_answers_as_the_whole(base, monkeypatch):
    monkeypatch.setattr(OpenVino, "_require_half", lambda self: None)
    monkeypatch.setattr(OpenVino, "_hint", lambda self: {})
    hu, spacing_mm, _ = read_reference(base)
    whole, parts = (open_openvino(base, half=half).run(hu[:3], spacing_mm) for half in (0, 1))
    np.testing.assert_array_equal(parts.labels, whole.labels)
    np.testing.assert_array_equal(parts.agreement, whole.agreement)


def test_the_members_alone_are_asked_for_in_half_precision(base, monkeypatch):
    compiled, compile_model = {}, openvino.Core.compile_model

    def noted(self, graph, device, settings):
        compiled[graph.get_friendly_name()] = settings["INFERENCE_PRECISION_HINT"]
        return compile_model(self, graph, device, settings)

    monkeypatch.setattr(OpenVino, "_require_half", lambda self: None)
    monkeypatch.setattr("openvino.Core.compile_model", noted)
    hu = slices(1, 64, 64).astype(np.float16)
    open_openvino(base, threads=1, half=True).run(hu, (5.0, 5.0))
    assert compiled == {
        **{"around 0": "f32", "around 1": "f32", "around 2": "f32"},
        **{"members 0": "bf16", "members 1": "bf16"},
    }


def test_members_in_half_precision_pass_the_gate_where_the_processor_has_it(base):
    try:
        device = open_openvino(base, half=True)
    except DeviceFailed as error:
        pytest.skip(str(error))
    assert check_device(base, device, [1, 5]).passed
    assert open_device(base).name == device.name == "OpenVINO CPU bfloat16"


def test_a_processor_without_half_precision_or_a_graph_without_members_has_none(toy, monkeypatch):
    with pytest.raises(DeviceFailed, match=r"not bfloat16|no members that could"):
        open_openvino(toy, threads=1, half=True).run(slices(2).astype(np.float16), (1.0, 1.0))
    monkeypatch.setattr("openvino.Core.get_property", lambda self, *_: ["FP32"])
    with pytest.raises(DeviceFailed, match="supports FP32, not bfloat16"):
        open_openvino(toy, threads=1, half=True)


def test_half_precision_that_strays_too_far_does_not_serve(base, monkeypatch):
    run = OpenVino.run
    monkeypatch.setattr(OpenVino, "_require_half", lambda self: None)
    monkeypatch.setattr(
        OpenVino, "run", lambda self, hu, mm: run(self, hu + 60 if self._half else hu, mm)
    )
    assert open_device(base).name == "OpenVINO CPU"
