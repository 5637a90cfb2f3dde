import errno
import os
import shutil
import socket
import subprocess
import threading
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
    SegmentationStorage,
)
from pynetdicom import AE, ALL_TRANSFER_SYNTAXES, build_context, evt
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.dsutils import encode
from pynetdicom.sop_class import Verification

from dicom_node.errors import StoreStatus
from dicom_node.net import data_set_file
from dicom_node.net.callers import Caller
from dicom_node.net.data_set_file import DataSetFile, NamelessFile
from dicom_node.net.reactor import install_reactor_pause
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.scp import Limits, listen, open_associations
from dicom_node.receive.spool import Spool
from tests.waiting import GENEROUS_S, wait_until

SHORT_S = 2.0
"""Silence that ends an association; a sender at work is never as slow."""


class Ear:
    """A listener that remembers, and lets the test wait."""

    def __init__(self):
        self.kept = []
        self.closed = threading.Event()

    def instance_kept(self, association, series):
        self.kept.append(series)

    def association_closed(self, association):
        self.closed.set()


class Telephone:
    """Passes on to the ear of the test that runs."""

    ear = Ear()

    def instance_kept(self, association, series):
        self.ear.instance_kept(association, series)

    def association_closed(self, association):
        self.ear.association_closed(association)


@pytest.fixture(scope="module")
def shared_node(tmp_path_factory):
    """One receiver for all tests that need no special limits: it takes half a second to end."""
    spool, telephone = Spool(tmp_path_factory.mktemp("node") / "spool"), Telephone()
    server = listen("TEST", ("127.0.0.1", 0), spool, telephone)
    yield server, spool, telephone
    server.ae.shutdown()


@pytest.fixture
def ear():
    return Ear()


@pytest.fixture
def node(shared_node, ear):
    """A listening node on a free loopback port with an empty spool: (address, spool)."""
    server, spool, telephone = shared_node
    telephone.ear = ear
    yield server.socket.getsockname(), spool
    wait_until(lambda: not server.active_associations)
    spool.keep_free_bytes = 0
    spool.remove(files(spool))


@pytest.fixture
def strict(tmp_path, ear):
    """Start a node that takes one association at a time: (address, spool, server)."""
    running = []

    def start(**limits):
        spool = Spool(tmp_path / "spool")
        server = listen("TEST", ("127.0.0.1", 0), spool, ear, Limits(associations=1, **limits))
        running.append(server)
        return server.socket.getsockname(), spool, server

    yield start
    for server in running:
        server.ae.shutdown()


def associate(address, contexts=((CTImageStorage, ExplicitVRLittleEndian),)):
    ae = AE()
    for abstract, syntax in contexts:
        ae.add_requested_context(abstract, syntax)
    return ae.associate(*address, evt_handlers=[(evt.EVT_CONN_OPEN, install_reactor_pause)])


def send(instances, address, syntax=ExplicitVRLittleEndian):
    """Send over one association and return the statuses."""
    association = associate(address, [(instances[0].SOPClassUID, syntax)])
    assert association.is_established
    try:
        return [association.send_c_store(instance).Status for instance in instances]
    finally:
        association.release()


def send_raw(address, data_set, sop_class, instance_uid, syntax=ExplicitVRLittleEndian):
    """Send bytes under any name, as a careless sender would, and return the status."""
    association = associate(address, [(CTImageStorage, syntax)])
    association._reactor_checkpoint.clear()
    wait_until(lambda: association._is_paused)
    request = C_STORE()
    request.MessageID, request.Priority = 1, 2
    request.AffectedSOPClassUID, request.AffectedSOPInstanceUID = sop_class, instance_uid
    request.DataSet = BytesIO(data_set)
    association.dimse.send_msg(request, association.accepted_contexts[0].context_id)
    _, answer = association.dimse.get_msg(block=True)
    association._reactor_checkpoint.set()
    association.release()
    return answer.Status


def files(spool):
    return [path for path in spool.folder.rglob("*") if path.is_file()]


def series_of(instance):
    return SeriesKey(instance.StudyInstanceUID, instance.SeriesInstanceUID)


