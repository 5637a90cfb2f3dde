"""Syslog over TLS: RFC 5424 messages, framed by RFC 5425, that outlive a restart of the server."""

import logging
import re
import socket
import ssl
import threading

import pytest
import trustme

from dicom_node.audit.audit_event import refused
from dicom_node.audit.syslog import SyslogHandler
from dicom_node.audit.trail import Destination, auditing, record
from dicom_node.net.tls.client_tls import TlsFiles
from tests.dicom_node.audit.schema import parsed
from tests.waiting import wait_until

FORM = re.compile(
    r"<85>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00 \S+ hepar \d+ DICOM\+RFC3881 - \ufeff(.*)"
)


class SyslogServer:
    """A syslog server that speaks TLS and keeps what it gets."""

    def __init__(self, context, port=0):
        self.messages = []
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", port))
        self.address = self._listener.getsockname()
        self._open = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self):
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:  # closed
                return
            try:
                connection = self._context.wrap_socket(plain, server_side=True)
            except OSError:
                plain.close()
                continue
            self._open.append(connection)
            with connection, connection.makefile("rb") as stream:
                self._read(stream)

    def _read(self, stream):
        try:
            while length := self._length(stream):
                self.messages.append(stream.read(length).decode())
        except OSError:
            return

    def _length(self, stream):
        digits = b""
        while (byte := stream.read(1)).isdigit():
            digits += byte
        assert byte in (b" ", b"")
        return int(digits or 0)

    def stop(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:  # ended already
                continue
        self._thread.join(60)


@pytest.fixture
def ca_file(authority, tmp_path):
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(file)
    return file


@pytest.fixture
def server(server_tls):
    server = SyslogServer(server_tls)
    yield server
    server.stop()


def test_each_message_arrives_in_a_frame_of_its_own(server, ca_file):
    destination = Destination(syslog=server.address, tls=TlsFiles(ca_file))
    with auditing(destination, "HEPAR") as lost:
        record(lambda: refused("ÄRGER", "10.0.0.1"))
    wait_until(lambda: len(server.messages) == 3)
    trees = [parsed(FORM.fullmatch(each)[1]) for each in server.messages]
    codes = [each.find("EventIdentification/EventID").get("csd-code") for each in trees]
    assert codes == ["110100", "110113", "110100"]
    assert trees[1].findall("ActiveParticipant")[1].get("UserID") == "ÄRGER"
    assert lost.count == 0


def test_a_server_that_was_away_gets_every_message_once_it_is_back(server_tls, ca_file):
    first = SyslogServer(server_tls)
    handler = SyslogHandler(first.address, TlsFiles(ca_file).context, first_pause_s=0.05)
    try:
        handler.emit(line("one"))
        wait_until(lambda: first.messages)
    finally:
        first.stop()
    sending = threading.Thread(target=lambda: [handler.emit(line(each)) for each in ("two", "3")])
    sending.start()
    wait_until(lambda: handler._unreachable)
    second = SyslogServer(server_tls, first.address[1])
    try:
        sending.join(60)
        wait_until(lambda: len(second.messages) == 2)
        handler.close()
    finally:
        second.stop()
    assert [each.rpartition("\ufeff")[2] for each in second.messages] == ["two", "3"]


@pytest.mark.parametrize("trusted", [True, False], ids=["nobody listens", "not trusted"])
def test_a_server_that_cannot_be_used_costs_messages_and_never_the_node(
    trusted, server_tls, ca_file, tmp_path, caplog
):
    server = SyslogServer(server_tls)
    if trusted:
        server.stop()
    else:
        trustme.CA().cert_pem.write_to_path(ca_file)
    try:
        with auditing(Destination(syslog=server.address, tls=TlsFiles(ca_file)), "HEPAR") as lost:
            record(lambda: refused("EVIL", "10.0.0.1"))
    finally:
        if not trusted:
            server.stop()
    assert lost.count == 3
    assert server.messages == []
    assert caplog.text.count("takes no message") == 1


def test_a_server_may_ask_for_the_certificate_of_the_node(authority, server_tls, ca_file, tmp_path):
    server_tls.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(server_tls)
    own = tmp_path / "own.pem"
    authority.issue_cert("hepar.example").private_key_and_cert_chain_pem.write_to_path(own)
    server = SyslogServer(server_tls)
    try:
        destination = Destination(syslog=server.address, tls=TlsFiles(ca_file, own))
        with auditing(destination, "HEPAR"):
            pass
        wait_until(lambda: len(server.messages) == 2)
    finally:
        server.stop()


def line(text):
    return logging.makeLogRecord({"msg": text})
