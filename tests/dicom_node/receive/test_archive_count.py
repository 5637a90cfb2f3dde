"""A series is closed at the count that an archive answers, and at no other."""

import threading

import pytest

from dicom_node.errors import PeerUnavailable
from dicom_node.receive.archive_count import LONGEST_PAUSE_S, SILENT_S, ArchiveCount
from dicom_node.receive.series_assembler import SeriesAssembler
from dicom_node.receive.spool import Spool
from tests.dicom_node.receive.test_series_assembler import CHEST, LIVER, Node, Sender, received


class Archive:
    """An archive that answers `count`, or raises it."""

    def __init__(self, count):
        self.count, self.asked = count, []

    def __call__(self, series):
        self.asked.append(series)
        if isinstance(self.count, Exception):
            raise self.count
        return self.count


class AskingNode(Node):
    """An assembler that asks an archive, each on the same clock, one second at a time."""

    def __init__(self, folder, count, quiet_s=10.0):
        super().__init__(folder, quiet_s)
        self.archive = Archive(count)
        self.questions = ArchiveCount(self.assembler, self.archive, clock=self.clock)

    def after(self, seconds):
        handed = []
        for _ in range(seconds):
            handed += super().after(0)
            self.clock.now += 1
            self.questions.ask()
            handed += super().after(0)
        return handed


@pytest.fixture
def node(tmp_path):
    return AskingNode(tmp_path / "spool", count=3)


@pytest.fixture
def router():
    """An association that stays open all day."""
    return Sender()


def test_an_open_association_does_not_hold_a_series_that_is_all_here(node, router):
    paths = [node.keep(router, number) for number in range(3)]
    assert node.after(1) == []  # the archive may be receiving it too
    assert node.after(1) == [received(*paths)]
    assert node.after(3600) == []
    assert len(node.archive.asked) == 2


def test_one_question_is_enough_where_the_sender_has_ended(node, router):
    paths = [node.keep(router, number) for number in range(3)]
    node.assembler.association_closed(router)
    assert node.after(1) == [received(*paths)]
    assert node.archive.asked == [LIVER]


def test_nothing_is_asked_while_instances_come(node, router):
    for number in range(3):
        node.keep(router, number)
        node.clock.now += 0.4
        node.questions.ask()
    assert node.archive.asked == []


def test_a_larger_answer_waits_for_as_many_and_asks_once_more(node, router):
    paths = [node.keep(router, 0), node.keep(router, 1)]
    node.assembler.association_closed(router)
    assert node.after(1) == []
    other = Sender()
    paths.append(node.keep(other, 2))
    node.assembler.association_closed(other)
    assert node.after(1) == [received(*paths)]
    assert len(node.archive.asked) == 2


def test_the_pauses_between_questions_grow(node, router):
    node.keep(router, 0)
    assert node.after(1800) == []
    assert len(node.archive.asked) <= 8 + 1800 / LONGEST_PAUSE_S


def test_an_archive_that_is_behind_closes_nothing(node, router):
    node.archive.count = 1
    for number in range(3):
        node.keep(router, number)
    assert node.after(60) == []
    node.archive.count = 3
    assert len(node.after(2 * int(LONGEST_PAUSE_S) + 2)) == 1


def test_an_archive_that_receives_at_the_same_pace_closes_nothing(node, router):
    for number in range(20):
        node.archive.count = number + 1
        node.keep(router, number)
        assert node.after(1) == []


def test_an_instance_that_comes_with_the_answer_is_waited_for(node, router):
    paths = [node.keep(router, number) for number in range(3)]
    node.assembler.association_closed(router)
    node.clock.now += 1
    node.questions.ask()
    late = Sender()
    paths.append(node.keep(late, 3))
    node.assembler.hand_over()
    assert node.received == []
    node.assembler.association_closed(late)
    assert node.after(11) == [received(*paths)]


@pytest.mark.parametrize("silence", [PeerUnavailable("pacs: no answer"), ValueError("Doe^Jane")])
def test_a_silent_archive_changes_nothing_and_is_logged_once(node, router, caplog, silence):
    node.archive.count = silence
    paths = [node.keep(router, number) for number in range(3)]
    chest = [node.keep(router, 9, CHEST)]
    assert node.after(300) == []
    assert len(node.archive.asked) <= 2 + 300 / SILENT_S
    node.assembler.association_closed(router)
    assert node.after(10) == [received(*paths), received(*chest, series=CHEST)]
    (line,) = [each.getMessage() for each in caplog.records if "no count" in each.message]
    assert "the quiet time completes the series" in line
    assert "Doe" not in line


@pytest.mark.parametrize("answer", [None, 0])
def test_an_archive_without_the_number_leaves_the_quiet_time(node, router, answer):
    node.archive.count = answer
    path = node.keep(router, 0)
    node.assembler.association_closed(router)
    assert node.after(9) == []
    assert node.after(1) == [received(path)]


def test_the_thread_asks_by_itself(tmp_path):
    complete = threading.Event()
    assembler = SeriesAssembler(Spool(tmp_path), lambda series: complete.set(), quiet_s=3600.0)
    questions = ArchiveCount(assembler, lambda series: 1, after_s=0.02)
    assembler.start()
    questions.start()
    assembler.spool.put(LIVER, "1.2.3.1", b"x")
    assembler.instance_kept(Sender(), LIVER)
    try:
        assert complete.wait(60)
    finally:
        questions.stop()
        assembler.stop()