def test_a_stored_instance_is_on_disk_whole(node, ear, ct_series):
    address, spool = node
    (sent,) = ct_series(slices=1)
    assert send([sent], address) == [StoreStatus.SUCCESS]
    (path,) = spool.paths(series_of(sent))
    kept = dcmread(path)
    assert kept == sent
    assert kept.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert ear.kept == [series_of(sent)]
    assert ear.closed.wait(GENEROUS_S)


def test_the_bytes_are_kept_as_they_came(node, ct_series):
    address, spool = node
    (sent,) = ct_series(slices=1)
    sent.add_new(0x00091001, "UN", b"private, and odd in every way\0")
    data_set = encode(sent, is_implicit_vr=False, is_little_endian=True)
    status = send_raw(address, data_set, sent.SOPClassUID, sent.SOPInstanceUID)
    assert status == StoreStatus.SUCCESS
    assert spool.paths(series_of(sent))[0].read_bytes().endswith(data_set)


def test_the_listener_is_called_once_the_file_is_on_the_disk(tmp_path, ct_series):
    class Looking(Ear):
        def instance_kept(self, association, series):
            self.kept.append(len(spool.paths(series)))

    spool, looking = Spool(tmp_path / "spool"), Looking()
    server = listen("TEST", ("127.0.0.1", 0), spool, looking)
    send(ct_series(slices=2), server.socket.getsockname())
    server.ae.shutdown()
    assert looking.kept == [1, 2]


def test_the_same_instance_twice_is_one_file(node, ct_series):
    address, spool = node
    (sent,) = ct_series(slices=1)
    assert send([sent, sent], address) == [StoreStatus.SUCCESS] * 2
    assert len(files(spool)) == 1


def test_a_data_set_with_file_meta_information_becomes_a_file_that_can_be_read(node, ct_series):
    address, spool = node
    (sent,) = ct_series(slices=1)
    data_set = encode(sent, is_implicit_vr=False, is_little_endian=True)
    wrong = b"\x02\x00\x10\x00UI\x16\x001.2.840.10008.1.2.4.90"
    status = send_raw(address, wrong + data_set, sent.SOPClassUID, sent.SOPInstanceUID)
    assert status == StoreStatus.SUCCESS
    kept = dcmread(spool.paths(series_of(sent))[0])
    assert kept.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert kept.PixelData == sent.PixelData


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_uids_with_leading_zeros_are_kept_as_they_are(node, ct_series):
    address, spool = node
    (sent,) = ct_series(slices=1)
    sent.SOPInstanceUID, sent.SeriesInstanceUID = "1.2.03.4", "1.2.03"
    data_set = encode(sent, is_implicit_vr=False, is_little_endian=True)
    status = send_raw(address, data_set, sent.SOPClassUID, sent.SOPInstanceUID)
    assert status == StoreStatus.SUCCESS
    assert dcmread(spool.paths(series_of(sent))[0]).SOPInstanceUID == "1.2.03.4"


def test_series_sent_at_once_keep_apart(node, ct_series):
    address, spool = node
    series = [ct_series(slices=4) for _ in range(3)]
    senders = [threading.Thread(target=send, args=(one, address)) for one in series]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    assert [len(spool.paths(series_of(one[0]))) for one in series] == [4, 4, 4]


@pytest.mark.parametrize("sop_class", [CTImageStorage, EnhancedCTImageStorage])
def test_every_transfer_syntax_is_accepted(node, sop_class):
    ae = AE()
    contexts = [build_context(sop_class, syntax) for syntax in ALL_TRANSFER_SYNTAXES]
    association = ae.associate(*node[0], contexts=contexts)
    accepted = {context.transfer_syntax[0] for context in association.accepted_contexts}
    association.release()
    assert accepted == set(ALL_TRANSFER_SYNTAXES)


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, JPEG2000Lossless])
def test_compressed_instances_are_kept_undecoded(node, ct_series, syntax):
    address, spool = node
    (sent,) = ct_series(slices=1, rows=64, columns=64)
    if syntax.is_compressed and not syntax.is_deflated:
        sent.compress(syntax)
    else:
        sent.file_meta.TransferSyntaxUID = syntax
    assert send([sent], address, syntax) == [StoreStatus.SUCCESS]
    (path,) = files(spool)
    assert dcmread(path).file_meta.TransferSyntaxUID == syntax
    assert dcmread(path).SOPInstanceUID == sent.SOPInstanceUID


