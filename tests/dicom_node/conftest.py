"""Fixtures for the tests of the node."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import Dataset

from dicom_node.series.reading import read_series


@pytest.fixture
def real_series(shared_data: Path) -> Callable[[str], list[Dataset]]:
    """Read the CT instances in a folder of the real series."""

    def read(folder: str) -> list[Dataset]:
        paths = [path for path in sorted((shared_data / folder).iterdir()) if path.is_file()]
        return read_series(path for path in paths if "seg" not in path.name)

    return read


@pytest.fixture(scope="session")
def authority():
    """A hospital's own certificate authority."""
    import trustme  # only where it is used: a short form of the tests runs without it

    return trustme.CA()


@pytest.fixture
def server_tls(authority) -> ssl.SSLContext:
    """Server context with a certificate of this authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context
