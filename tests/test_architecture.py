"""Permitted imports of packages, folders and libraries."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

MAY_IMPORT: dict[str, str] = {
    # engine: arrays in, labels out
    "engine": "",
    "engine/plans": "engine",
    "engine/acceptance": "engine engine/plans",
    "engine/devices": "engine engine/acceptance",
    "engine/devices/tensorrt": "engine engine/acceptance engine/devices engine/plans",
    "engine/segmentation": "engine",
    "engine/findings": "engine engine/segmentation",
    "engine/serving": (
        "engine engine/acceptance engine/devices engine/devices/tensorrt engine/plans"
    ),
    "engine/admin": (
        "engine engine/acceptance engine/devices engine/devices/tensorrt engine/plans"
        " engine/segmentation engine/serving"
    ),
    "engine/commands.py": "engine engine/admin",
    # dicom_node: the archive's side
    "dicom_node": "engine",
    "dicom_node/net/tls": "dicom_node engine",
    "dicom_node/net/http": "dicom_node",
    "dicom_node/audit": "dicom_node dicom_node/net/tls",
    "dicom_node/net/admission": "dicom_node dicom_node/audit",
    "dicom_node/net": (
        "dicom_node dicom_node/audit dicom_node/net/admission dicom_node/net/tls engine"
    ),
    "dicom_node/decoding": "dicom_node engine",
    "dicom_node/series": "dicom_node dicom_node/decoding engine",
    "dicom_node/annotations": "dicom_node engine",
    "dicom_node/registers": "dicom_node",
    "dicom_node/corrections": (
        "dicom_node dicom_node/annotations dicom_node/decoding dicom_node/registers engine"
        " engine/findings"
    ),
    "dicom_node/nifti": "dicom_node dicom_node/decoding engine",
    "dicom_node/selection": "dicom_node dicom_node/decoding",
    "dicom_node/choice": (
        "dicom_node dicom_node/decoding dicom_node/selection dicom_node/series engine"
        " engine/segmentation"
    ),
    "dicom_node/receive": (
        "dicom_node dicom_node/audit dicom_node/net dicom_node/net/admission engine"
    ),
    "dicom_node/deliver": ("dicom_node dicom_node/net dicom_node/net/tls engine"),
    "dicom_node/retrieve": "dicom_node dicom_node/net dicom_node/receive dicom_node/deliver engine",
    "dicom_node/verify": "dicom_node dicom_node/series engine engine/findings",
    "dicom_node/results/attributes": (
        "dicom_node dicom_node/registers dicom_node/series engine engine/findings"
    ),
    "dicom_node/results": (
        "dicom_node dicom_node/results/attributes dicom_node/series dicom_node/verify"
        " engine engine/findings"
    ),
    "dicom_node/results/notices": ("dicom_node dicom_node/results dicom_node/results/attributes"),
    "dicom_node/pipeline": (
        "dicom_node dicom_node/corrections dicom_node/nifti dicom_node/results"
        " dicom_node/results/attributes dicom_node/selection dicom_node/series dicom_node/verify"
        " engine engine/findings"
        " engine/segmentation engine/serving"
    ),
    "dicom_node/jobs": (
        "dicom_node dicom_node/decoding dicom_node/deliver dicom_node/pipeline"
        " dicom_node/receive dicom_node/results dicom_node/selection engine"
    ),
    "dicom_node/jobs/steps": (
        "dicom_node dicom_node/audit dicom_node/deliver dicom_node/jobs dicom_node/pipeline"
        " dicom_node/results dicom_node/results/attributes dicom_node/results/notices engine"
        " engine/serving"
    ),
    "dicom_node/shadow": (
        "dicom_node dicom_node/corrections dicom_node/jobs dicom_node/jobs/steps"
        " dicom_node/pipeline dicom_node/registers dicom_node/series engine engine/segmentation"
        " engine/serving"
    ),
    "dicom_node/jobs/upkeep": (
        "dicom_node dicom_node/audit dicom_node/corrections dicom_node/jobs dicom_node/receive"
        " dicom_node/results/attributes dicom_node/shadow engine"
    ),
    "dicom_node/jobs/submit": (
        "dicom_node dicom_node/annotations dicom_node/choice dicom_node/corrections"
        " dicom_node/jobs dicom_node/net dicom_node/pipeline dicom_node/receive"
        " dicom_node/selection"
        " dicom_node/series engine"
    ),
    "dicom_node/cluster": (
        "dicom_node dicom_node/deliver dicom_node/jobs dicom_node/pipeline dicom_node/receive"
        " engine"
    ),
    "dicom_node/fetched/transfer": (
        "dicom_node dicom_node/cluster dicom_node/config dicom_node/deliver dicom_node/jobs"
        " dicom_node/net/http dicom_node/receive engine"
    ),
    "dicom_node/fetched": (
        "dicom_node dicom_node/cluster dicom_node/config dicom_node/deliver"
        " dicom_node/fetched/transfer dicom_node/jobs dicom_node/jobs/steps dicom_node/pipeline"
        " dicom_node/receive dicom_node/results/attributes engine"
    ),
    "dicom_node/tryout": (
        "dicom_node dicom_node/pipeline dicom_node/results dicom_node/retrieve engine"
        " engine/findings engine/serving"
    ),
    "dicom_node/job_actions": (
        "dicom_node dicom_node/cluster dicom_node/config dicom_node/jobs dicom_node/jobs/steps"
        " dicom_node/jobs/upkeep dicom_node/receive dicom_node/results engine"
    ),
    "dicom_node/config": (
        "dicom_node dicom_node/audit dicom_node/deliver dicom_node/net dicom_node/net/tls"
        " dicom_node/results dicom_node/selection"
    ),
    "dicom_node/alerts": "dicom_node dicom_node/config",
    "dicom_node/conformance": (
        "dicom_node dicom_node/config dicom_node/decoding dicom_node/deliver dicom_node/jobs"
        " dicom_node/net dicom_node/receive dicom_node/results dicom_node/results/attributes"
        " dicom_node/results/notices dicom_node/retrieve dicom_node/series engine engine/findings"
    ),
    "dicom_node/web": (
        "dicom_node dicom_node/alerts dicom_node/audit dicom_node/config dicom_node/corrections"
        " dicom_node/deliver dicom_node/job_actions"
        " dicom_node/jobs dicom_node/net dicom_node/pipeline dicom_node/receive"
        " dicom_node/results dicom_node/results/attributes dicom_node/shadow dicom_node/tryout"
        " engine engine/plans"
    ),
    "dicom_node/web/tries": "dicom_node dicom_node/pipeline dicom_node/tryout dicom_node/web",
    "dicom_node/web/server.py": (
        "dicom_node dicom_node/jobs dicom_node/net/http dicom_node/web dicom_node/web/tries"
    ),
    "dicom_node/node": (
        "dicom_node dicom_node/alerts dicom_node/audit dicom_node/choice dicom_node/cluster"
        " dicom_node/config"
        " dicom_node/deliver dicom_node/fetched dicom_node/fetched/transfer"
        " dicom_node/jobs dicom_node/jobs/steps"
        " dicom_node/jobs/submit dicom_node/jobs/upkeep dicom_node/net dicom_node/net/admission"
        " dicom_node/net/tls dicom_node/pipeline dicom_node/receive dicom_node/results"
        " dicom_node/results/attributes dicom_node/retrieve dicom_node/selection"
        " dicom_node/shadow dicom_node/tryout dicom_node/web dicom_node/web/server.py"
        " engine engine/serving"
    ),
    "dicom_node/commands/arguments": (
        "dicom_node dicom_node/config dicom_node/deliver dicom_node/node dicom_node/retrieve"
        " dicom_node/selection"
    ),
    "dicom_node/commands/job_views": (
        "dicom_node dicom_node/commands/arguments dicom_node/corrections dicom_node/deliver"
        " dicom_node/jobs dicom_node/shadow engine"
    ),
    "dicom_node/commands/models": (
        "dicom_node dicom_node/audit dicom_node/commands/arguments dicom_node/config"
        " dicom_node/corrections dicom_node/node dicom_node/shadow engine"
    ),
    "dicom_node/commands/roles": (
        "dicom_node dicom_node/cluster dicom_node/commands/arguments dicom_node/config"
        " dicom_node/jobs dicom_node/node engine"
    ),
    "dicom_node/commands/synthetic": (
        "dicom_node dicom_node/results dicom_node/results/attributes dicom_node/results/notices"
        " dicom_node/series engine engine/findings"
    ),
    "dicom_node/commands": (
        "dicom_node dicom_node/audit dicom_node/commands/arguments dicom_node/commands/job_views"
        " dicom_node/commands/synthetic dicom_node/config dicom_node/conformance"
        " dicom_node/corrections"
        " dicom_node/deliver dicom_node/job_actions dicom_node/jobs dicom_node/net"
        " dicom_node/net/tls dicom_node/nifti dicom_node/node dicom_node/pipeline"
        " dicom_node/receive"
        " dicom_node/results dicom_node/results/attributes dicom_node/retrieve dicom_node/selection"
        " dicom_node/series dicom_node/shadow dicom_node/verify dicom_node/web engine engine/admin"
        " engine/findings"
    ),
    "dicom_node/main.py": "dicom_node dicom_node/commands engine",
    # trainer: learns the members of an ensemble, writes a model folder
    "trainer": "engine",
    "trainer/pages": "trainer",
    "trainer/recipe": "trainer",
    "trainer/datasets/cases": "trainer engine",
    "trainer/datasets/layouts": (
        "trainer trainer/datasets/cases engine dicom_node/series dicom_node/annotations"
    ),
    "trainer/datasets/checks": (
        "trainer trainer/datasets/cases trainer/datasets/layouts engine engine/findings"
    ),
    "trainer/datasets/pull": "trainer engine dicom_node/annotations",
    "trainer/datasets": "trainer trainer/datasets/checks trainer/datasets/pull engine",
    "trainer/networks": "trainer trainer/datasets/cases",
    "trainer/synthetic": "trainer trainer/datasets/cases",
    "trainer/ensemble": (
        "trainer trainer/datasets/cases trainer/networks trainer/recipe"
        " engine engine/devices engine/segmentation"
    ),
    "trainer/evaluation/metrics": (
        "trainer trainer/datasets/cases engine engine/findings engine/segmentation"
    ),
    "trainer/evaluation/run": (
        "trainer trainer/datasets/cases trainer/datasets/layouts trainer/ensemble"
        " trainer/evaluation/metrics trainer/recipe engine engine/devices engine/segmentation"
        " engine/serving dicom_node/series dicom_node/annotations"
    ),
    "trainer/evaluation/report": (
        "trainer trainer/datasets/cases trainer/evaluation/metrics trainer/evaluation/run"
        " trainer/pages engine engine/findings"
    ),
    "trainer/evaluation": (
        "trainer trainer/datasets/cases trainer/ensemble trainer/evaluation/report"
        " trainer/evaluation/run engine"
    ),
    "trainer/batches": (
        "trainer trainer/datasets/cases trainer/ensemble trainer/recipe trainer/synthetic"
    ),
    "trainer/training": (
        "trainer trainer/batches trainer/datasets/cases trainer/datasets/layouts trainer/ensemble"
        " trainer/evaluation/metrics trainer/evaluation/run trainer/recipe trainer/synthetic"
        " trainer/training/resume engine engine/devices engine/findings engine/segmentation"
    ),
    "trainer/training/resume": "trainer trainer/datasets/cases trainer/recipe engine",
    "trainer/training/by_clock": (
        "trainer trainer/datasets/cases trainer/ensemble trainer/evaluation/run trainer/recipe"
        " trainer/training trainer/training/resume engine"
    ),
    "trainer/export": (
        "trainer trainer/datasets/cases trainer/datasets/layouts trainer/ensemble"
        " trainer/evaluation/metrics trainer/evaluation/run trainer/recipe trainer/training"
        " engine engine/acceptance engine/devices engine/findings engine/segmentation"
        " engine/serving"
    ),
    "trainer/calibration": (
        "trainer trainer/datasets/cases trainer/datasets/layouts trainer/ensemble"
        " trainer/evaluation/metrics trainer/evaluation/run trainer/recipe trainer/training"
        " engine engine/findings engine/segmentation engine/serving"
    ),
    "trainer/explain": (
        "trainer trainer/datasets/cases trainer/ensemble trainer/evaluation/metrics"
        " trainer/evaluation/report trainer/evaluation/run trainer/pages"
        " engine engine/findings engine/segmentation engine/serving"
    ),
    "trainer/train_command.py": (
        "trainer trainer/calibration trainer/datasets/cases trainer/ensemble"
        " trainer/evaluation/metrics trainer/evaluation/run trainer/export trainer/recipe"
        " trainer/training trainer/training/by_clock trainer/training/resume engine"
    ),
    "trainer/runs": (
        "trainer trainer/datasets/cases trainer/datasets/checks trainer/ensemble"
        " trainer/evaluation/metrics trainer/evaluation/run trainer/export trainer/recipe"
        " trainer/train_command.py trainer/training trainer/training/resume engine"
    ),
    "trainer/commands.py": (
        "trainer trainer/train_command.py trainer/calibration trainer/datasets trainer/evaluation"
        " trainer/evaluation/run trainer/explain trainer/export trainer/recipe trainer/runs"
        " trainer/training trainer/training/by_clock engine engine/admin"
    ),
    # deploy: configuration, next to no logic
    "deploy/stack": "",
    "deploy/cluster": "deploy/stack",
    "deploy/images": "",
    "deploy/orthanc": "deploy/orthanc/hepar_plugin",
    "deploy/orthanc/hepar_plugin": "",
}
"""Each folder, and the folders it may import besides itself.

