"""Mutual TLS of the receiver, and the callers that it admits."""

import os
import shutil
import ssl
import subprocess
from ipaddress import ip_network

import pytest
import trustme
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian

from dicom_node.config.settings import Settings
from dicom_node.errors import BadConfiguration, PeerRefused, PeerUnavailable
from dicom_node.net.application_entity import ApplicationEntity
from dicom_node.net.callers import Caller, Service
from dicom_node.net.tls.server_tls import ServerTls, ServerTlsFiles
from dicom_node.sop_classes import STORAGE_COMMITMENT, VERIFICATION

ECHO = [(VERIFICATION, ImplicitVRLittleEndian)]


@pytest.fixture
def files(authority, tmp_path):
    """The receiver's files, and the function that writes a new certificate into them."""

    def renew(by=authority):
        made = by.issue_cert("127.0.0.1")
        made.private_key_and_cert_chain_pem.write_to_path(tmp_path / "node.pem")

    renew()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return ServerTlsFiles(tmp_path / "node.pem", ca_file=tmp_path / "ca.pem"), renew


@pytest.fixture
def caller_tls(authority, client_tls):
    """A caller's context with a certificate of its own."""
    authority.issue_cert("scanner").configure_cert(client_tls)
    return client_tls


def echo(address, title="SCANNER", **options):
    peer = ApplicationEntity("node", "TEST", *address, calling_ae_title=title, **options)
    with peer.associated(ECHO) as association:
        return association.send_c_echo().Status


def test_a_caller_with_a_certificate_is_served_and_one_without_is_not(
    receiver, files, caller_tls, authority
):
    address, _ = receiver(ServerTls(files[0]))
    assert echo(address, tls=caller_tls) == 0x0000
    without = ssl.create_default_context()
    authority.configure_trust(without)
    with pytest.raises(PeerUnavailable):
        echo(address, tls=without, negotiate_s=5)


@pytest.mark.skipif(not ssl.HAS_TLSv1_1, reason="this OpenSSL has no TLS 1.1 to call with")
@pytest.mark.filterwarnings("ignore:.*deprecated:DeprecationWarning")
def test_old_versions_are_refused(receiver, files, caller_tls):
    lenient = files[0].context()
    for context in (caller_tls, lenient):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.set_ciphers("ALL:@SECLEVEL=0")  # OpenSSL's own level forbids them
    caller_tls.maximum_version = ssl.TLSVersion.TLSv1_1
    address, _ = receiver(lambda: lenient)
    assert echo(address, tls=caller_tls) == 0x0000
    address, _ = receiver(ServerTls(files[0]))
    with pytest.raises(PeerUnavailable):
        echo(address, tls=caller_tls, negotiate_s=5)


def test_a_renewed_certificate_is_taken_up_and_a_broken_one_is_not(receiver, files, caller_tls):
    tls = ServerTls(files[0])
    address, _ = receiver(tls)
    before = tls()
    files[1]()
    os.utime(files[0].cert_file, (1, 1))
    assert tls() is not before
    assert echo(address, tls=caller_tls) == 0x0000
    kept = tls()
    files[0].cert_file.write_text("no certificate")
    os.utime(files[0].cert_file, (2, 2))
    assert tls() is kept
    assert echo(address, tls=caller_tls) == 0x0000


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(BadConfiguration, match=r"node\.pem: No such file.*tls\.cert_file"):
        ServerTls(ServerTlsFiles(tmp_path / "node.pem"))


def test_dcmtk_calls_over_tls(receiver, files, authority, tmp_path):
    echoscu = shutil.which("echoscu", path="/usr/bin:/usr/local/bin")
    if echoscu is None:
        pytest.skip("no echoscu: install dcmtk")
    address, _ = receiver(ServerTls(files[0]))
    mine = authority.issue_cert("scanner")
    mine.private_key_pem.write_to_path(tmp_path / "key.pem")
    mine.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    trusted = ["+cf", tmp_path / "ca.pem"]
    own = ["+tls", tmp_path / "key.pem", tmp_path / "cert.pem"]
    run = subprocess.run([echoscu, *own, *trusted, address[0], str(address[1])], check=False)
    assert run.returncode == 0
    plain = subprocess.run([echoscu, "-to", "5", address[0], str(address[1])], check=False)
    assert plain.returncode != 0


