"""The receiver answers the node itself, whoever else is kept out."""

import pytest
import trustme
from pydicom.uid import ImplicitVRLittleEndian

from dicom_node.config.own_receiver import echo_itself, own_caller, own_receiver
from dicom_node.config.settings import Settings
from dicom_node.errors import BadConfiguration, PeerRefused, PeerUnavailable
from dicom_node.net.callers import Caller, CallerIdentity
from dicom_node.net.tls.server_tls import ServerTls
from dicom_node.receive.scp import Limits, listen
from dicom_node.receive.spool import Spool
from dicom_node.sop_classes import VERIFICATION

ECHO = "answers C-ECHO"


@pytest.fixture
def listening(tmp_path):
    """Start the receiver of a configuration in which only a scanner may send."""
    running = []

    def start(settings, **limits):
        limits = {"callers": (Caller("SCANNER"),), "itself": own_caller(settings), **limits}
        tls = ServerTls(settings.tls.files) if settings.tls.files else None
        spool = Spool(tmp_path / "spool")
        server = listen("HEPAR", ("127.0.0.1", 0), spool, limits=Limits(**limits), tls=tls)
        running.append(server)
        return server.socket.getsockname()

    yield start
    for server in running:
        server.ae.shutdown()


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture
def with_tls(authority, tmp_path):
    """Make a configuration with a certificate of this authority."""

    def make(by=authority):
        node, callers = tmp_path / "node.pem", tmp_path / "ca.pem"
        by.issue_cert("node.example").private_key_and_cert_chain_pem.write_to_path(node)
        authority.cert_pem.write_to_path(callers)
        return Settings(tls={"cert_file": node, "ca_file": callers})

    return make


def test_only_callers_and_the_node_itself_are_admitted(listening):
    settings = Settings()
    address = listening(settings)
    assert echo_itself(settings, address, 20) == ECHO
    other = Settings(node={"ae_title": "OTHER"})
    with pytest.raises(PeerRefused, match="Calling AE title not recognised"):
        echo_itself(other, address, 20)


# pynetdicom's reactor may still see the end of an association that was refused and has closed
# (Evt15 in Sta13), and then ends its thread with an error.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_the_node_comes_in_where_others_take_all_the_room(listening):
    settings = Settings()
    address = listening(settings, associations=2, per_host=1, reserved=1)
    scanner = own_receiver(Settings(node={"ae_title": "SCANNER"}), address)
    with scanner.associated([(VERIFICATION, ImplicitVRLittleEndian)]):
        with pytest.raises(PeerUnavailable):
            scanner.echo()
        assert echo_itself(settings, address, 20) == ECHO


@pytest.mark.parametrize(
    ("host", "from_host", "admitted"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("0.0.0.0", "127.0.0.1", True),
        ("0.0.0.0", "192.0.2.7", False),
        ("192.0.2.7", "192.0.2.7", True),
        ("192.0.2.7", "192.0.2.8", False),
        ("::", "::ffff:127.0.0.1", True),
        ("node.example", "192.0.2.7", False),
    ],
)
def test_its_title_is_taken_from_its_own_machine_alone(host, from_host, admitted):
    caller = own_caller(Settings(node={"host": host, "open": True}))
    assert caller.matches(CallerIdentity("HEPAR", "HEPAR", from_host)) is admitted


def test_it_shows_its_certificate(listening, with_tls):
    settings = with_tls()
    assert echo_itself(settings, listening(settings), 20) == ECHO


def test_a_certificate_that_is_none_of_a_caller_shows_that_the_receiver_works(listening, with_tls):
    settings = with_tls(by=trustme.CA())
    assert echo_itself(settings, listening(settings), 20).startswith("answers TLS handshakes")


def test_a_receiver_that_has_ended_does_not_answer():
    with pytest.raises(PeerUnavailable):
        echo_itself(Settings(), ("127.0.0.1", 1), 1)


def test_a_certificate_that_cannot_be_read_is_named(with_tls):
    settings = with_tls()
    settings.tls.cert_file.write_text("none")
    with pytest.raises(BadConfiguration, match=r"node\.pem.*tls\.cert_file"):
        own_receiver(settings)
