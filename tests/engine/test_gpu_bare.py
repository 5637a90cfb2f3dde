"""`make gpu BARE=1`, in its form for the processor, where almost nothing is installed."""

import json
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytest.importorskip("torch", reason="torch comes with the extra `trainer`")

from engine.phantom import make_phantom
from tests.engine.toy_program import write_toy_with_program

ROOT = Path(__file__).resolve().parents[2]

NEEDED = r"Beside torch the\s+machine needs (.+?);"
NEEDED_TO_TRAIN = r"For the training it also takes\s+(.+?);"
"""Sentences of docs/engine.md that list packages."""


def listed(sentence):
    """Return the packages of a sentence, by the names that they have in the registry."""
    (words,) = re.findall(sentence, (ROOT / "docs/engine.md").read_text(), re.DOTALL)
    return {re.sub(r"\s+", "", each).lower() for each in re.split(r",\s+|\s+and\s+", words)}


def with_dependencies(names):
    """Return these packages and all that they depend on."""
    found, todo = set(), [Requirement(name) for name in names]
    while todo:
        each = todo.pop()
        key = canonicalize_name(each.name), frozenset(each.extras)
        if key in found:
            continue
        found.add(key)
        needed = [Requirement(text) for text in metadata.requires(each.name) or []]
        todo += [
            other
            for other in needed
            if other.marker is None
            or any(other.marker.evaluate({"extra": extra}) for extra in ("", *each.extras))
        ]
    return {name for name, _ in found}


def absent(there):
    """Return what a machine with these packages alone cannot import."""
    kept = with_dependencies({"torch", *there})
    return sorted(
        module
        for module, packages in metadata.packages_distributions().items()
        if not kept & {canonicalize_name(each) for each in packages}
        and module not in ("dicom_node", "engine", "tests", "trainer")
    )


def bare_environment(folder, train=False):
    """Return variables with which Python and its children find only what docs/engine.md names.

    Args:
        folder: for a file that Python reads at its start.
        train: with what training takes.
    """
    there = listed(NEEDED) | (listed(NEEDED_TO_TRAIN) if train else set())
    (folder / "sitecustomize.py").write_text(
        f"import sys\nfor name in {absent(there)!r}: sys.modules[name] = None\n"
    )
    # Those of the `make` that may run these tests: its jobs are not for another one to wait for.
    kept = {
        each: os.environ[each] for each in os.environ if not each.startswith(("MAKE", "MFLAGS"))
    }
    return kept | {
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        "CUDA_VISIBLE_DEVICES": "",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # the plugins that are installed here
    }


def run_bare(command, environment):
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, cwd=ROOT, env=environment
    )


@pytest.fixture
def bare(tmp_path):
    """Run a module in a process, and in its children, where only what docs/engine.md names is."""

    def run(*command, train=False):
        return run_bare([sys.executable, "-m", *command], bare_environment(tmp_path, train))

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


@dataclass(frozen=True)
class Made:
    """What `make gpu BARE=1` left behind."""

    run: subprocess.CompletedProcess[str]
    figures: Path

    @property
    def tests(self):
        """Output of the tests, which come last."""
        return self.run.stdout.partition("test session starts")[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Run `make gpu BARE=1` itself, in small: its figures, then its tests."""
    folder = tmp_path_factory.mktemp("bare")
    toy = write_toy_with_program(folder / "toy", convolved=True)
    small = "--slices", 20, "--size", 32, "--rounds", 1, "--rooms", 2, 4, "--set", *TINY
    options = shlex.join(map(str, ("--model", toy, *small)))
    figures = folder / "figures"
    asked = f"PYTHON={sys.executable}", f"GPU_FOLDER={figures}", f"GPU_OPTIONS={options}"
    run = run_bare(["make", "gpu", "BARE=1", *asked], bare_environment(folder))
    return Made(run, figures)


def test_every_figure_of_torch_comes_and_the_others_say_why_not(made):
    assert made.run.returncode == 0, made.run.stdout + made.run.stderr
    found = {
        path.stem: json.loads(path.read_text())["found"] for path in made.figures.glob("*.json")
    }
    assert set(found) == {
        "facts",
        "gate",
        "bench",
        "stages",
        "sweep",
        "compiled",
        "feeding",
        "training",
    }
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
    assert [each["passed"] for each in found["compiled"].values()] == [True]
    assert all(each["slices_per_s"] > 0 for each in found["compiled"].values())
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
    run = bare("tests.benchmarks.gpu_bare", out, "training", "--data", data, *small, train=True)
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads((out / "training.json").read_text())["found"]
    assert found["steps"] == {"unet": 2}
    assert found["pace"]["1-unet"]["steps"] == 2
    assert (out / "run" / "1-unet" / "weights.pt").is_file()


def test_an_unknown_part_is_refused(bare, tmp_path):
    run = bare("tests.benchmarks.gpu_bare", tmp_path, "colour")
    assert run.returncode == 2
    assert "unknown part 'colour'; allowed: facts, gate" in run.stderr


def makefile_pytest():
    """Return options and files of the tests in `make gpu BARE=1`, as it stands in the Makefile."""
    text = (ROOT / "Makefile").read_text().replace("\\\n", "")
    files = re.search(r"^GPU_TESTS := (.+)$", text, re.MULTILINE)[1].split()
    options = re.search(r"-m pytest (.+) \$\(GPU_TESTS\)", text)[1].split()
    return options, files


def test_the_tests_that_need_a_gpu_are_collected_and_skipped_without_one(made):
    assert made.run.returncode == 0, made.run.stdout + made.run.stderr
    assert int(re.search(r"\b(\d+) skipped", made.tests)[1]) >= 35, made.tests
    assert "failed" not in made.tests
    assert "error" not in made.tests


def test_every_file_with_a_test_for_a_gpu_is_among_them_unless_it_needs_a_node():
    _, files = makefile_pytest()
    marked = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "tests").rglob("test_*.py")
        if path != Path(__file__) and re.search(r"[=@] ?pytest\.mark\.gpu\b", path.read_text())
    }
    assert {each for each in marked if not each.startswith("tests/dicom_node/")} == set(files)


def test_a_warning_of_the_torch_that_is_there_fails_no_test(bare, tmp_path):
    """Warnings are errors here; torch 2.11 warns in `torch.export.load`."""
    options, _ = makefile_pytest()
    warns = tmp_path / "test_warns.py"
    warns.write_text(
        "import warnings\nimport pytest\n\n@pytest.mark.gpu\ndef test_it():\n"
        "    warnings.warn('deprecated', FutureWarning, stacklevel=1)\n"
    )
    here = "-c", ROOT / "pyproject.toml"
    assert bare("pytest", *options, *here, warns).returncode == 0
    strict = "-p", "no:cacheprovider", "-W", "default::pytest.PytestConfigWarning"
    assert bare("pytest", *strict, *here, warns).returncode == 1


def test_the_benchmarks_can_be_imported_there(bare):
    run = bare("tests.benchmarks.bench", "nonesuch")
    assert "unknown measurement 'nonesuch'; allowed: receive" in run.stderr