@pytest.mark.parametrize(
    ("caller", "admitted"),
    [
        (Caller("SCANNER"), True),
        (Caller("SCANNER", (ip_network("127.0.0.0/8"),), "TEST"), True),
        (Caller("OTHER"), False),
        (Caller("SCANNER", (ip_network("10.0.0.0/8"),)), False),
        (Caller("SCANNER", (), "ELSE"), False),
    ],
)
def test_only_callers_that_are_named_are_admitted(receiver, caller, admitted):
    address, _ = receiver(callers=(caller,))
    if admitted:
        assert echo(address) == 0x0000
        return
    with pytest.raises(PeerRefused, match="Calling AE title not recognised"):
        echo(address)


@pytest.mark.parametrize(
    ("name", "admitted"), [("scanner", True), ("scanne", False), ("other", False)]
)
def test_a_caller_is_known_by_its_certificate(receiver, files, caller_tls, name, admitted):
    address, _ = receiver(ServerTls(files[0]), callers=(Caller("SCANNER", certificate=name),))
    if admitted:
        assert echo(address, tls=caller_tls) == 0x0000
        return
    with pytest.raises(PeerRefused, match="Calling AE title not recognised"):
        echo(address, tls=caller_tls)


def test_without_tls_no_caller_is_known_by_a_certificate(receiver):
    address, _ = receiver(callers=(Caller("SCANNER", certificate="scanner"),))
    with pytest.raises(PeerRefused, match="Calling AE title not recognised"):
        echo(address)


CT = CTImageStorage, ImplicitVRLittleEndian
COMMIT = STORAGE_COMMITMENT, ImplicitVRLittleEndian


@pytest.mark.parametrize(
    ("may", "offered"),
    [
        ({Service.STORE}, {CT[0]}),
        ({Service.ECHO}, {VERIFICATION}),
        ({Service.COMMITMENT}, {STORAGE_COMMITMENT}),
        ({Service.STORE, Service.ECHO}, {CT[0], VERIFICATION}),
        (set(Service), {CT[0], VERIFICATION, STORAGE_COMMITMENT}),
    ],
)
def test_a_caller_is_offered_what_it_may_do_and_nothing_else(receiver, may, offered):
    address, _ = receiver(
        callers=(Caller("SCANNER", may=frozenset(may)), Caller("OTHER")), associations=4
    )
    for title, expected in (
        ("SCANNER", offered),
        ("OTHER", {CT[0], VERIFICATION, STORAGE_COMMITMENT}),  # not narrowed by the one before
    ):
        peer = ApplicationEntity("node", "TEST", *address, calling_ae_title=title)
        with peer.associated([*ECHO, CT, COMMIT]) as association:
            accepted = {each.abstract_syntax for each in association.accepted_contexts}
        assert accepted == expected


def test_tls_is_mutual_unless_it_is_said_to_be_open(tmp_path):
    cert = {"cert_file": tmp_path / "node.pem"}
    with pytest.raises(ValueError, match="callers need certificates"):
        Settings(tls=cert)
    assert Settings(tls={**cert, "open": True}).tls.files == ServerTlsFiles(cert["cert_file"])
    assert Settings().tls.files is None


def test_the_authority_of_another_does_not_count(receiver, files, caller_tls, authority):
    other = trustme.CA()
    context = ssl.create_default_context()
    authority.configure_trust(context)
    other.issue_cert("scanner").configure_cert(context)
    address, _ = receiver(ServerTls(files[0]))
    with pytest.raises(PeerUnavailable):
        echo(address, tls=context, negotiate_s=5)
