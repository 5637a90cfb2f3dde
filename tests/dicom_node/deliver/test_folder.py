import os
from unittest.mock import Mock

import pytest
from pydicom import dcmread

from dicom_node.deliver.folder import FolderPeer
from dicom_node.errors import PeerRefused, PeerUnavailable


def test_the_object_arrives_as_one_file_named_by_its_uid(seg_file, tmp_path):
    peer = FolderPeer("results", tmp_path / "not" / "yet" / "there")
    for _ in range(2):
        peer.send(seg_file)
    (arrived,) = peer.folder.iterdir()
    assert arrived.name == f"{dcmread(seg_file).SOPInstanceUID}.dcm"
    assert arrived.read_bytes() == seg_file.read_bytes()


def test_what_a_killed_node_left_half_written_goes_away(seg_file, tmp_path, monkeypatch):
    peer = FolderPeer("folder", tmp_path / "out")
    peer.folder.mkdir()  # or the first sync is that of the folder above
    with monkeypatch.context() as killed:
        killed.setattr("pathlib.Path.unlink", lambda *_, **__: None)
        killed.setattr("os.fsync", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            peer.send(seg_file)
    (half,) = peer.folder.iterdir()
    peer.send(seg_file)
    assert not half.exists()
    assert len(list(peer.folder.iterdir())) == 1


def test_a_folder_that_is_a_file_is_unavailable_and_says_what_would_do(seg_file, tmp_path):
    blocked = tmp_path / "results"
    blocked.write_text("in the way")
    for act in (FolderPeer("results", blocked).echo, lambda: send(blocked, seg_file)):
        with pytest.raises(PeerUnavailable, match=r"cannot write .*make it a folder with room"):
            act()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_the_right_to_write_is_unavailable(seg_file, tmp_path):
    folder = tmp_path / "results"
    folder.mkdir(mode=0o500)
    with pytest.raises(PeerUnavailable, match="Permission denied"):
        send(folder, seg_file)
    with pytest.raises(PeerUnavailable, match="no right to write"):
        FolderPeer("results", folder).echo()


def test_a_full_disk_leaves_nothing_behind(seg_file, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(PeerUnavailable, match="No space left"):
        send(tmp_path / "results", seg_file)
    assert list((tmp_path / "results").iterdir()) == []


def test_what_is_no_dicom_is_refused(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("no DICOM")
    with pytest.raises(PeerRefused, match=r"notes\.txt is not a DICOM object"):
        send(tmp_path / "results", path)


def send(folder, path):
    FolderPeer("results", folder).send(path)
