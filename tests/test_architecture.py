"""The house keeps its shape: who imports whom, what is pinned, what the node can do without."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]

MAY_IMPORT = {
    "engine": set(),
    "trainer": {"engine", "dicom_node.series", "dicom_node.annotations"},
    "dicom_node": {"engine"},
}
"""A package may import itself, and besides only what stands here."""

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
}
"""A library that only one part of the house may know."""

NOT_ON_EVERY_INDEX = {"tensorrt"}
"""Extras whose libraries the constraints leave open."""


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_imports_point_one_way(package):
    ours = {*MAY_IMPORT, "deploy", "tests"}
    allowed = {package} | MAY_IMPORT[package]
    for path in modules(package):
        foreign = {
            name
            for name in imported(path)
            if name.split(".")[0] in ours
            and not any(name == root or name.startswith(f"{root}.") for root in allowed)
        }
        assert not foreign, f"{path.relative_to(ROOT)} imports {foreign}"


@pytest.mark.parametrize("library", HOMES)
def test_a_library_is_known_only_where_it_lives(library):
    for path in modules("dicom_node", "engine", "trainer"):
        if library in {name.split(".")[0] for name in imported(path)}:
            place = path.relative_to(ROOT)
            assert any(place.is_relative_to(home) for home in HOMES[library]), place


def test_the_node_starts_without_torch_and_without_the_trainer():
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in modules("dicom_node", "engine")
        if path.name != "__main__.py" and not path.match("devices/torch*.py")
    ]
    script = (
        "import importlib, sys\n"
        "sys.modules['torch'] = sys.modules['trainer'] = sys.modules['monai'] = None\n"
        "for name in sys.argv[1:]: importlib.import_module(name)"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, *names], capture_output=True, text=True, cwd=ROOT
    )
    assert run.returncode == 0, run.stderr


def test_every_declared_dependency_is_pinned_within_its_bounds():
    pinned = pins()
    for requirement in declared():
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{requirement} is not in constraints.txt"
        assert pinned[name] in requirement.specifier, f"{name}=={pinned[name]} is not {requirement}"


def test_constraints_name_no_build_and_no_place():
    for line in constraint_lines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line), line


def test_the_changelog_knows_the_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == version("hepar"), "install again: the version has changed"
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def modules(*packages: str) -> Iterator[Path]:
    for package in packages:
        yield from sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Dotted names that a module imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= named(node.module, node.names)
    return names


def named(module: str, aliases: list[ast.alias]) -> set[str]:
    """`from package import module` names the module, `from package.module import Thing` too."""
    if "." in module or module not in MAY_IMPORT:
        return {module}
    return {f"{module}.{alias.name}" for alias in aliases}


def declared() -> Iterator[Requirement]:
    """Every requirement of the node and of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    yield from map(Requirement, project["dependencies"])
    for extra, requirements in project["optional-dependencies"].items():
        if extra not in NOT_ON_EVERY_INDEX:
            yield from map(Requirement, requirements)


def pins() -> dict[str, str]:
    pairs = (line.split("==") for line in constraint_lines())
    return {canonicalize_name(name): version for name, version in pairs}


def constraint_lines() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]
