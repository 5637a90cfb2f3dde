"""A process that has its data folder for itself."""

import pytest

from dicom_node.cluster import membership as heartbeats
from dicom_node.cluster.membership import Member, Membership
from dicom_node.cluster.own_folder import own_place, require_own_name
from dicom_node.data_folder import DataFolder
from dicom_node.errors import AlreadyRunning, BadConfiguration


def test_the_name_of_a_process_lasts_as_long_as_its_folder(tmp_path):
    names = []
    for folder in ("one", "one", "two"):
        with own_place(DataFolder(tmp_path / folder), "work", "hepar") as claim:
            assert claim.folder == "hepar"
            assert claim.crashes.is_dir()
            names.append(claim.name)
    assert names[0] == names[1] != names[2]
    assert names[0].startswith("work-")


def test_no_other_process_works_in_the_folder(tmp_path):
    data = DataFolder(tmp_path)
    with (
        own_place(data, "work", "hepar"),
        pytest.raises(AlreadyRunning, match="a folder of its own"),
        own_place(data, "receive", "hepar"),
    ):
        pass


def test_a_copy_of_the_folder_on_another_machine_ends_the_start(engine, monkeypatch):
    monkeypatch.setattr(heartbeats, "DEAD_S", 0.5)
    membership = Membership(engine, "copied")
    me = Member("copied", "receive-1", "receive", "1", "a", host="here")
    require_own_name(membership, me)
    membership.beat(me)
    require_own_name(membership, Member("copied", "receive-1", "receive", "1", "b", host="here"))
    monkeypatch.setattr(heartbeats, "is_alive", lambda: heartbeats.members.c.name.is_not(None))
    with pytest.raises(BadConfiguration, match=r"lives on here already.*not a copy"):
        require_own_name(membership, Member("copied", "receive-1", "receive", "1", "c", host="x"))
