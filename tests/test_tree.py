"""The shape of the tree: sizes, names, and tests that mirror the folders."""

import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

MOST_MODULES = 13
"""In one folder; a reader takes in no more at a glance."""

MEANINGLESS = {"utils", "util", "helpers", "helper", "common", "manager", "base", "misc", "tools"}
"""Names that do not tell what is inside."""

TREES = ("dicom_node", "engine", "trainer", "deploy")
TESTED = ("dicom_node", "engine", "trainer")


def modules(tree: str) -> list[Path]:
    """Return every module of a tree except the `__init__.py` files."""
    found = [path for path in (ROOT / tree).rglob("*.py") if not path.stem.startswith("__")]
    assert found, f"{tree} is not there"
    return sorted(found)


def folders(tree: str) -> set[str]:
    """Return the folders of a tree that hold modules, relative to the project."""
    return {path.parent.relative_to(ROOT).as_posix() for path in modules(tree)}


@pytest.mark.parametrize("tree", TREES)
def test_a_folder_holds_few_modules(tree):
    sizes: dict[str, int] = defaultdict(int)
    for path in modules(tree):
        sizes[path.parent.relative_to(ROOT).as_posix()] += 1
    assert {place: size for place, size in sizes.items() if size > MOST_MODULES} == {}


@pytest.mark.parametrize("tree", TREES)
def test_no_two_modules_differ_by_an_s(tree):
    names = {path.stem for path in modules(tree)}
    assert {name for name in names if f"{name}s" in names} == set()


@pytest.mark.parametrize("tree", [*TREES, "tests"])
def test_a_name_tells_what_is_inside(tree):
    names = {
        part for path in modules(tree) for part in path.relative_to(ROOT).with_suffix("").parts
    }
    assert names & MEANINGLESS == set()


@pytest.mark.parametrize("tree", TESTED)
def test_every_folder_of_tests_mirrors_a_folder(tree):
    mirrored = {place.removeprefix("tests/") for place in folders(f"tests/{tree}")}
    assert mirrored - folders(tree) == set()


@pytest.mark.parametrize("tree", TESTED)
def test_every_folder_has_tests_at_the_same_place(tree):
    tested = {
        path.parent.relative_to(ROOT / "tests").as_posix()
        for path in modules(f"tests/{tree}")
        if path.name.startswith("test_")
    }
    assert folders(tree) - tested == set()


@pytest.mark.parametrize("tree", TESTED)
def test_a_test_file_named_like_a_module_lies_beside_it(tree):
    """`engine/slabs.py` has its tests in `tests/engine/test_slabs.py`, not in another folder."""
    at = defaultdict(set)
    for path in modules(tree):
        at[path.stem].add(path.parent.relative_to(ROOT).as_posix())
    for path in modules(f"tests/{tree}"):
        name, place = path.stem.removeprefix("test_"), path.parent.relative_to(ROOT / "tests")
        if path.name.startswith("test_") and name in at:
            assert place.as_posix() in at[name], f"{path.relative_to(ROOT)}: {sorted(at[name])}"


def test_what_each_python_is_to_run_is_there():
    """It runs last, and would otherwise be the first to say so."""
    script = (ROOT / ".ci" / "each-python").read_text()
    listed = script[script.index("tests=(") : script.index("\n)\n") + 3]
    command = ["bash", "-c", listed + 'printf "%s\\n" "${tests[@]}"']
    paths = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert len(paths) > 10
    assert [each for each in paths if not (ROOT / each).exists()] == []
