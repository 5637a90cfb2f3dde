"""A receiver and a caller that meet over TLS."""

import ssl

import pytest

from dicom_node.receive.scp import Limits, listen
from dicom_node.receive.spool import Spool


@pytest.fixture
def client_tls(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def receiver(tmp_path):
    """Start a receiver with these limits; return its address and the server."""
    running = []

    def start(tls=None, **limits):
        spool = Spool(tmp_path / "spool")
        server = listen("TEST", ("127.0.0.1", 0), spool, limits=Limits(**limits), tls=tls)
        running.append(server)
        return server.socket.getsockname(), server

    yield start
    for server in running:
        server.ae.shutdown()
