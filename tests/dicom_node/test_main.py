import subprocess
import sys
from importlib.metadata import EntryPoint, version

import numpy as np
import pytest
from click import Context
from typer.main import get_command
from typer.testing import CliRunner

from dicom_node import main
from dicom_node.command_line import TRACEBACK
from tests.engine.toy_model import write_manifest, write_toy_model

WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from dicom_node.main import build
print([group.name for group in build().registered_commands])
"""


def test_a_node_without_torch_has_no_train_and_all_of_the_rest():
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, check=True
    ).stdout
    assert "'serve'" in said
    assert "'train'" not in said


STARTS = """
import sys
from dicom_node.main import build
build()
import dicom_node.commands.serve
print(*sys.modules)
"""


def test_a_device_is_on_its_way_before_anything_of_dicom_is_imported():
    said = subprocess.run(
        [sys.executable, "-c", STARTS], capture_output=True, text=True, check=True
    )
    late = {"pydicom", "pynetdicom", "highdicom", "dbos", "sqlalchemy"}
    assert late.isdisjoint(said.stdout.split())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Bring series that PEER already has"),
        (["jobs"], "List the newest jobs"),
        (["serve"], "SIGINT or SIGTERM ends it"),
        (["jobs", "show"], "or the beginning of it"),
    ],
)
def test_a_command_that_is_imported_late_explains_itself(words, said, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    asked = CliRunner().invoke(main.build(), [*words, "--help"])
    assert said in asked.output


def test_a_command_that_is_mistyped_is_guessed():
    asked = CliRunner().invoke(main.build(), ["sreve"])
    assert "Did you mean 'serve', 'receive'?" in asked.output


def test_a_model_that_answers_wrongly_is_an_error_before_anything_listens(
    tmp_path, monkeypatch, capsys
):
    folder = write_toy_model(tmp_path / "toy")
    with np.load(folder / "reference.npz") as kept:
        np.savez(folder / "reference.npz", **{**kept, "labels": 2 - kept["labels"]})
    write_manifest(folder)
    monkeypatch.setenv("HEPAR_NODE__DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["hepar", "serve", "--model", str(folder)])
    monkeypatch.setattr("dicom_node.commands.serve.start_logging", lambda: None)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 1
    assert "error: no device can run the model" in capsys.readouterr().err
    assert not (tmp_path / "data" / "jobs.sqlite").exists()


def test_a_package_that_cannot_do_without_what_is_missing_is_an_error(monkeypatch):
    broken = EntryPoint("x", "engine.absent:register", main.GROUP)
    monkeypatch.setattr(main, "entry_points", lambda group: [broken])
    with pytest.raises(ModuleNotFoundError, match=r"engine\.absent"):
        main.build()


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["serve", "--config", "/absent.toml"], 2, "error: cannot read /absent.toml"),
        (["serve", "--model", "/absent"], 1, "error: no model.json in /absent"),
        (["send", "/", "nobody"], 2, "error: no peer 'nobody', only folder"),
    ],
)
def test_an_error_on_purpose_is_one_line_and_an_exit_status(
    words, status, said, monkeypatch, capsys, tmp_path
):
    monkeypatch.setenv("HEPAR_NODE__DATA", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", ["hepar", *words])
    monkeypatch.setattr("dicom_node.commands.serve.start_logging", lambda: None)
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == status
    assert said in capsys.readouterr().err.replace("\n", " ")


def test_the_version_is_told(capsys):
    assert CliRunner().invoke(main.build(), ["--version"]).output == f"hepar {version('hepar')}\n"


@pytest.mark.parametrize("traceback", ["", "1"])
def test_an_unforeseen_error_is_one_line_without_its_words(monkeypatch, capsys, traceback):
    def fail(**_):
        raise ValueError("Doe^Jane")

    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv(TRACEBACK, traceback)
    monkeypatch.setattr(main, "build", lambda: fail)
    if traceback:
        with pytest.raises(ValueError, match="Doe"):
            main.main()
        return
    with pytest.raises(SystemExit) as ended:
        main.main()
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert "unforeseen ValueError at" in said
    assert "Doe" not in said


WITHOUT_JSON = {
    "serve": "runs until it is stopped; the log has a form for machines",
    "receive": "as serve",
    "work": "as serve",
    "deliver": "as serve",
    "web": "as serve",
    "migrate": "tells nothing but that it is done",
    "conformance": "prints a document",
    "segment": "--statistics writes JSON beside each result",
    "phantom": "writes its truth as files",
    "engine bench": "--json FILE",
    "evaluate": "--json FILE",
    "train recipe": "writes a model folder with model.json; nobody types its name",
    "train plan": "writes a recipe",
    "explain": "writes pictures",
    "model export": "writes a model folder with model.json",
    "model calibrate": "writes its figures into model.json",
    "dataset pull": "writes a manifest",
}
"""Commands that print no JSON, and why."""


def every_command(group, context, above=""):
    """Yield the full name and the command, for all commands of a group and of those below."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if hasattr(command, "list_commands"):
            yield from every_command(command, context, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


def test_every_command_that_tells_something_tells_it_as_json():
    group = get_command(main.build())
    commands = dict(every_command(group, Context(group)))
    without = {
        name
        for name, command in commands.items()
        if not any("--json" in each.opts for each in command.params)
    }
    assert without <= WITHOUT_JSON.keys()
    assert WITHOUT_JSON.keys() <= commands.keys()
