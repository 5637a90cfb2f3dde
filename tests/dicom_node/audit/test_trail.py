"""The trail: what is recorded arrives in the file, or is counted as lost."""

import errno
import logging
import stat
import threading

import pytest

import dicom_node.audit.trail
from dicom_node.audit.audit_event import Study, refused, sent
from dicom_node.audit.trail import Destination, PrivateFile, auditing, record
from dicom_node.errors import BadConfiguration
from tests.dicom_node.audit.schema import parsed
from tests.waiting import wait_until


def kinds(path):
    return [
        parsed(line).find("EventIdentification/EventID").get("csd-code")
        for line in path.read_text().splitlines()
    ]


def test_a_file_has_one_message_a_line_between_start_and_stop(tmp_path):
    file = tmp_path / "audit.xml"
    with auditing(Destination(file), "HEPAR") as lost:
        record(lambda: sent(Study("1.2.3"), "pacs"))
        record(lambda: refused("EVIL", "10.0.0.1"))
    assert kinds(file) == ["110100", "110104", "110113", "110100"]
    assert lost.count == 0


def test_a_file_goes_on_where_the_last_one_ended_and_nobody_else_may_read_it(tmp_path):
    file = tmp_path / "audit.xml"
    file.touch(0o644)
    for _ in range(2):
        with auditing(Destination(file), "HEPAR"):
            pass
    assert len(kinds(file)) == 4
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_full_file_is_put_aside_and_only_so_many_are_kept(tmp_path):
    destination = Destination(tmp_path / "audit.xml", file_bytes=2000, files=3)
    with auditing(destination, "HEPAR"):
        for number in range(30):
            record(lambda number=number: sent(Study(f"1.2.{number}"), "pacs"))
    files = sorted(tmp_path.iterdir())
    assert [each.name for each in files] == ["audit.xml", *(f"audit.xml.{n}" for n in (1, 2, 3))]
    assert all(stat.S_IMODE(each.stat().st_mode) == 0o600 for each in files)


def test_without_a_destination_no_event_is_even_made():
    def fail():
        raise AssertionError

    with auditing(Destination(), "HEPAR"):
        record(fail)
    record(fail)


def test_after_the_end_nothing_is_recorded(tmp_path):
    file = tmp_path / "audit.xml"
    with auditing(Destination(file), "HEPAR"):
        pass
    record(lambda: refused("EVIL", "10.0.0.1"))
    assert kinds(file) == ["110100", "110100"]


def test_an_event_that_cannot_be_made_is_logged_and_does_not_fail_its_caller(tmp_path, caplog):
    def fail():
        raise OSError("Miller^Anna")

    with auditing(Destination(tmp_path / "audit.xml"), "HEPAR"):
        record(fail)
    assert "not on the audit trail" in caplog.text
    assert "Miller" not in caplog.text


class Stalled(logging.Handler):
    """Takes its first message once it is free."""

    def __init__(self):
        super().__init__()
        self.free = threading.Event()

    def emit(self, record):
        self.free.wait(60)


def test_messages_for_which_there_is_no_room_are_counted_and_logged_once(monkeypatch, caplog):
    stalled = Stalled()
    monkeypatch.setattr(dicom_node.audit.trail, "_handlers", lambda *_: [stalled])
    with auditing(Destination(), "HEPAR", most_waiting=5) as lost:
        for _ in range(20):
            record(lambda: refused("EVIL", "10.0.0.1"))
        assert lost.count >= 15  # of these and the start, 5 wait, and the thread may hold one
        stalled.free.set()
    assert caplog.text.count("an audit message was lost") == 1
    assert f"{lost.count} audit messages were lost in all" in caplog.text


def test_a_message_that_cannot_be_written_is_counted(tmp_path, monkeypatch):
    with auditing(Destination(tmp_path / "audit.xml"), "HEPAR") as lost:
        monkeypatch.setattr(PrivateFile, "shouldRollover", no_room)
        record(lambda: refused("EVIL", "10.0.0.1"))
        wait_until(lambda: lost.count)
    assert lost.count >= 1


def no_room(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_that_cannot_be_written_keeps_the_node_from_starting(tmp_path):
    with (
        pytest.raises(BadConfiguration, match="name a file in a folder"),
        auditing(Destination(tmp_path / "none" / "audit.xml"), "HEPAR"),
    ):
        pass