A file stands here where it is the door of its folder: it imports what the folder's other
modules must not.
"""

HOMES = {
    "pydicom": {"dicom_node"},
    "pynetdicom": {"dicom_node"},
    "highdicom": {"dicom_node"},
    "torch": {
        "trainer",
        "engine/devices/torch_gpu.py",
        "engine/devices/torch_flops.py",
        "engine/devices/torch_program.py",
    },
    "monai": {"trainer"},
    "sklearn": {"trainer"},
    "onnxruntime": {
        "trainer",
        "engine/devices/onnxruntime_cpu.py",
        "engine/devices/quantized.py",
    },
    "openvino": {"engine/devices/openvino_cpu.py", "engine/devices/openvino_split.py"},
    "tensorrt": {"engine/devices/tensorrt/library.py"},
    "tensorrt_rtx": {"engine/devices/tensorrt/library.py"},
    "cuda": {"engine/devices/tensorrt/cuda.py"},
    "onnx": {"trainer", "engine/devices/quantized.py"},
    "nibabel": {"trainer", "dicom_node/nifti"},
}
"""The only places that may import a library."""


@pytest.mark.parametrize("place", MAY_IMPORT)
def test_a_folder_imports_only_what_the_table_allows(place):
    allowed = {place, *MAY_IMPORT[place].split()}
    modules = modules_of(place)
    assert modules, f"{place} is in the table, but not in the tree"
    for module in modules:
        foreign = {each for each in map(place_of, imported(module)) if each and each not in allowed}
        assert not foreign, f"{module.relative_to(ROOT)} imports {sorted(foreign)}"


def test_the_table_runs_one_way_and_names_every_folder():
    allowed = {place: places.split() for place, places in MAY_IMPORT.items()}
    assert {each for places in allowed.values() for each in places} <= MAY_IMPORT.keys()
    TopologicalSorter(allowed).prepare()  # raises CycleError, which names the circle
    tops = {place.split("/")[0] for place in MAY_IMPORT}
    for module in python_files(*tops):
        folder = module.parent.relative_to(ROOT).as_posix()
        assert folder in MAY_IMPORT, f"add {folder} to the table"


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_imported_only_where_the_table_allows(library):
    places = {
        path.relative_to(ROOT)
        for path in python_files("dicom_node", "engine", "trainer")
        if library in {name.split(".")[0] for name in imported(path)}
    }
    assert all((ROOT / home).exists() for home in HOMES[library])
    for place in places:
        assert any(place.is_relative_to(home) for home in HOMES[library]), place


def test_the_node_starts_without_torch_and_without_the_trainer():
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in python_files("dicom_node", "engine")
        if path.name != "__main__.py" and not path.match("devices/torch*.py")
    ]
    assert names
    script = (
        "import importlib, sys\n"
        "sys.modules['torch'] = sys.modules['trainer'] = sys.modules['monai'] = None\n"
        "for name in sys.argv[1:]: importlib.import_module(name)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, *names], capture_output=True, text=True, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr


def test_the_node_starts_without_libraries_that_only_some_jobs_need():
    script = (
        "import sys\n"
        "import dicom_node.commands.serve, dicom_node.node.node\n"
        "print(*({'cryptography', 'fontTools', 'fpdf', 'nibabel', 'starlette'} & {*sys.modules}))"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert (run.returncode, run.stdout.strip()) == (0, ""), run.stderr


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def modules_of(place: str) -> list[Path]:
    """Modules of a folder itself, without its subfolders and its doors; or the one file."""
    if place.endswith(".py"):
        return [path for path in [ROOT / place] if path.is_file()]
    doors = {ROOT / each for each in MAY_IMPORT}
    return [path for path in sorted((ROOT / place).glob("*.py")) if path not in doors]


def place_of(name: str) -> str | None:
    """Return the entry of the table that holds a dotted name; None for other people's code."""
    if name.split(".")[0] == "hepar_plugin":  # Orthanc's plugin is imported from its own folder
        name = f"deploy.orthanc.{name}"
    parts = name.split(".")
    if parts[0] not in {place.split("/")[0] for place in MAY_IMPORT} | {"tests"}:
        return None
    door = "/".join(parts) + ".py"
    if door in MAY_IMPORT:
        return door
    folder = ROOT.joinpath(*parts)
    return (folder if folder.is_dir() else folder.parent).relative_to(ROOT).as_posix()


@cache
def imported(path: Path) -> frozenset[str]:
    """Dotted names of the modules that a module imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            names |= {module_named(str(node.module), alias.name) for alias in node.names}
    return frozenset(names)


def module_named(module: str, name: str) -> str:
    """`from package import module` imports the module, `from module import thing` does not."""
    inner = ROOT.joinpath(*module.split("."), name)
    return f"{module}.{name}" if inner.is_dir() or inner.with_suffix(".py").is_file() else module
