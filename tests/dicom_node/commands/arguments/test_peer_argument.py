"""A peer is named as in the configuration, or by its address."""

import pytest

from dicom_node.commands.arguments.peer_argument import peer_named
from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.deliver.folder import FolderPeer
from dicom_node.errors import BadConfiguration


@pytest.fixture
def settings(tmp_path):
    shelf = {"kind": "folder", "folder": str(tmp_path)}
    return Settings(node={"ae_title": "US"}, peers={"shelf": shelf})


def test_a_name_of_the_configuration_is_that_peer(settings):
    peer = peer_named("shelf", settings)
    assert isinstance(peer, FolderPeer)
    assert peer.name == "shelf"


def test_an_address_is_a_peer_that_is_called_by_the_nodes_own_title(settings):
    peer = peer_named("ARCHIVE@pacs.example:104", settings)
    assert isinstance(peer, StorePeer)
    assert (peer.ae_title, peer.host, peer.port) == ("ARCHIVE", "pacs.example", 104)
    assert peer.calling_ae_title == "US"


@pytest.mark.parametrize("name", ["attic", "ARCHIVE@pacs", "A" * 17 + "@pacs:104", "@pacs:104"])
def test_another_word_is_refused_with_the_names_that_there_are(settings, name):
    with pytest.raises(BadConfiguration, match=r"shelf.*AET@HOST:PORT"):
        peer_named(name, settings)
