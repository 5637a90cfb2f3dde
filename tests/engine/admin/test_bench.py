import json

import pytest


def test_devices_are_measured_and_those_that_cannot_be_say_why(hepar, toy, store, tmp_path):
    file = tmp_path / "bench.json"
    here = "--model", toy.folder, "--plans", store.folder
    measured = hepar("bench", "--slices", 20, "--size", 64, "--json", file, *here)
    assert measured.exit_code == 0, measured.exception
    figures = json.loads(file.read_text())
    assert set(figures) == {"TensorRT", "OpenVINO", "ONNX Runtime"}
    assert "no plan is active" in figures["TensorRT"]
    for name in ("OpenVINO", "ONNX Runtime"):
        if isinstance(figures[name], str):
            pytest.skip(figures[name])
        assert figures[name]["slices_per_s"] > 0
        assert 0 <= figures[name]["outside"] < 1
        assert figures[name]["device"] in measured.output


def test_an_unknown_device_names_those_that_there_are(hepar, toy):
    refused = hepar("bench", "--device", "abacus", "--model", toy.folder)
    assert refused.exit_code == 2
    assert "OpenVINO" in refused.output
