"""What the README shows, works."""

import re
from pathlib import Path

import pytest
import typer

from dicom_node.config.settings import load_settings
from dicom_node.main import build

README = Path(__file__).resolve().parents[1] / "README.md"


def block(language: str, holding: str) -> str:
    """Return the README's block of code in `language` that holds a text."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README.read_text(), re.DOTALL)
    (found,) = (each for each in blocks if holding in each)
    return found


def test_the_example_of_a_configuration_can_be_read(tmp_path):
    file = tmp_path / "hepar.toml"
    file.write_text(block("toml", "[node]"))
    assert set(load_settings(file).destinations) == {"archive", "viewer", "shelf"}


def test_the_variable_for_a_secret_is_the_one_that_is_read(tmp_path, monkeypatch):
    file = tmp_path / "hepar.toml"
    file.write_text(block("toml", "[node]"))
    (name,) = set(re.findall(r"`(HEPAR_\w+)`", README.read_text()))
    monkeypatch.setenv(name, "open sesame")
    assert load_settings(file).destinations["viewer"].password.get_secret_value() == "open sesame"


@pytest.mark.parametrize(
    "command", sorted(set(re.findall(r"hepar ([a-z]+)\b", block("sh", "hepar serve"))))
)
def test_the_commands_it_names_are_there(command):
    assert command in typer.main.get_command(build()).commands


def test_it_fits_on_150_lines():
    assert len(README.read_text().splitlines()) <= 150
