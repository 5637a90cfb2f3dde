"""Series in real archives are pulled and segmented."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.state import State
from tests.system.servers import BIN, Dcmqrscp, HeparNode, Orthanc, free_port, storescu
from tests.system.test_confirmation import node_at, write_box
from tests.waiting import wait_until

Filled = tuple[str, int, str]
"""The table of the archive, the port on which it can send to this node, and the study in it."""


@pytest.fixture(params=["Orthanc by DICOM", "Orthanc by DICOMweb", "dcmqrscp"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Filled]:
    """A running archive with one small study."""
    port = free_port()
    if request.param == "dcmqrscp":
        dcmtk = Dcmqrscp(tmp_path / "archive", hepar=("HEPAR", port))
        archive, called, table = dcmtk, "DCMQRSCP", dcmtk.peer()
    else:
        orthanc = Orthanc(tmp_path / "archive")
        orthanc.know(hepar=("HEPAR", port))
        kind = "stow" if request.param.endswith("web") else "store"
        archive, called, table = orthanc, "ORTHANC", orthanc.peer(kind)
    paths = write_box(tmp_path / "series")
    with archive:
        storescu(archive.dicom_port, paths, called=called)
        yield table, port, str(dcmread(paths[0]).StudyInstanceUID)


def hepar(node: HeparNode, *words: str) -> str:
    """Run the command with the node's configuration; return what it prints."""
    command = [BIN / "hepar", *words, "--config", node.configuration]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def test_what_an_archive_has_is_pulled_into_the_node(filled: Filled, tmp_path: Path):
    table, port, study = filled
    with node_at(tmp_path / "node", table, port) as node:
        assert "1 series pulled" in hepar(node, "pull", "archive", "--study", study)
        with open_ledger(f"sqlite:///{node.data / 'jobs.sqlite'}") as ledger:
            wait_until(lambda: [job.state for job in ledger.jobs()] == [State.DONE])
            assert len(ledger.jobs()[0].paths) == 8


def test_what_an_archive_has_is_segmented_without_a_node(filled: Filled, tmp_path: Path):
    table, port, _ = filled
    node = node_at(tmp_path / "node", table, port)  # only its configuration is used
    out = tmp_path / "out"
    said = hepar(node, "segment", "--from", "archive", "--since", "2026-01-02", "-o", str(out))
    assert "liver" in said
    (seg,) = out.iterdir()
    assert dcmread(seg).Modality == "SEG"
