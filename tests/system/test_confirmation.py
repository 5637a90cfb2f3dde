"""Deliveries confirmed by real archives, in the way that each of them has."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.deliver.dicomweb import DicomWebPeer
from dicom_node.deliver.sop_reference import read_reference
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.state import Delivery, State
from dicom_node.results.objects import ObjectKind
from tests.conftest import make_ct_series
from tests.dicom_node.drawing import draw_case
from tests.engine.toy_model import write_toy_model
from tests.system.servers import (
    Dcmqrscp,
    HeparNode,
    Orthanc,
    Server,
    Storescp,
    free_port,
    storescu,
)
from tests.waiting import wait_until

LIVER_HU = 150
"""Labels of the toy model."""


@pytest.fixture
def series(tmp_path: Path) -> list[Path]:
    """Files of a small series with a box that the toy model marks."""
    return write_box(tmp_path / "series")


def write_box(folder: Path, slices: int = 8) -> list[Path]:
    folder.mkdir()
    paths = []
    for instance in make_ct_series(slices=slices, rows=64, columns=64, spacing_mm=(5, 4, 4)):
        pixels = instance.pixel_array.astype("u2") * 0
        pixels[10:40, 10:40] = LIVER_HU + 1024
        instance.PixelData = pixels.tobytes()
        paths.append(folder / f"{instance.SOPInstanceUID}.dcm")
        instance.save_as(paths[-1], enforce_file_format=True)
    return paths


def node_at(folder: Path, peers: str, port: int | None = None) -> HeparNode:
    """A node that is quick: a toy model, and hardly any quiet time."""
    model = write_toy_model(folder.parent / "model")
    return HeparNode(folder, peers, model=model, quiet_s=0.5, port=port)


def delivery_of(node: HeparNode) -> Delivery:
    """Wait for the end of the node's only delivery, and return it."""
    (delivery,) = deliveries_of(node)
    return delivery


def deliveries_of(node: HeparNode) -> Sequence[Delivery]:
    """Wait for the end of the node's only job, and return its deliveries."""
    with open_ledger(f"sqlite:///{node.data / 'jobs.sqlite'}") as ledger:
        wait_until(lambda: [j.state for j in ledger.jobs()] == [State.DONE])
        return ledger.jobs()[0].deliveries


@dataclass(frozen=True)
class Confirmed:
    """Archives that were sent the results of one job of one node."""

    servers: Mapping[str, Server]
    """By the name of the peer."""
    deliveries: Sequence[Delivery]

    def of(self, peer: str) -> dict[str, str]:
        """How each object was confirmed by a peer."""
        return {each.item: each.confirmed for each in self.deliveries if each.peer == peer}


KNOWN = {"auto": "", "commitment": 'confirm = "commitment"\n', "find": 'confirm = "find"\n'}
"""Archives that know the node, by name, and what its configuration adds to each."""


@pytest.fixture(scope="module")
def confirmed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Confirmed]:
    """Archives of every kind, each of its own, that one node delivers to."""
    folder, port = tmp_path_factory.mktemp("confirmed"), free_port()
    orthancs = {name: Orthanc(folder / name) for name in (*KNOWN, "every", "unknown")}
    for name in (*KNOWN, "every"):
        orthancs[name].know(hepar=("HEPAR", port))  # it reports on an association of its own
    receiver, dcmtk = Storescp(folder / "receiver"), Dcmqrscp(folder / "dcmtk")
    kinds = ", ".join(f'"{kind}"' for kind in ObjectKind)
    peers = [orthancs[name].peer("store", name) + more for name, more in KNOWN.items()]
    peers += [f"{orthancs['every'].peer('store', 'every')}objects = [{kinds}]\n"]
    peers += [orthancs["unknown"].peer("stow", "unknown")]
    peers += [receiver.peer("receiver"), dcmtk.peer("dcmtk")]
    servers = {**orthancs, "receiver": receiver, "dcmtk": dcmtk}
    with ExitStack() as running:
        for each in servers.values():
            running.enter_context(each)
        node = running.enter_context(node_at(folder / "node", "".join(peers), port))
        storescu(port, write_box(folder / "series"), called="HEPAR")
        yield Confirmed(servers, deliveries_of(node))


