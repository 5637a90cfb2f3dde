import socket
import threading
import time
from io import BytesIO

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    RLELossless,
    SegmentationStorage,
)
from pynetdicom import AE, evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider

from dicom_node.deliver.c_store_scu import SLOWEST_BYTES_PER_S, StorePeer
from dicom_node.errors import PeerRefused, PeerUnavailable
from dicom_node.results.objects import Encoding
from dicom_node.results.seg import encode
from dicom_node.sop_classes import LABEL_MAP_SEGMENTATION, VERIFICATION
from tests.dicom_node.results.test_seg import draw, write
from tests.waiting import GENEROUS_S

EVERY = {
    "1.2.840.10008.1.1": [ImplicitVRLittleEndian],
    SegmentationStorage: [ExplicitVRLittleEndian, ImplicitVRLittleEndian],
    CTImageStorage: [ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless],
}


@pytest.fixture
def archive():
    """Start an archive that takes `accepts` and answers `status`; give back a peer and its box."""
    running = []

    def start(accepts=EVERY, status=0x0000, answer_s=GENEROUS_S, **entity):
        box = []

        def keep(event):
            box.append(event.encoded_dataset())
            return status(event) if callable(status) else status

        scp = AE("ARCHIVE")
        for sop_class, syntaxes in accepts.items():
            scp.add_supported_context(sop_class, syntaxes)
        for name, value in entity.items():
            setattr(scp, name, value)
        server = scp.start_server(
            ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, keep)]
        )
        running.append(server)
        port = server.socket.getsockname()[1]
        peer = StorePeer("pacs", "ARCHIVE", "127.0.0.1", port, answer_s=answer_s)
        return peer, box

    yield start
    for server in running:
        server.shutdown()


def test_the_object_arrives_byte_by_byte(archive, seg_file):
    peer, box = archive()
    peer.send(seg_file)
    assert data_set_of(box[0]) == data_set_of(seg_file.read_bytes())


def test_a_peer_that_knows_only_implicit_vr_gets_the_same_object(archive, seg_file):
    peer, box = archive({SegmentationStorage: [ImplicitVRLittleEndian]})
    peer.send(seg_file)
    arrived, sent = dcmread(BytesIO(box[0])), dcmread(seg_file)
    assert arrived.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert arrived.PixelData == sent.PixelData
    assert arrived.SegmentSequence == sent.SegmentSequence


def test_a_peer_without_rle_gets_the_same_masks_uncompressed(archive, sources, tmp_path):
    path = tmp_path / "labelmap.dcm"
    path.write_bytes(encode(write(draw(sources), sources, encoding=Encoding.LABELMAP)))
    assert dcmread(path).file_meta.TransferSyntaxUID == RLELossless
    peer, box = archive({LABEL_MAP_SEGMENTATION: [ExplicitVRLittleEndian]})
    peer.send(path)
    arrived, sent = dcmread(BytesIO(box[0])), dcmread(path)
    assert arrived.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert arrived.SOPInstanceUID == sent.SOPInstanceUID
    assert np.array_equal(arrived.pixel_array, sent.pixel_array)


def test_a_peer_that_refuses_the_class_is_told_apart(archive, seg_file):
    peer, _ = archive({CTImageStorage: [ImplicitVRLittleEndian]})
    with pytest.raises(PeerRefused, match=r"pacs: .*does not accept Segmentation Storage.*allow"):
        peer.send(seg_file)


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        (0xA700, PeerUnavailable, r"0xA700 \(out of resources\)"),
        (0xA7F1, PeerUnavailable, r"0xA7F1 \(out of resources\)"),
        (0x0110, PeerUnavailable, r"0x0110 \(processing failure\)"),
        (0xA771, PeerRefused, r"0xA771 \(a reason of its own\)"),
        (0xA779, PeerRefused, r"0xA779 \(a reason of its own\)"),
        (0xA77F, PeerRefused, r"0xA77F \(a reason of its own\)"),
        (0xA780, PeerUnavailable, r"0xA780 \(out of resources\)"),
        (0xA900, PeerRefused, r"0xA900 \(data set does not match SOP class\)"),
        (0xC123, PeerRefused, r"0xC123 \(cannot understand\)"),
        (0x0122, PeerRefused, r"0x0122 \(SOP class not supported\)"),
        (0x0124, PeerRefused, r"0x0124 \(not authorised\)"),
    ],
)
def test_a_failure_is_for_now_or_for_good(archive, seg_file, status, error, says):
    peer, _ = archive(status=status)
    with pytest.raises(error, match=says):
        peer.send(seg_file)


