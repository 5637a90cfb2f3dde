"""Configurations, commands and pictures that the documents show."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from PIL import Image

from dicom_node.config.settings import load_settings
from dicom_node.main import build
from trainer.runs.recipe_first import TRAIN, RecipeFirst

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
CONFIGURATION = ROOT / "docs" / "configuration.md"
DOCUMENTS = sorted([README, ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/*.md")])


def blocks(document: Path, language: str) -> list[str]:
    """Return the document's blocks of code in `language`."""
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(), re.DOTALL)


def configuration(document: Path, folder: Path) -> Path:
    """Write the configuration that a document shows to a file, and return it."""
    (shown,) = (each for each in blocks(document, "toml") if "[node]" in each)
    file = folder / "hepar.toml"
    file.write_text(shown)
    return file


def commands() -> list[str]:
    """Return every call of `hepar` in the documents."""
    lines = [
        line.split("#")[0].strip()
        for document in DOCUMENTS
        for block in blocks(document, "sh")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    return sorted({line for line in lines if line.startswith("hepar ")})


def test_the_configuration_in_the_readme_can_be_read(tmp_path):
    assert set(load_settings(configuration(README, tmp_path)).destinations) == {"archive"}


def test_the_configuration_in_the_documents_can_be_read(tmp_path):
    peers = set(load_settings(configuration(CONFIGURATION, tmp_path)).destinations)
    assert peers == {"archive", "viewer", "shelf"}


def test_the_variable_for_a_secret_is_the_one_that_is_read(tmp_path, monkeypatch):
    file = configuration(CONFIGURATION, tmp_path)
    (name,) = set(re.findall(r"`(HEPAR_\w+)`", CONFIGURATION.read_text()))
    monkeypatch.setenv(name, "open sesame")
    assert load_settings(file).destinations["viewer"].password.get_secret_value() == "open sesame"


@pytest.mark.parametrize("line", commands())
def test_a_command_in_a_document_exists_with_its_options(line):
    words = [word for word in shlex.split(line) if word != "…"]
    command = typer.main.get_command(build())
    rest = words[1:]
    while getattr(command, "commands", {}) and rest and not rest[0].startswith("-"):
        if isinstance(command, RecipeFirst) and rest[0] not in command.commands:
            command = command.commands[TRAIN]
            continue
        names = re.split(r"[|,]", rest.pop(0).rstrip(","))
        found = {name: command.get_command(None, name) for name in names if name != "…"}
        assert all(found.values()), f"{line}: {found}"
        command = found[names[0]]
        if len(names) > 1 or words[-1].endswith(","):
            return
    options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    used = {word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
    assert used <= options, f"{line}: no option {sorted(used - options)}"


def test_the_readme_shows_a_picture_that_git_holds():
    (shown,) = re.findall(r"!\[.+\]\((.+\.png)\)", README.read_text())
    picture = ROOT / shown
    assert picture.stat().st_size < 300_000
    with Image.open(picture) as image:
        assert image.width > 800


def test_a_stranger_reads_the_readme_in_two_minutes():
    """At 250 words a minute, code and tables included."""
    assert len(re.findall(r"\w+", README.read_text())) < 900
    (shown,) = (each for each in blocks(README, "toml") if "[node]" in each)
    assert len([line for line in shown.splitlines() if line]) <= 10
