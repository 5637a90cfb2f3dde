"""Peers of the configuration: certificates that cannot be used, and peers that do not answer."""

import pytest
from pydantic import ValidationError

from dicom_node.config.peers import StoreSettings, StowSettings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.deliver.folder import FolderPeer
from dicom_node.errors import BadConfiguration
from dicom_node.node.peers import to_peer, warn_of_unready_peers

WEB = {"kind": "stow", "url": "https://archive.example/dicom-web"}
DICOM = {"kind": "store", "ae_title": "PACS", "host": "archive", "tls": True}


@pytest.mark.parametrize(("kind", "table"), [(StowSettings, WEB), (StoreSettings, DICOM)])
def test_a_node_does_not_start_with_certificates_that_it_cannot_use(kind, table, tmp_path):
    absent = kind(**table, ca_file=tmp_path / "absent.pem")
    with pytest.raises(
        BadConfiguration, match=r"cannot use the certificates .*absent\.pem: No such"
    ):
        to_peer("archive", absent, "HEPAR")
    (tmp_path / "bad.pem").write_text("no certificate")
    with pytest.raises(BadConfiguration, match=r"bad\.pem: .*name readable PEM files"):
        to_peer("archive", kind(**table, cert_file=tmp_path / "bad.pem"), "HEPAR")


def test_a_key_without_a_certificate_is_refused(tmp_path):
    with pytest.raises(ValidationError, match="key_file has no certificate; set cert_file too"):
        StowSettings(**WEB, key_file=tmp_path / "key.pem")


def test_the_tables_of_tls_reach_the_peers(tmp_path):
    peer = to_peer("archive", StowSettings(**WEB, token_file=tmp_path / "t"), "HEPAR")
    assert peer.token_file == tmp_path / "t"
    assert to_peer("archive", StoreSettings(**DICOM), "HEPAR").tls is not None
    plain = StoreSettings(**{**DICOM, "tls": False})
    assert to_peer("archive", plain, "HEPAR").tls is None


def test_peers_that_do_not_answer_are_named_in_the_log_at_the_start(tmp_path, caplog):
    gone = StorePeer("pacs", "ARCHIVE", "127.0.0.1", 1, connect_s=2)

    class Odd(FolderPeer):
        def echo(self):
            raise KeyError("Doe^Jane")

    peers = [gone, Odd("odd", tmp_path), FolderPeer("shelf", tmp_path / "shelf")]
    warn_of_unready_peers(peers).join(20)
    messages = [record.getMessage() for record in caplog.records if record.name.endswith("peers")]
    assert len(messages) == 2
    assert "not ready: pacs: no association" in messages[0]
    assert "not checked: unforeseen KeyError" in messages[1]
    assert "Doe" not in caplog.text
