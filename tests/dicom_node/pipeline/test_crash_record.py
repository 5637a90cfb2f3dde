"""A death of the process counts for the series that was alone at work, and for no other."""

import threading
from contextlib import ExitStack

import pytest

from dicom_node.errors import DiedOfIt
from dicom_node.pipeline.crash_record import CRASHES, CrashRecord


class Node:
    """Processes on one data folder, each of which may die."""

    def __init__(self, folder):
        self.folder = folder
        self.processes = []
        self.die()

    @property
    def record(self):
        return self.processes[-1][0]

    def begin(self, job):
        self.processes[-1][1].enter_context(self.record.at_work(job))

    def end(self):
        self.processes[-1][1].close()

    def die(self):
        """Start another process; nothing of the last one is ended, and so it is kept here."""
        self.processes.append((CrashRecord(self.folder), ExitStack()))

    def finish(self, job):
        with self.record.at_work(job):
            pass


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path)


def test_a_series_of_which_the_node_dies_each_time_is_given_up_and_may_be_retried(node):
    for _ in range(CRASHES):
        node.begin("poison")
        node.die()
    with pytest.raises(DiedOfIt, match="died 10 times while it worked on this series alone"):
        node.begin("poison")
    node.finish("poison")


def test_a_series_that_was_at_work_with_a_deadly_one_counts_no_death(node):
    node.begin("innocent")
    node.begin("poison")
    node.die()
    for _ in range(CRASHES):
        node.begin("poison")
        node.die()
    node.finish("innocent")
    with pytest.raises(DiedOfIt):
        node.begin("poison")


def test_a_suspect_works_alone_and_others_wait(node):
    node.begin("suspect")
    node.die()
    node.begin("other")
    order, begun = [], threading.Event()

    def work(job):
        begun.set()
        with node.record.at_work(job):
            order.append(job)

    suspect = threading.Thread(target=work, args=["suspect"])
    suspect.start()
    assert begun.wait(60)
    later = threading.Thread(target=work, args=["later"])
    while not node.record._waiting_alone:
        threading.Event().wait(0.001)
    later.start()
    assert order == []
    node.end()
    for thread in (suspect, later):
        thread.join(60)
    assert order == ["suspect", "later"]


def test_what_ended_is_no_suspect(node, tmp_path):
    with pytest.raises(KeyError), node.record.at_work("a"):
        raise KeyError
    node.die()
    assert list((tmp_path / "suspects").iterdir()) == []


def test_a_stop_in_order_is_nobody_s_fault(node, tmp_path):
    for _ in range(2 * CRASHES):
        node.begin("long")
        node.record.close()
        node.die()
    assert list((tmp_path / "suspects").iterdir()) == []


def test_what_a_death_left_of_a_note_is_no_job(node, tmp_path):
    (tmp_path / "at-work" / "a.x1.part").touch()
    node.die()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_full_disk_hinders_no_work(node, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dicom_node.pipeline.crash_record.write_durably", full)
    node.finish("a")
