"""Series in real archives are pulled and segmented."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread
from typer.testing import CliRunner

from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.state import State
from dicom_node.main import build
from tests.system.servers import Dcmqrscp, HeparNode, Orthanc, free_port, storescu
from tests.system.test_confirmation import node_at, write_box
from tests.waiting import wait_until

KINDS = {"dicom": "Orthanc by DICOM", "dicomweb": "Orthanc by DICOMweb", "dcmqrscp": "dcmqrscp"}
"""Archives, by the name of the peer."""


@dataclass(frozen=True)
class Filled:
    """A running archive with one small study, which may be sent to a port of this machine."""

    server: Orthanc | Dcmqrscp
    peer: str
    """Its table in a node's configuration."""
    study: str

    @classmethod
    def start(cls, running: ExitStack, folder: Path, name: str, port: int) -> "Filled":
        """Start an archive that stops with `running`, and send it a study."""
        paths = write_box(folder / f"series {name}")
        if name == "dcmqrscp":
            dcmtk = Dcmqrscp(folder / name, hepar=("HEPAR", port))
            server, called, table = dcmtk, "DCMQRSCP", dcmtk.peer(name)
        else:
            orthanc = Orthanc(folder / name)
            orthanc.know(hepar=("HEPAR", port))
            kind = "stow" if name == "dicomweb" else "store"
            server, called, table = orthanc, "ORTHANC", orthanc.peer(kind, name)
        running.enter_context(server)
        storescu(server.dicom_port, paths, called=called)
        return cls(server, table, str(dcmread(paths[0]).StudyInstanceUID))


@dataclass(frozen=True)
class Pulling:
    """A node, and the archives that it can pull from."""

    node: HeparNode
    archives: dict[str, Filled]


@pytest.fixture(scope="module")
def pulling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pulling]:
    """One node with an archive of each kind."""
    folder, port = tmp_path_factory.mktemp("pulling"), free_port()
    with ExitStack() as running:
        archives = {name: Filled.start(running, folder, name, port) for name in KINDS}
        peers = "".join(each.peer for each in archives.values())
        yield Pulling(running.enter_context(node_at(folder / "node", peers, port)), archives)


def hepar(node: HeparNode, *words: str) -> str:
    """Run the command with the node's configuration; return what it prints."""
    run = CliRunner().invoke(build(), [*words, "--config", str(node.configuration)])
    assert run.exit_code == 0, f"{run.output} {run.exception!r}"
    return run.output


@pytest.mark.parametrize("name", KINDS, ids=KINDS.values())
def test_what_an_archive_has_is_pulled_into_the_node(pulling: Pulling, name: str):
    study = pulling.archives[name].study
    assert "1 series pulled" in hepar(pulling.node, "pull", name, "--study", study)
    with open_ledger(f"sqlite:///{pulling.node.data / 'jobs.sqlite'}") as ledger:

        def jobs():
            return [job for job in ledger.jobs() if job.study_uid == study]

        wait_until(lambda: [job.state for job in jobs()] == [State.DONE])
        assert len(jobs()[0].paths) == 8


@pytest.mark.parametrize("name", KINDS, ids=KINDS.values())
def test_what_an_archive_has_is_segmented_without_a_node(name: str, tmp_path: Path):
    port = free_port()
    with ExitStack() as running:
        filled = Filled.start(running, tmp_path, name, port)
        node = node_at(tmp_path / "node", filled.peer, port)  # only its configuration is used
        out = tmp_path / "out"
        said = hepar(node, "segment", "--from", name, "--since", "2026-01-02", "-o", str(out))
    assert "liver" in said
    (seg,) = out.iterdir()
    assert dcmread(seg).Modality == "SEG"