def test_an_echo_is_answered(node):
    association = associate(node[0], [(Verification, "1.2.840.10008.1.2")])
    status = association.send_c_echo().Status
    association.release()
    assert status == StoreStatus.SUCCESS


@pytest.mark.parametrize("sop_class", [MRImageStorage, SegmentationStorage])
def test_another_sop_class_is_refused_when_it_is_offered(node, sop_class):
    both = [(Verification, "1.2.840.10008.1.2"), (sop_class, ExplicitVRLittleEndian)]
    association = associate(node[0], both)
    (refused,) = association.rejected_contexts
    association.release()
    assert refused.abstract_syntax == sop_class
    assert refused.result == 0x03  # abstract syntax not supported, PS3.8 table 9-18


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"sop_class": EnhancedCTImageStorage}, StoreStatus.SOP_CLASS_NOT_SUPPORTED),
        ({"instance_uid": "1.2.3"}, StoreStatus.DATA_SET_DOES_NOT_MATCH_SOP_CLASS),
        ({"instance_uid": "../../1.2"}, StoreStatus.INVALID_OBJECT_INSTANCE),
        ({"instance_uid": "1..3"}, StoreStatus.INVALID_OBJECT_INSTANCE),
        ({"instance_uid": None}, StoreStatus.INVALID_OBJECT_INSTANCE),
        ({"data_set": b"\x08\x00nothing of DICOM"}, StoreStatus.CANNOT_UNDERSTAND),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_cannot_be_kept_is_answered_with_the_reason(node, ct_series, ear, wrong, status):
    address, spool = node
    (instance,) = ct_series(slices=1)
    right = {
        "data_set": encode(instance, is_implicit_vr=False, is_little_endian=True),
        "sop_class": instance.SOPClassUID,
        "instance_uid": instance.SOPInstanceUID,
    }
    assert send_raw(address, **{**right, **wrong}) == status
    assert files(spool) == []
    assert ear.kept == []


def test_a_data_set_of_another_class_is_not_kept(node, ct_series):
    address, spool = node
    (instance,) = ct_series(slices=1)
    instance.SOPClassUID = MRImageStorage
    data_set = encode(instance, is_implicit_vr=False, is_little_endian=True)
    status = send_raw(address, data_set, CTImageStorage, instance.SOPInstanceUID)
    assert status == StoreStatus.DATA_SET_DOES_NOT_MATCH_SOP_CLASS
    assert files(spool) == []


def test_a_data_set_cut_off_after_its_header_is_kept_for_a_later_verdict(node, ct_series):
    address, spool = node
    (instance,) = ct_series(slices=1)
    data_set = encode(instance, is_implicit_vr=False, is_little_endian=True)[:-200]
    uids = (instance.SOPClassUID, instance.SOPInstanceUID)
    assert send_raw(address, data_set, *uids) == StoreStatus.SUCCESS
    assert len(files(spool)) == 1


@pytest.fixture
def in_files(monkeypatch):
    """Let data sets over 64 kB go through a file; return those that did."""
    made, begin = [], DataSetFile.__init__

    def noting(self, *given):
        begin(self, *given)
        made.append(self)

    monkeypatch.setattr(data_set_file, "IN_MEMORY_BYTES", 1 << 16)
    monkeypatch.setattr(DataSetFile, "__init__", noting)
    return made


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_a_large_instance_goes_through_a_file_and_is_the_same(node, ct_series, in_files, syntax):
    address, spool = node
    (sent,) = ct_series(slices=1, rows=640, columns=640)
    noise = np.random.default_rng(0).integers(0, 1000, (640, 640), np.int16)
    sent.set_pixel_data(noise, "MONOCHROME2", 16)
    sent.file_meta.TransferSyntaxUID = syntax
    assert send([sent], address, syntax) == [StoreStatus.SUCCESS]
    assert len(in_files) == 1
    assert dcmread(spool.paths(series_of(sent))[0]) == sent


