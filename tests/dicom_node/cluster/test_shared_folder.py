"""Claims on a folder that processes share, and its check at start."""

import fcntl
from contextlib import ExitStack
from dataclasses import replace

import pytest

from dicom_node.cluster import shared_folder
from dicom_node.cluster.membership import Member, Membership, beating
from dicom_node.cluster.shared_folder import (
    claimed_place,
    require_same_folder,
    require_shareable,
)
from dicom_node.data_folder import DataFolder
from dicom_node.errors import AlreadyRunning, BadConfiguration


@pytest.fixture
def data(tmp_path):
    return DataFolder(tmp_path / "data")


def member(claim):
    return Member(claim.folder, claim.name, "work", "1", claim.token)


def test_processes_on_one_folder_have_its_name_and_names_of_their_own(data):
    with claimed_place(data, "work") as one, claimed_place(data, "work") as two:
        assert one.folder == two.folder == data.name
        assert one.name != two.name
        assert member(one).executor == f"{data.name}/{one.name}"


def test_who_starts_again_has_the_name_of_the_one_that_ended(data):
    with ExitStack() as others:
        first = others.enter_context(ExitStack())
        name = first.enter_context(claimed_place(data, "work")).name
        others.enter_context(claimed_place(data, "work"))
        first.close()
        assert others.enter_context(claimed_place(data, "work")).name == name


def test_a_node_that_shares_with_nobody_keeps_roles_out(data):
    with (
        data.claimed(),
        pytest.raises(AlreadyRunning, match=r"`hepar serve` works in .*node\.data"),
    ):
        claimed_place(data, "work").__enter__()


def test_roles_keep_out_a_node_that_shares_with_nobody(data):
    with claimed_place(data, "work"), pytest.raises(AlreadyRunning, match="another node works in"):
        data.claimed().__enter__()


def test_a_folder_on_this_disk_can_be_shared(tmp_path):
    require_shareable(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        ("write_durably", "does not sync a file and its folder"),
        ("sync_folder", "does not sync a file and its folder"),
        ("fcntl", "does not lock a file against a second opening"),
    ],
)
def test_a_folder_that_keeps_no_promise_is_refused_by_name(breaks, said, tmp_path, monkeypatch):
    def refuse(*arguments):
        raise OSError(95, "Operation not supported")

    if breaks == "fcntl":
        monkeypatch.setattr(fcntl, "flock", refuse)
    else:
        monkeypatch.setattr(shared_folder, breaks, refuse)
    with pytest.raises(BadConfiguration, match=f"{said}.*Operation not supported; mount it"):
        require_shareable(tmp_path)


def test_locks_that_are_granted_twice_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", lambda *arguments: None)
    with pytest.raises(BadConfiguration, match="a second lock was granted"):
        require_shareable(tmp_path)


def test_a_rename_that_shows_old_content_is_refused(tmp_path, monkeypatch):
    writes, real = [], shared_folder.write_durably

    def write_once(path, content):
        if not writes:
            real(path, content)
        writes.append(path)

    monkeypatch.setattr(shared_folder, "write_durably", write_once)
    with pytest.raises(BadConfiguration, match="replace a file by renaming another"):
        require_shareable(tmp_path)


def test_a_live_process_whose_file_is_not_here_is_named(data, engine, tmp_path):
    elsewhere = DataFolder(tmp_path / "elsewhere")
    with claimed_place(data, "work") as here, claimed_place(elsewhere, "receive") as there:
        membership = Membership(engine, here.folder)
        other = replace(member(there), folder=here.folder)  # a copy of the folder
        refused = pytest.raises(BadConfiguration, match=rf"{there.name} on .*one shared folder")
        with beating(membership, other), refused:
            require_same_folder(data, membership, member(here), wait_s=0)
        require_same_folder(data, membership, member(here), wait_s=0)  # it has signed off


def test_processes_that_see_each_other_start(data, engine):
    with claimed_place(data, "work") as one, claimed_place(data, "receive") as two:
        membership = Membership(engine, one.folder)
        with beating(membership, member(one)):
            require_same_folder(data, membership, member(two), wait_s=0)
            assert [each.member for each in membership.all()] == [member(one)]
        assert membership.all() == []


def test_a_process_that_starts_again_has_a_later_start_than_before(data, engine):
    with claimed_place(data, "work") as claim:
        membership = Membership(engine, claim.folder)
        membership.beat(member(claim))
        (first,) = membership.all()
        membership.beat(member(claim))
        assert membership.all() == [first]
        membership.beat(replace(member(claim), token="of the next start"))
        assert membership.all()[0].started > first.started