@pytest.mark.parametrize(
    ("peer", "how"),
    [("auto", "storage commitment"), ("commitment", "storage commitment"), ("find", "C-FIND")],
)
def test_orthanc_confirms_what_it_took_by_c_store(peer: str, how: str, confirmed: Confirmed):
    assert confirmed.of(peer) == {"seg": how}
    archive = confirmed.servers[peer]
    assert isinstance(archive, Orthanc)
    assert len(archive.segmentations()) == 1


def test_orthanc_commits_itself_to_every_kind_of_object(confirmed: Confirmed):
    assert confirmed.of("every") == {str(kind): "storage commitment" for kind in ObjectKind}


def test_an_orthanc_that_does_not_know_the_node_is_searched_by_qido(confirmed: Confirmed):
    assert confirmed.of("unknown") == {"seg": "QIDO-RS"}


def test_storescp_can_be_asked_for_nothing_and_is_accepted_unverified(confirmed: Confirmed):
    assert confirmed.of("receiver") == {"seg": "accepted, not verified"}
    (seg,) = confirmed.servers["receiver"].folder.glob("S*.*")
    assert dcmread(seg).Modality == "SEG"


def test_dcmqrscp_has_no_storage_commitment_and_is_searched(confirmed: Confirmed):
    assert confirmed.of("dcmtk") == {"seg": "C-FIND"}


def test_an_orthanc_that_aborts_the_query_of_an_unknown_node_is_asked_again(
    series: list[Path], tmp_path: Path
):
    """An abort is no refusal: the job says what to do, and ends once the node is known."""
    archive = Orthanc(tmp_path / "archive")
    node = node_at(tmp_path / "node", archive.peer("store"))
    with node:
        with archive:
            storescu(node.port, series, called="HEPAR")
            wait_until(lambda: "make HEPAR known there" in node.log.read_text())
        archive.know(hepar=("HEPAR", node.port))
        with archive:
            assert delivery_of(node).confirmed in ("storage commitment", "C-FIND")
            assert len(archive.segmentations()) == 1


def test_a_seg_that_orthanc_lost_before_it_committed_is_sent_again(
    series: list[Path], tmp_path: Path
):
    archive = Orthanc(tmp_path / "archive")
    table = archive.peer("store") + 'confirm = "commitment"\n'
    node = node_at(tmp_path / "node", table)
    archive.know(hepar=("HEPAR", 1))  # where nobody listens: no report comes
    with node:
        with archive:
            storescu(node.port, series, called="HEPAR")
            wait_until(lambda: len(archive.segmentations()) == 1)
            wait_until(lambda: "action=deliver" in node.log.read_text())
            archive.delete(archive.segmentations()[0])
        archive.know(hepar=("HEPAR", node.port))
        with archive:
            assert delivery_of(node).attempts > 1
            assert len(archive.segmentations()) == 1


def test_orthanc_deletes_one_object_and_keeps_the_others(tmp_path: Path):
    """By its own interface: its DICOMweb plugin does not delete."""
    archive = Orthanc(tmp_path / "archive")
    for number in range(2):
        draw_case(make_ct_series(slices=9, rows=20, columns=24)).seg().save_as(
            tmp_path / f"{number}.dcm", enforce_file_format=True
        )
    with archive:
        peer = DicomWebPeer("archive", f"http://127.0.0.1:{archive.http_port}/dicom-web")
        for number in range(2):
            peer.send(tmp_path / f"{number}.dcm")
        peer.delete(read_reference(tmp_path / "0.dcm"))
        (kept,) = archive.segmentations()
        named = archive.get(f"instances/{kept}")["MainDicomTags"]["SOPInstanceUID"]
        assert named == read_reference(tmp_path / "1.dcm").instance_uid
        peer.delete(read_reference(tmp_path / "0.dcm"))