def test_a_large_instance_with_file_meta_information_in_its_data_set(node, ct_series, in_files):
    address, spool = node
    (sent,) = ct_series(slices=1, rows=640, columns=640)
    data_set = encode(sent, is_implicit_vr=False, is_little_endian=True)
    wrong = b"\x02\x00\x10\x00UI\x16\x001.2.840.10008.1.2.4.90"
    status = send_raw(address, wrong + data_set, sent.SOPClassUID, sent.SOPInstanceUID)
    assert status == StoreStatus.SUCCESS
    assert in_files
    assert spool.paths(series_of(sent))[0].read_bytes().endswith(data_set)
    assert b"1.2.4.90" not in spool.paths(series_of(sent))[0].read_bytes()


def test_large_instances_leave_no_open_files(node, ct_series, in_files):
    address, _ = node
    instances = ct_series(slices=3, rows=640, columns=640)
    send(instances[:1], address)  # whatever is opened once
    before = _open_files()
    send(instances, address)
    assert len(in_files) == 4
    in_files.clear()
    wait_until(lambda: _open_files() <= before, what="descriptors are closed")


def _open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("step", ["__init__", "write"])
def test_a_large_instance_without_room_is_answered_once_it_has_come(
    node, ct_series, in_files, monkeypatch, step
):
    address, spool = node

    def no_space(*given):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    instances = ct_series(slices=2, rows=640, columns=640)
    with monkeypatch.context() as full:
        full.setattr(NamelessFile, step, no_space)
        assert send(instances, address) == [StoreStatus.OUT_OF_RESOURCES] * 2
    assert files(spool) == []
    assert send(instances, address) == [StoreStatus.SUCCESS] * 2


def test_a_large_instance_stops_at_the_watermark_before_it_has_come(tmp_path, ct_series, in_files):
    total = shutil.disk_usage(tmp_path).total
    server = listen("TEST", ("127.0.0.1", 0), Spool(tmp_path / "spool", keep_free_bytes=total))
    instances = ct_series(slices=1, rows=2048, columns=2048)
    assert send(instances, server.socket.getsockname()) == [StoreStatus.OUT_OF_RESOURCES]
    server.ae.shutdown()
    (file,) = in_files
    assert file.error is not None


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_blank_uids_are_refused(node, ct_series, keyword):
    address, spool = node
    (instance,) = ct_series(slices=1)
    setattr(instance, keyword, "")
    assert send([instance], address) == [StoreStatus.CANNOT_UNDERSTAND]
    assert files(spool) == []


