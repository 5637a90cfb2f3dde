import ssl
from pathlib import Path

import pytest
from pydicom import Dataset

from dicom_node.net.tls.client_tls import TlsFiles
from dicom_node.results.seg import encode
from tests.dicom_node.results.test_seg import draw, write


@pytest.fixture
def sources(ct_series) -> list[Dataset]:
    return ct_series(slices=9)


@pytest.fixture
def seg_file(sources, tmp_path) -> Path:
    """A SEG on disk, as a job delivers it."""
    path = tmp_path / "result.dcm"
    path.write_bytes(encode(write(draw(sources), sources)))
    return path


@pytest.fixture
def tls_server(server_tls):
    """Server context of an archive."""
    return server_tls


@pytest.fixture
def tls_server_of_few(server_tls, authority):
    """The same, of an archive that demands a certificate of its callers."""
    authority.configure_trust(server_tls)
    server_tls.verify_mode = ssl.CERT_REQUIRED
    return server_tls


@pytest.fixture
def tls_files(authority, tmp_path) -> TlsFiles:
    """The files of a peer whose authority is known."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return TlsFiles(ca_file=tmp_path / "ca.pem")


@pytest.fixture
def tls_files_of_ours(tls_files, authority, tmp_path) -> TlsFiles:
    """The same, with a certificate of this node."""
    ours = authority.issue_cert("hepar.example")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "hepar.pem")
    ours.private_key_pem.write_to_path(tmp_path / "hepar.key")
    return TlsFiles(tls_files.ca_file, tmp_path / "hepar.pem", tmp_path / "hepar.key")