def test_what_a_peer_says_of_the_patient_is_not_repeated(archive, seg_file):
    answer = Dataset()
    answer.Status, answer.ErrorComment = 0xC123, "Musterfrau^Erika has another ID"
    peer, _ = archive(status=answer)
    with pytest.raises(PeerRefused, match="see the peer's log") as caught:
        peer.send(seg_file)
    assert "Musterfrau" not in str(caught.value)


def test_what_a_peer_says_of_its_reason_is_repeated(archive, seg_file):
    answer = Dataset()
    answer.Status, answer.ErrorComment = 0xA771, "Subsequent occurrence of rejected object"
    peer, _ = archive(status=answer)
    with pytest.raises(PeerRefused, match=r'0xA771 .*"Subsequent occurrence of rejected object"'):
        peer.send(seg_file)


@pytest.mark.parametrize("status", [0xB000, 0xB006, 0xB007])
def test_a_warning_means_stored(archive, seg_file, status):
    peer, box = archive(status=status)
    changed = peer.send(seg_file)
    assert len(box) == 1
    assert bool(changed) == (status == 0xB000)  # coercion: perhaps under another UID


def test_a_duplicate_counts_as_sent(archive, seg_file):
    peer, _ = archive(status=0x0111)
    assert peer.send(seg_file) == ""


def test_nobody_there_is_unavailable(seg_file):
    gone = StorePeer("pacs", "ARCHIVE", "127.0.0.1", 1, connect_s=2)
    for act in (gone.echo, lambda: gone.send(seg_file)):
        with pytest.raises(PeerUnavailable, match=r"no association with ARCHIVE at 127\.0\.0\.1:1"):
            act()


def test_a_peer_that_breaks_off_is_unavailable(archive, seg_file):
    def hang_up(event):
        event.assoc.abort()
        return 0x0000

    peer, _ = archive(status=hang_up)
    with pytest.raises(PeerUnavailable, match="aborted"):
        peer.send(seg_file)


def test_a_peer_that_never_answers_is_unavailable_after_a_while(archive, seg_file):
    given_up = threading.Event()

    def fall_silent(_):
        given_up.wait(GENEROUS_S)
        return 0x0000

    peer, _ = archive(status=fall_silent, answer_s=0.3)
    waited_s = 0.3 + seg_file.stat().st_size / SLOWEST_BYTES_PER_S
    with pytest.raises(PeerUnavailable, match=rf"no answer within {waited_s:.3g} s"):
        peer.send(seg_file)
    given_up.set()


def test_a_peer_that_does_not_know_us_says_which_title_to_register(archive, seg_file):
    peer, _ = archive(require_calling_aet=["SOMEONE"])
    with pytest.raises(PeerRefused, match=r"association of HEPAR.*register both AE titles"):
        peer.send(seg_file)


def test_a_full_peer_is_unavailable(archive, seg_file):
    peer, _ = archive(maximum_associations=1)
    guest = AE()
    guest.add_requested_context(SegmentationStorage)
    association = guest.associate(peer.host, peer.port)
    try:
        with pytest.raises(PeerUnavailable, match="rejected the association"):
            peer.send(seg_file)
    finally:
        association.release()


def test_echo_is_answered(archive):
    peer, _ = archive()
    peer.echo()


def test_many_files_go_over_one_association_each_as_it_is(archive, sources, tmp_path):
    peer, box = archive()
    syntaxes = [ExplicitVRLittleEndian, ImplicitVRLittleEndian] * 3
    paths = save(sources[:6], syntaxes, tmp_path)
    counted = []
    peer.send_many(paths, counted.append)
    assert counted == [1, 2, 3, 4, 5, 6]
    for path, arrived in zip(paths, box, strict=True):
        assert data_set_of(arrived) == data_set_of(path.read_bytes())