def test_a_full_disk_is_answered_and_leaves_nothing(node, ct_series, monkeypatch):
    address, spool = node

    def no_space(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", no_space)
    assert send(ct_series(slices=1), address) == [StoreStatus.OUT_OF_RESOURCES]
    assert files(spool) == []


def test_a_disk_below_the_watermark_is_out_of_resources(node, ct_series):
    address, spool = node
    spool.keep_free_bytes = shutil.disk_usage(spool.folder).total
    assert send(ct_series(slices=1), address) == [StoreStatus.OUT_OF_RESOURCES]
    assert files(spool) == []


def test_an_association_too_many_is_rejected_for_now(strict, ct_series):
    address, _, server = strict()
    first = associate(address)
    second = associate(address)
    assert first.is_established
    assert second.is_rejected
    assert (second.acceptor.primitive.result, second.acceptor.primitive.diagnostic) == (2, 2)
    first.release()
    wait_until(lambda: not server.active_associations)
    assert send(ct_series(slices=1), address) == [StoreStatus.SUCCESS]


def test_associations_are_counted_by_what_became_of_them(strict):
    address, spool, _ = strict()
    assert spool.tally.associations() == {"accepted": 0, "rejected": 0}
    first = associate(address)
    assert associate(address).is_rejected
    wait_until(lambda: spool.tally.associations() == {"accepted": 1, "rejected": 1})
    first.release()


def test_an_idle_association_is_aborted(strict, ct_series, ear):
    (instance,) = ct_series(slices=1)
    association = associate(strict(network_s=SHORT_S)[0])
    association.send_c_store(instance)
    assert ear.closed.wait(GENEROUS_S)
    wait_until(lambda: association.is_aborted)


@pytest.mark.parametrize(
    "said",
    [
        b"",  # connected, and nothing more
        b"\x01\x00\x00",  # stopped in the middle of an A-ASSOCIATE-RQ
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x01\x00\xff\xff\xff\xff",  # announced 4 GB
    ],
)
def test_a_connection_that_never_associates_is_closed(strict, ct_series, said):
    address, _, server = strict(acse_s=0.3)
    with socket.create_connection(address, timeout=GENEROUS_S) as caller:
        caller.sendall(said)
        while caller.recv(1024):  # an abort may come first
            pass
    wait_until(lambda: not server.active_associations)
    wait_until(lambda: associates(address))  # at the latest when this machine has a free moment


def associates(address):
    association = associate(address)
    taken = association.is_established
    association.release()
    return taken


def test_a_sender_that_stops_in_the_middle_of_an_instance_is_let_go(strict, ct_series, ear):
    (instance,) = ct_series(slices=1)
    address, spool, _ = strict(network_s=SHORT_S)
    association = associate(address)
    association.send_c_store(instance)
    association.dul.socket.socket.sendall(b"\x04\x00\x00\x00\x10\x00half a PDU")
    assert ear.closed.wait(GENEROUS_S)
    assert len(files(spool)) == 1


def test_a_sender_that_vanishes_is_noticed(node, ct_series, ear):
    association = associate(node[0])
    association.send_c_store(ct_series(slices=1)[0])
    with association.dul.socket.socket as wire:
        wire.shutdown(socket.SHUT_RDWR)
        assert ear.closed.wait(GENEROUS_S)


def test_a_refusal_is_logged_without_the_patient(node, ct_series, caplog):
    (instance,) = ct_series(slices=1)
    instance.SeriesInstanceUID = ""
    send([instance], node[0])
    (record,) = [
        record for record in caplog.records if record.name == "dicom_node.receive.c_store_handler"
    ]
    assert record.action == "store_refused"
    assert record.sop_instance == instance.SOPInstanceUID
    assert "Doe" not in caplog.text


@pytest.mark.system
def test_dcmtk_sends_a_real_series(node, shared_data):
    storescu = shutil.which("storescu", path="/usr/bin:/usr/local/bin")
    if storescu is None:
        pytest.skip("no storescu: install dcmtk")
    address, spool = node
    sent = sorted((shared_data / "ct" / "chaos3" / "dicom").iterdir())[:10]
    subprocess.run(
        [storescu, "--propose-implicit", address[0], str(address[1]), *map(str, sent)],
        check=True,
        env={**os.environ, "TCP_NODELAY": "1"},
    )
    (series,) = spool.series()
    kept = {dcmread(path).SOPInstanceUID: dcmread(path) for path in spool.paths(series)}
    for path in sent:
        instance = dcmread(path)
        assert kept[instance.SOPInstanceUID].PixelData == instance.PixelData


def test_a_closed_receiver_rejects_for_now_and_goes_on_with_open_associations(strict, ct_series):
    closed = [False]
    itself = Caller("PYNETDICOM")  # the title with which all of these call
    address, spool, server = strict(closed=lambda: closed[0], itself=itself)
    first = associate(address)
    assert first.is_established
    closed[0] = True
    second = associate(address)
    assert second.is_rejected
    answer = second.acceptor.primitive
    # Transient, by the provider, local limit exceeded.
    assert (answer.result, answer.result_source, answer.diagnostic) == (0x02, 0x03, 0x02)
    assert first.send_c_store(ct_series(slices=1)[0]).Status == 0x0000
    first.release()
    assert len(files(spool)) == 1
    wait_until(lambda: not open_associations(server.ae))
    check = associate(address, [(Verification, "1.2.840.10008.1.2")])
    assert check.is_established  # as the gateway checks its own health
    check.release()
    wait_until(lambda: not open_associations(server.ae))
    closed[0] = False
    third = associate(address)
    assert third.is_established
    assert len(open_associations(server.ae)) == 1
    third.release()
