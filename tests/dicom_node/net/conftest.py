"""A receiver and a caller that meet over TLS."""

import ssl

import pytest
import trustme


@pytest.fixture(scope="session")
def authority():
    """A certificate authority for these tests alone."""
    return trustme.CA()


@pytest.fixture
def server_tls(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture
def client_tls(authority):
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