def test_a_slow_link_is_given_the_time_that_an_object_takes(sources, tmp_path):
    sources[0].PixelData = bytes(400_000)
    (large,) = save(sources[:1], [ExplicitVRLittleEndian], tmp_path)
    scp = AE("ARCHIVE")
    scp.add_supported_context(CTImageStorage, ExplicitVRLittleEndian)
    slow = [
        (evt.EVT_PDU_RECV, lambda event: time.sleep(0.08)),  # 16 KB
        (evt.EVT_C_STORE, lambda event: 0x0000),
    ]
    server = scp.start_server(("127.0.0.1", 0), block=False, evt_handlers=slow)
    address = server.socket.getsockname()
    try:
        StorePeer("pacs", "ARCHIVE", *address, answer_s=1).send(large)
    finally:
        server.shutdown()


def test_an_association_whose_thread_has_ended_is_not_waited_for(archive):
    peer, _ = archive()
    with peer.associated([(VERIFICATION, ImplicitVRLittleEndian)]) as association:
        association._kill = True  # as after an error on the wire
        association.join(GENEROUS_S)
        assert "Status" in association.send_c_echo()


def test_on_a_busy_machine_no_thread_takes_the_answer_of_another(archive, seg_file, monkeypatch):
    peer, box = archive()
    get = DIMSEServiceProvider.get_msg

    def get_late(dimse, block=False):
        if block and dimse.assoc.is_requestor:
            time.sleep(0.1)
        return get(dimse, block)

    def wake_late(association, rests):
        if not rests and association.is_requestor:
            time.sleep(0.05)
        vars(association)["rests"] = rests

    late = property(lambda association: vars(association)["rests"], wake_late)
    monkeypatch.setattr(Association, "_is_paused", late, raising=False)
    monkeypatch.setattr(DIMSEServiceProvider, "get_msg", get_late)
    peer.send_many([seg_file] * 3)
    assert len(box) == 3


def test_the_file_that_is_not_taken_is_named(archive, seg_file):
    answers = iter([0x0000, 0xA900])
    peer, _ = archive(status=lambda event: next(answers))
    with pytest.raises(PeerRefused, match=rf"0xA900 .*; at {seg_file}, after 1 of 2"):
        peer.send_many([seg_file, seg_file])


def test_an_encoding_the_peer_does_not_take_is_named_before_anything_is_sent(
    archive, sources, tmp_path
):
    peer, box = archive({CTImageStorage: [ImplicitVRLittleEndian]})
    paths = save(sources[:2], [ImplicitVRLittleEndian, ExplicitVRLittleEndian], tmp_path)
    with pytest.raises(PeerRefused, match="CT Image Storage as Explicit VR Little Endian"):
        peer.send_many(paths)
    assert box == []


def test_a_file_without_uids_is_refused_before_anyone_is_called(sources, tmp_path):
    sources[0].preamble = bytes(128)
    sources[0].file_meta.MediaStorageSOPClassUID = ""
    path = tmp_path / "blank.dcm"
    sources[0].save_as(path)
    with pytest.raises(PeerRefused, match="has a blank UID"):
        StorePeer("pacs", "ARCHIVE", "127.0.0.1", 1).send_many([path])


def save(instances, syntaxes, folder):
    paths = []
    for instance, syntax in zip(instances, syntaxes, strict=True):
        paths.append(folder / f"{instance.SOPInstanceUID}.dcm")
        instance.file_meta.TransferSyntaxUID = syntax
        instance.save_as(paths[-1], enforce_file_format=True)
    return paths


def data_set_of(part10: bytes) -> bytes:
    """What follows the file meta information: a group of its own that says how long it is."""
    length = int.from_bytes(part10[140:144], "little")
    return part10[144 + length :]


def test_a_host_without_an_address_is_named_and_tried_again(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    peer = StorePeer("archive", "ARCHIVE", "archive.example", 4242)
    with pytest.raises(PeerUnavailable, match=r"archive\.example cannot be found: Name or") as seen:
        peer.echo()
    assert seen.value.transient
