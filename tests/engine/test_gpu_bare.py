"""`make gpu BARE=1`, in its form for the processor, where almost nothing is installed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch comes with the extra `trainer`")

from engine.phantom import make_phantom
from tests.engine.toy_program import write_toy_with_program

ROOT = Path(__file__).resolve().parents[2]

ABSENT = (
    "cuda",
    "dbos",
    "highdicom",
    "nibabel",
    "openvino",
    "pydicom",
    "pynetdicom",
    "SimpleITK",
    "tensorrt",
    "tensorrt_rtx",
    "tensorrt_rtx_bindings",
)


WHEELS = {"highdicom", "nibabel", "pydicom"}
"""Small enough to be carried to a machine that trains."""


@pytest.fixture
def bare(tmp_path):
    """Run a module in a process, and in its children, that cannot import what is absent."""

    def absent(names):
        (tmp_path / "sitecustomize.py").write_text(
            f"import sys\nfor name in {names!r}: sys.modules[name] = None\n"
        )

    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    environment = os.environ | {"PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": ""}

    def run(*command, wheels=()):
        absent(tuple(name for name in ABSENT if name not in wheels))
        return subprocess.run(
            [sys.executable, "-m", *map(str, command)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment,
        )

    return run


TINY = (
    "crop=64",
    "working.size=64",
    "working.spacing_mm=6.0",
    "batch.tumour=1",
    "batch.other=1",
    "phantoms=1",
    "held_out=2",
    'members=[{network="unet", cycles=[2], seed=1}]',
)


def test_every_figure_of_torch_comes_and_the_others_say_why_not(bare, tmp_path):
    folder = write_toy_with_program(tmp_path / "toy", convolved=True)
    small = "--slices", 20, "--size", 32, "--rounds", 1, "--rooms", 2, 4, "--set", *TINY
    run = bare("tests.benchmarks.gpu_bare", tmp_path / "out", "--model", folder, *small)
    assert run.returncode == 0, run.stdout + run.stderr
    found = {
        path.stem: json.loads(path.read_text())["found"]
        for path in (tmp_path / "out").glob("*.json")
    }
    assert set(found) == {"facts", "gate", "bench", "stages", "sweep", "feeding", "training"}
    assert found["facts"]["place"] == "cpu"
    assert found["gate"]["float32"]["passed"]
    assert found["bench"]["TensorRT"].startswith("not measured: no plan is active")
    assert found["bench"]["torch"].startswith("not measured: torch has no accelerator")
    for name in ("torch eager", "torch AMP"):
        assert found["bench"][name]["job_slices"] == 20
        assert found["bench"][name]["slices_per_s"] > 0
    assert found["stages"]["job"]["computed"] <= 20
    assert found["stages"]["parts_ms"]
    assert all(ms > 0 for ms in found["stages"]["parts_ms"].values())
    assert len(found["sweep"]) == 6
    assert all(slices_per_s > 0 for slices_per_s in found["sweep"].values())
    assert len(found["feeding"]) == 3
    assert all(slices_per_s > 0 for slices_per_s in found["feeding"].values())
    assert found["training"]["training"].startswith("not measured: name labelled slices by --data")


def test_it_is_trained_there_without_the_readers_library(bare, tmp_path):
    data, toy = tmp_path / "data", write_toy_with_program(tmp_path / "toy", convolved=True)
    data.mkdir()
    made = make_phantom(0, shape=(6, 64, 64), spacing_mm=(30.0, 6.0, 6.0))
    np.savez(
        data / "lits_tumour_slices.npz",
        image=np.clip(made.volume.hu, 0, 255).astype(np.uint8),
        label=made.truth.labels,
        volume=np.repeat([0, 1, 2], 2),
        slice=np.tile([0, 1], 3),
        pixel_mm=np.full(6, 6, np.float32),
        window=np.tile(np.float32([0, 255]), (6, 1)),
    )
    small = "--slices", 2, "--size", 32, "--model", toy, "--minutes", 0, "--set", *TINY
    out = tmp_path / "out"
    run = bare("tests.benchmarks.gpu_bare", out, "training", "--data", data, *small, wheels=WHEELS)
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads((out / "training.json").read_text())["found"]
    assert found["steps"] == {"unet": 2}
    assert found["pace"]["1-unet"]["steps"] == 2
    assert (out / "run" / "1-unet" / "weights.pt").is_file()


def test_an_unknown_part_is_refused(bare, tmp_path):
    run = bare("tests.benchmarks.gpu_bare", tmp_path, "colour")
    assert run.returncode == 2
    assert "unknown part 'colour'; allowed: facts, gate" in run.stderr


def test_the_tests_that_need_a_gpu_are_collected_and_skipped_without_one(bare):
    """The very list of the Makefile, as it would run."""
    tests = re.search(r"^GPU_TESTS := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    options = "-p", "no:cacheprovider", "-W", "default", "-m", "gpu", "-q"
    run = bare("pytest", *options, *tests[1].split())
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"\b1[0-9] skipped", run.stdout), run.stdout
    assert "failed" not in run.stdout
    assert "error" not in run.stdout


def test_the_benchmarks_can_be_imported_there(bare):
    run = bare("tests.benchmarks.bench", "nonesuch")
    assert "unknown measurement 'nonesuch'; allowed: receive" in run.stderr
