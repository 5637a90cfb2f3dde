"""Work waits for room on the disk, and for nothing else."""

import errno

import pytest

from dicom_node.errors import NodeError, PeerUnavailable
from dicom_node.pipeline import disk_room
from dicom_node.pipeline.disk_room import with_room


class Full:
    """Work that finds no room so many times."""

    def __init__(self, times, error):
        self.left, self.error = times, error

    def __call__(self):
        if self.left:
            self.left -= 1
            raise self.error
        return "done"


@pytest.fixture
def pauses(monkeypatch):
    taken = []
    monkeypatch.setattr(disk_room.time, "sleep", taken.append)
    return taken


def from_full_disk():
    error = PeerUnavailable("cannot write")
    error.__cause__ = OSError(errno.EDQUOT, "Disk quota exceeded")
    return error


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), from_full_disk()])
def test_work_is_tried_again_until_there_is_room(pauses, caplog, error):
    assert with_room(Full(3, error), action="segment", series="1.2") == "done"
    assert pauses == [disk_room.ROOM_S] * 3
    assert len(caplog.records) == 1


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "denied"), PeerUnavailable("away")])
def test_other_errors_are_not_waited_for(pauses, error):
    with pytest.raises(type(error)):
        with_room(Full(1, error), action="segment", series="1.2")
    assert pauses == []


def test_waiting_ends_after_a_day(pauses):
    with pytest.raises(NodeError, match="no room for a day; free space, then retry"):
        with_room(Full(10**9, OSError(errno.ENOSPC, "")), action="segment", series="1.2")
    assert sum(pauses) == pytest.approx(86400, rel=0.01)
