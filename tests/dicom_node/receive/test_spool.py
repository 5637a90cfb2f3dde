import errno
import os
import threading
from types import SimpleNamespace

import pytest

from dicom_node.errors import RejectedInstance, StoreStatus
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.spool import Spool

LIVER = SeriesKey("1.2.1", "1.2.1.1")
CHEST = SeriesKey("1.2.1", "1.2.1.2")


@pytest.fixture
def spool(tmp_path):
    return Spool(tmp_path / "spool")


def files(spool):
    return sorted(path for path in spool.folder.rglob("*") if path.is_file())


def refuse_fsync(number):
    def fsync(handle):
        raise OSError(number, os.strerror(number))

    return fsync


def test_what_was_put_is_found_by_its_series(spool):
    kept = spool.put(LIVER, "1.2.3", b"liver")
    spool.put(CHEST, "1.2.4", b"chest")
    assert spool.series() == [LIVER, CHEST]
    assert spool.paths(LIVER) == (kept,)
    assert kept.read_bytes() == b"liver"


def test_a_spool_opened_again_knows_what_it_had(spool):
    kept = spool.put(LIVER, "1.2.3", b"liver")
    assert Spool(spool.folder).paths(LIVER) == (kept,)


def test_the_same_instance_twice_is_one_file(spool):
    spool.put(LIVER, "1.2.3", b"first")
    kept = spool.put(LIVER, "1.2.3", b"second")
    assert spool.paths(LIVER) == (kept,)
    assert kept.read_bytes() == b"second"


def test_file_and_folders_are_synced_before_put_returns(spool, monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_ino), fsync(handle))[1]
    )
    kept = spool.put(LIVER, "1.2.3", b"liver")
    parents = [spool.folder, kept.parent.parent, kept.parent]
    assert {path.stat().st_ino for path in [kept, *parents]} <= set(synced)


@pytest.mark.parametrize("uid", ["", "../1.2", "1.2/3", "1.2\n", "1..2", "1." * 32 + "11"])
def test_a_name_that_is_no_uid_is_refused_before_it_is_a_path(spool, uid):
    with pytest.raises(RejectedInstance, match="not a UID") as refusal:
        spool.put(LIVER, uid, b"x")
    assert refusal.value.status == StoreStatus.INVALID_OBJECT_INSTANCE
    for series in (SeriesKey(uid, "1.2"), SeriesKey("1.2", uid)):
        with pytest.raises(RejectedInstance, match="not a UID") as refusal:
            spool.put(series, "1.2.3", b"x")
        assert refusal.value.status == StoreStatus.CANNOT_UNDERSTAND
    assert files(spool) == []


@pytest.mark.parametrize(
    ("number", "status"),
    [
        (errno.ENOSPC, StoreStatus.OUT_OF_RESOURCES),
        (errno.EDQUOT, StoreStatus.OUT_OF_RESOURCES),
        (errno.EIO, StoreStatus.PROCESSING_FAILURE),
    ],
)
def test_a_disk_that_refuses_leaves_nothing_behind(spool, monkeypatch, number, status):
    spool.put(LIVER, "1.2.3", b"before")
    monkeypatch.setattr(os, "fsync", refuse_fsync(number))
    with pytest.raises(RejectedInstance, match=os.strerror(number)) as refusal:
        spool.put(LIVER, "1.2.4", b"x")
    assert refusal.value.status == status
    assert files(spool) == list(spool.paths(LIVER))
    assert len(files(spool)) == 1


def test_the_watermark_refuses_before_the_disk_is_full(tmp_path, monkeypatch):
    spool = Spool(tmp_path / "spool", keep_free_bytes=1000)
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1004))
    spool.put(LIVER, "1.2.3", b"1234")
    with pytest.raises(RejectedInstance, match="free space, or lower the minimum") as refusal:
        spool.put(LIVER, "1.2.4", b"12345")
    assert refusal.value.status == StoreStatus.OUT_OF_RESOURCES
    assert len(files(spool)) == 1


def test_instances_removed_are_gone_and_late_ones_stay(spool):
    first = spool.put(LIVER, "1.2.3", b"first")
    late = spool.put(LIVER, "1.2.4", b"late")
    spool.remove([first])
    assert spool.paths(LIVER) == (late,)
    spool.remove([first, late])
    assert spool.series() == []
    assert list(spool.folder.iterdir()) == []


def test_a_series_can_come_again_after_it_was_removed(spool):
    spool.remove([spool.put(LIVER, "1.2.3", b"first")])
    assert spool.put(LIVER, "1.2.3", b"again").read_bytes() == b"again"


def test_removing_and_receiving_at_once_loses_nothing_that_came_later(spool):
    removing = threading.Event()

    def remove_and_remove():
        while not removing.is_set():
            spool.remove([spool.folder / CHEST.study_uid / CHEST.series_uid / "1.2.dcm"])

    remover = threading.Thread(target=remove_and_remove)
    remover.start()
    kept = [spool.put(CHEST, f"1.2.{number}", b"x") for number in range(20)]
    for path in kept[:10]:
        spool.remove([path])
    removing.set()
    remover.join()
    assert set(spool.paths(CHEST)) == set(kept[10:])


def test_recovery_removes_half_written_files_and_nothing_else(spool):
    kept = spool.put(LIVER, "1.2.3", b"whole")
    (kept.parent / "tmp1.part").write_bytes(b"ha")
    lonely = spool.put(CHEST, "1.2.4", b"x").rename(kept.parent.parent / "1.2.1.2" / "tmp2.part")
    spool.recover()
    assert files(spool) == [kept]
    assert not lonely.parent.exists()
