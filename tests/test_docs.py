"""Paths, symbols and links in the documents exist."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/**/*.md")])
HISTORY = {"CHANGELOG.md"}
"""Names what has gone, too."""

FOLDERS = ("dicom_node", "engine", "trainer", "deploy", "tests", "docs")
PATH = re.compile(rf"`((?:{'|'.join(FOLDERS)})(?:/[\w.\-]+)*/?)`")
NEEDED = (
    "TLS",
    "result object",
    "MR instead of CT",
    "quiet time",
    "peers",
    "tumour",
    "metrics",
    "data set",
    "devices",
    "pauses",
    "Series Description",
    "storage commitment",
    "log",
    "UIDs",
    "optimiser",
)
"""The changes that a newcomer must find."""


def changes() -> dict[str, str]:
    """Return the rows of the table: the change, and what to open."""
    text = ARCHITECTURE.read_text().split("## Where to make a change")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    return dict(row for row in rows if "`" in row[1])


def named(cell: str) -> Iterator[tuple[str, list[str]]]:
    """Return each path of a cell with the symbols that follow it."""
    words = re.findall(r"`([^`]+)`", cell)
    path, symbols = "", []
    for word in words:
        if word.split("/")[0] in FOLDERS and "/" in word:
            if path:
                yield path, symbols
            path, symbols = word, []
        else:
            symbols.append(word)
    if path:
        yield path, symbols


@pytest.mark.parametrize("change", NEEDED)
def test_the_table_of_changes_has_each_that_a_newcomer_needs(change):
    assert any(change in each for each in changes()), change


@pytest.mark.parametrize("change", changes())
def test_what_a_change_opens_is_there(change):
    opened = list(named(changes()[change]))
    assert opened, "names no path"
    for path, symbols in opened:
        place = ROOT / path
        assert place.exists(), f"{path} is not there"
        if place.is_file():
            text = place.read_text()
            names = [each for each in symbols if each.isidentifier()]
            missing = [each for each in names if not re.search(rf"\b{each}\b", text)]
            assert not missing, f"{path} has no {missing}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_paths_in_a_document_exist(document):
    if document.name in HISTORY:
        pytest.skip("tells of the past")
    absent = [each for each in PATH.findall(document.read_text()) if not (ROOT / each).exists()]
    assert not absent


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_between_documents_lead_somewhere(document):
    links = re.findall(r"\]\(([^)#\s]+)(#[^)\s]+)?\)", document.read_text())
    for target, anchor in links:
        if "://" in target or target.startswith("mailto:"):
            continue
        place = (document.parent / target).resolve()
        assert place.exists(), f"{target} is not there"
        if anchor and place.suffix == ".md":
            assert anchor[1:] in anchors(place), f"{target} has no {anchor}"


def anchors(document: Path) -> set[str]:
    """Return the anchors that a viewer of Markdown gives to the headings."""
    titles = re.findall(r"^#+ +(.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).strip().replace(" ", "-") for each in titles}
