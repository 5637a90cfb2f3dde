"""Each command that the README and the documents for users show is run, against one node."""

import os
import shlex
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import SimpleITK
from pydicom import dcmread
from typer.testing import CliRunner

from dicom_node.config.settings import load_settings
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.state import State
from dicom_node.main import build
from tests.documented import Place, commands, serving, write_phantoms
from tests.engine.toy_model import write_toy_model
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "docs" / "admin.md", ROOT / "docs" / "radiologist.md"]

NOT_RUN = {
    "make demo": "installs from the network; .ci/run and `make versions` run it",
    "make stack": "tests/system/test_stack.py runs the same with a browser",
    "make test": "it is what runs this",
    "python3 -m venv /opt/hepar": "writes outside the clone",
    "ln -s /opt/hepar": "writes outside the clone",
    "export": "sets a variable of a shell; the tests set HEPAR_CONFIG",
    "/opt/hepar/bin/pip": "installs from the network; `make demo` installs the same",
    "pip install": "installs from the network; `make demo` installs the same",
    "docker": "needs a Docker daemon; tests/deploy/test_compose.py checks the files",
    "systemctl": "needs systemd as the first process; tests/deploy checks the unit",
    "hepar serve": "the node that the others are run against was started by it",
    "hepar explain": "takes a minute; tests/test_newcomer.py runs it on a small model",
    "hepar model shadow": "needs a shadow; test_shadow_model.py runs all three",
    "hepar model promote": "the same",
    "hepar model rollback": "the same",
    "hepar train": "takes minutes; tests/test_newcomer.py trains, evaluates and serves",
}
"""Beginnings of the commands that are not run here, and why."""

QUICKER = {
    "hepar demo": "series --model toy",
    "hepar doctor": "--quick",
    "hepar engine doctor": "--quick --model toy",
    "hepar segment": "--model toy",
}
"""What is added to a command, so that it does not take the time of the model that ships."""

MENTIONS = {
    *("jobs", "jobs retry --again", "jobs send --to archive", "dataset pull", "pull", "send"),
    *("engine bench", "engine build", "engine rollback"),
}
"""Names of commands in sentences, without what they act on: their help is shown instead."""


def every_command() -> list[str]:
    """Return the commands of all documents, each once; those that remove come last."""
    found = dict.fromkeys(line for document in DOCUMENTS for line in commands(document))
    return sorted(found, key=lambda line: "jobs remove" in line)


def reason(line: str) -> str:
    """Return why a command is not run; empty if it is."""
    bare = line.split("=", 1)[-1].split(" ", 1)[-1] if line.startswith("HEPAR_") else line
    return next((why for start, why in NOT_RUN.items() if bare.startswith(start)), "")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A node with three done jobs, an archive, and files of the names that documents use."""
    folder = tmp_path_factory.mktemp("documented")
    model = write_toy_model(folder / "toy")
    series = write_phantoms(folder, 3)
    shutil.copytree(series[0], folder / "series")
    image = SimpleITK.ReadImage(sorted(map(str, (folder / "series").iterdir())))
    SimpleITK.WriteImage(image, folder / "scan.nii.gz")
    (folder / "var" / "private").mkdir(parents=True)  # as systemd keeps it for a dynamic user
    (folder / "var" / "hepar").symlink_to(folder / "var" / "private")
    (folder / "var" / "private" / "jobs.sqlite").write_text("kept")
    with serving(folder, model) as (node, http_port, _):
        log = folder / "serve.log"
        wait_until(lambda: "listens on" in log.read_text() or node.poll() is not None)
        assert node.poll() is None, log.read_text()
        settings = load_settings(folder / "hepar.toml")
        for each in series:
            run(f"hepar send {each} HEPAR@127.0.0.1:{settings.node.port}", folder)
        with open_ledger(settings.database_url) as ledger:
            wait_until(lambda: [job.state for job in ledger.jobs()] == [State.DONE] * len(series))
            jobs = tuple(job.id for job in ledger.jobs())
            uid = ledger.jobs()[0].series_uid
        yield Place(folder, http_port, jobs, uid, model)


def run(line: str, folder: Path) -> None:
    """Run a line in a folder; fail with its words unless its exit status is 0."""
    words = shlex.split(line)
    if words[0] == "hepar" and "|" not in words:  # in this process: an import takes a second
        before = Path.cwd()
        os.chdir(folder)
        try:
            done = CliRunner().invoke(build(), words[1:], env={"HEPAR_CONFIG": "hepar.toml"})
        finally:
            os.chdir(before)
        assert done.exit_code == 0, f"{line}: {done.output[-2000:]} {done.exception!r}"
        return
    shell = subprocess.run(line, shell=True, cwd=folder, capture_output=True, text=True)
    assert shell.returncode == 0, f"{line}: {shell.stdout[-2000:]} {shell.stderr[-2000:]}"


@pytest.mark.parametrize("line", [each for each in every_command() if not reason(each)])
def test_a_command_of_a_document_works(place: Place, line: str):
    filled = place.fill(line)
    assert "/var/lib" not in filled, "it would change this machine"
    words = filled.split()
    if words[0] != "hepar" and shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed here")
    if " ".join(words[1:]) in MENTIONS:
        filled = f"{filled.split(' --')[0]} --help"
    for start, more in QUICKER.items():
        if filled.startswith(start):
            filled = f"{filled} {more}"
    run(filled, place.folder)


def test_what_is_not_run_is_in_a_document():
    lines = [line for line in every_command() if reason(line)]
    for start in NOT_RUN:
        assert any(start in line for line in lines), f"{start!r} is in no document any more"


def test_the_results_of_the_documented_commands_are_there(place: Place):
    """What the commands before it have left, the backup and what it restored among it."""
    folder = place.folder
    if not (folder / "out").exists():
        pytest.skip("the commands were not run")
    assert {path.suffix for path in (folder / "out").iterdir()} >= {".dcm", ".gz"}
    segs = [dcmread(path).Modality for path in (folder / "out").glob("*.dcm")]
    assert set(segs) == {"SEG"}
    assert (folder / "var" / "private" / "jobs.sqlite").read_text() == "kept"
    with tarfile.open(folder / "hepar.tgz") as backup:
        assert "./jobs.sqlite" in backup.getnames()
