"""Every dependency is declared and pinned, and the version has an entry in the changelog."""

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import distribution, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]

NOT_ON_EVERY_INDEX = {"tensorrt"}
"""Extras whose libraries the constraints leave open."""


def test_every_declared_dependency_is_pinned_within_its_bounds():
    pinned = pins()
    for requirement in declared():
        name = canonicalize_name(requirement.name)
        assert name in pinned, f"{requirement} is not in constraints.txt"
        assert pinned[name] in requirement.specifier, f"{name}=={pinned[name]} is not {requirement}"


def test_constraints_name_neither_builds_nor_places():
    for line in constraint_lines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line), line


def test_the_container_installs_every_dependency_with_digests_and_in_the_pinned_version():
    pinned, locked = pins(), dict(locked_requirements())
    for name, (requirement, digests) in locked.items():
        assert str(requirement.specifier) == f"=={pinned[name]}", "run `make lock`"
        assert digests, requirement
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", each) for each in digests)
    for requirement in node_requirements():
        if needed_in_container(requirement):
            assert canonicalize_name(requirement.name) in locked, "run `make lock`"


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the container has Python 3.11")
def test_the_container_installs_what_its_dependencies_need():
    """It installs with `--no-deps`, so that nothing comes in without a digest."""
    locked = dict(locked_requirements())
    for name in locked:
        for text in distribution(name).requires or ():
            requirement = Requirement(text)
            if needed_in_container(requirement):
                assert canonicalize_name(requirement.name) in locked, f"{name} needs {requirement}"


def test_the_changelog_has_an_entry_for_the_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == version("hepar"), "install again: the version has changed"
    assert f"## [{project['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_no_program_of_a_library_shadows_one_of_dcmtk():
    """`make` removes those of pynetdicom; a new one of it would have to be added there."""
    makefile = (ROOT / "Makefile").read_text()
    (removed,) = re.findall(r"^SHADOWS := (.+)$", makefile, re.MULTILINE)
    scripts = distribution("pynetdicom").entry_points.select(group="console_scripts")
    assert set(scripts.names) == set(removed.split())


def declared() -> Iterator[Requirement]:
    """Every requirement of the node and of its extras."""
    yield from node_requirements()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra, requirements in project["optional-dependencies"].items():
        if extra not in NOT_ON_EVERY_INDEX:
            yield from map(Requirement, requirements)


def needed_in_container(requirement: Requirement) -> bool:
    python = {"python_version": "3.11", "python_full_version": "3.11.2", "extra": ""}
    return requirement.marker is None or requirement.marker.evaluate(python)


def node_requirements() -> Iterator[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    yield from map(Requirement, project["dependencies"])


def locked_requirements() -> Iterator[tuple[str, tuple[Requirement, list[str]]]]:
    """Every requirement of the container, by its name, with its digests."""
    text = (ROOT / "deploy/compose/requirements.txt").read_text().replace("\\\n", "")
    for line in text.splitlines():
        if not line.startswith("#"):
            requirement, *digests = (part.strip() for part in line.split("--hash="))
            found = Requirement(requirement)
            yield canonicalize_name(found.name), (found, digests)


def pins() -> dict[str, str]:
    pairs = (line.split("==") for line in constraint_lines())
    return {canonicalize_name(name): version for name, version in pairs}


def constraint_lines() -> list[str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_python_versions_that_are_promised_are_those_that_ci_tries():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = {
        each.rpartition(" ")[2]
        for each in project["classifiers"]
        if each.startswith("Programming Language :: Python :: 3.")
    }
    tried = re.search(r"for version in (.+); do", (ROOT / ".ci" / "each-python").read_text())
    assert tried is not None
    assert named == set(tried[1].split())
    allowed = SpecifierSet(project["requires-python"])
    assert named == {f"3.{minor}" for minor in range(8, 20) if f"3.{minor}.1" in allowed}
