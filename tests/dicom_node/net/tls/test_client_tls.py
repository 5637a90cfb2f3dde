"""Associations over TLS, and with descriptors that `select` does not take."""

import os
import resource
import ssl

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from dicom_node.errors import PeerUnavailable, StoreStatus
from dicom_node.net.application_entity import ApplicationEntity
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.scp import listen
from dicom_node.receive.spool import Spool
from dicom_node.sop_classes import VERIFICATION

CONTEXTS = [
    (CTImageStorage, ExplicitVRLittleEndian),
    (VERIFICATION, ImplicitVRLittleEndian),
]


@pytest.fixture
def receiver(tmp_path):
    """Start a receiver; return its address and its spool."""
    running = []

    def start(**options):
        spool = Spool(tmp_path / "spool")
        server = listen("TEST", ("127.0.0.1", 0), spool, **options)
        running.append(server)
        return server.socket.getsockname(), spool

    yield start
    for server in running:
        server.ae.shutdown()


def store(series, address, **entity):
    """Store the instances on one association and return the statuses, and that of an echo."""
    peer = ApplicationEntity("node", "TEST", *address, **entity)
    with peer.associated(CONTEXTS) as association:
        statuses = [association.send_c_store(instance).Status for instance in series]
        return [*statuses, association.send_c_echo().Status]


def kept(spool, series):
    key = SeriesKey(series[0].StudyInstanceUID, series[0].SeriesInstanceUID)
    return {path.stem for path in spool.paths(key)}


def test_instances_come_whole_over_tls(receiver, server_tls, client_tls, ct_series):
    address, spool = receiver(tls=lambda: server_tls)
    series = ct_series(slices=3, rows=512, columns=512)
    assert store(series, address, tls=client_tls) == [StoreStatus.SUCCESS] * 4
    assert kept(spool, series) == {instance.SOPInstanceUID for instance in series}


def test_a_receiver_with_tls_takes_no_plain_caller(receiver, server_tls, ct_series):
    address, _ = receiver(tls=lambda: server_tls)
    with pytest.raises(PeerUnavailable):
        store(ct_series(slices=1), address, negotiate_s=3)


def test_an_untrusted_certificate_is_refused(receiver, server_tls, ct_series):
    address, _ = receiver(tls=lambda: server_tls)
    with pytest.raises(PeerUnavailable):
        store(ct_series(slices=1), address, tls=ssl.create_default_context())


@pytest.fixture
def crowded():
    """Descriptors up to 1100 are taken."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 2048:
        pytest.skip(f"at most {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2048), hard))
    taken = [os.open(os.devnull, os.O_RDONLY)]
    while taken[-1] < 1100:
        taken.append(os.dup(taken[0]))
    yield
    for descriptor in taken:
        os.close(descriptor)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("encrypted", [False, True])
def test_descriptors_above_1023_work(
    receiver, crowded, server_tls, client_tls, ct_series, encrypted
):
    address, spool = receiver(tls=(lambda: server_tls) if encrypted else None)
    series = ct_series(slices=2)
    statuses = store(series, address, tls=client_tls if encrypted else None)
    assert statuses == [StoreStatus.SUCCESS] * 3
    assert len(kept(spool, series)) == 2
