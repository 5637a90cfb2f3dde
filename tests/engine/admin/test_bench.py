import json
import os
import signal

import pytest

from engine.admin import device_benchmark
from tests.engine.toy_model import write_toy_model

SERVING = {"TensorRT", "torch", "OpenVINO"}
COMPARED = {"OpenVINO float32", "torch eager", "torch AMP", "ONNX Runtime"}
QUICK = "--slices", 20, "--size", 64, "--rounds", 1


def test_devices_are_measured_and_those_that_cannot_be_say_why(hepar, toy, store, tmp_path):
    file = tmp_path / "bench.json"
    here = "--model", toy.folder, "--plans", store.folder
    measured = hepar("bench", *QUICK, "--json", file, *here)
    assert measured.exit_code == 0, measured.exception
    report = json.loads(file.read_text())
    figures = report["devices"]
    assert set(figures) == SERVING | COMPARED
    assert report["machine"]["cores"] > 0
    assert "no plan is active" in figures["TensorRT"]
    assert "no ensemble.pt2" in figures["torch"]
    for name in ("OpenVINO", "ONNX Runtime"):
        if isinstance(figures[name], str):
            pytest.skip(figures[name])
        assert figures[name]["slices_per_s"] > 0
        assert figures[name]["latency_ms"] > 0
        assert figures[name]["host_mb"] > 20
        assert figures[name]["device_mb"] is None  # the processor has no memory of its own
        assert figures[name]["job_computed"] <= figures[name]["job_slices"] == 20
        assert 0 <= figures[name]["outside"] < 1
        assert figures[name]["device"] in measured.output


def test_torch_is_compared_where_the_model_has_a_program(hepar, store, tmp_path):
    pytest.importorskip("torch", reason="torch comes with the extra `trainer`")
    from tests.engine.toy_program import write_toy_with_program

    file, folder = tmp_path / "bench.json", write_toy_with_program(tmp_path / "toy", convolved=True)
    here = "--model", folder, "--plans", store.folder
    names = "--device", "torch eager", "--device", "torch AMP"
    measured = hepar("bench", *QUICK, *names, "--json", file, *here)
    assert measured.exit_code == 0, measured.exception
    figures = json.loads(file.read_text())["devices"]
    assert figures["torch eager"]["device"].endswith("float32")
    assert not figures["torch AMP"]["device"].endswith("float32")
    assert figures["torch eager"]["of_peak"] >= 0


def test_a_process_that_dies_is_told_and_stops_nothing(toy, tmp_path):
    task = device_benchmark.Task("OpenVINO", toy.folder, tmp_path, tmp_path / "absent.npy", None, 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device_benchmark, "measure", die)
        assert "died" in device_benchmark.measured_apart(task)


def die(task):
    os.kill(os.getpid(), signal.SIGKILL)


class Far:
    """A device with memory of its own, that counts its calls."""

    name, batch, memory_mb, calls = "far", 1, 5, 0

    def run(self, hu, spacing_mm):
        self.calls += 1


def test_a_gpu_is_warm_before_it_is_measured(monkeypatch):
    monkeypatch.setattr(device_benchmark, "WARM_S", 0.05)
    far, near = Far(), Far()
    near.memory_mb = None
    for device in (far, near):
        device_benchmark._Timed(device).warm(None, (1.0, 1.0))
    assert near.calls == 1
    assert far.calls > 10


def test_an_unknown_device_names_those_that_there_are(hepar, tmp_path):
    model = write_toy_model(tmp_path / "toy")
    refused = hepar("bench", "--device", "abacus", "--model", model)
    assert refused.exit_code == 2
    assert "OpenVINO" in refused.output
