"""The engine's folders import one another one way."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import engine

ROOT = Path(engine.__file__).parent

MAY_IMPORT = {
    ".": set(),
    "plans": set(),
    "segmentation": set(),
    "acceptance": {"plans"},
    "findings": {"segmentation"},
    "devices": {"acceptance"},
    "devices/tensorrt": {"acceptance", "devices", "plans"},
    "serving": {"acceptance", "devices", "devices/tensorrt", "plans"},
    "admin": {
        "acceptance",
        "devices",
        "devices/tensorrt",
        "plans",
        "segmentation",
        "serving",
    },
}
"""Every folder, and the folders that it may import beside itself and the engine's own modules."""

ENTRY_POINT = "commands.py"
"""The one module outside of a folder that imports from one: it assembles `hepar engine`."""


def test_every_folder_has_its_place_in_the_table():
    folders = {str(path.parent.relative_to(ROOT)) for path in ROOT.rglob("*.py")}
    assert folders == set(MAY_IMPORT)


@pytest.mark.parametrize("folder", MAY_IMPORT)
def test_a_folder_imports_only_what_stands_below_it(folder):
    modules = [path for path in sorted((ROOT / folder).glob("*.py")) if path.name != ENTRY_POINT]
    assert modules
    for path in modules:
        wrong = set(imported_folders(path)) - MAY_IMPORT[folder] - {folder, "."}
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}"


def test_the_table_has_no_circle():
    left = {folder: set(below) for folder, below in MAY_IMPORT.items()}
    while free := {folder for folder, below in left.items() if not below & set(left)}:
        left = {folder: below for folder, below in left.items() if folder not in free}
    assert not left


def imported_folders(path: Path) -> Iterator[str]:
    """Yield the engine's folders that a module imports from, also inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "engine":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.startswith("engine.")]
        else:
            continue
        yield from map(folder_of, names)


def folder_of(name: str) -> str:
    """Return the folder of a dotted name such as `engine.plans.store.PlanStore`."""
    parts = name.split(".")[1:]
    while parts and not (ROOT.joinpath(*parts) / "__init__.py").is_file():
        parts.pop()
    return "/".join(parts) or "."
