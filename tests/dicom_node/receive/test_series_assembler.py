import errno
import threading
from dataclasses import dataclass

import pytest

from dicom_node.receive.header import SeriesKey
from dicom_node.receive.incoming_series import TRY_AGAIN_S
from dicom_node.receive.series_assembler import SOON_S, ReceivedSeries, SeriesAssembler
from dicom_node.receive.spool import Spool
from tests.waiting import GENEROUS_S, StoppedWhenCleared, wait_until

LIVER = SeriesKey("1.2.1", "1.2.1.1")
CHEST = SeriesKey("1.2.1", "1.2.1.2")


@dataclass(eq=False)
class Sender:
    """An association that lives as long as the test says."""

    alive: bool = True

    def is_alive(self):
        return self.alive


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Node:
    """An assembler on a clock that stands still, and what it handed over."""

    def __init__(self, folder, quiet_s=10.0):
        self.spool = Spool(folder)
        self.clock = Clock()
        self.received = []
        self.assembler = SeriesAssembler(
            self.spool, self.received.append, quiet_s=quiet_s, clock=self.clock
        )

    def keep(self, sender, number, series=LIVER):
        path = self.spool.put(series, f"1.2.3.{number}", b"x")
        self.assembler.instance_kept(sender, series)
        return path

    def after(self, seconds):
        """Series handed over after so much time."""
        self.clock.now += seconds
        self.received.clear()
        self.assembler.hand_over()
        return list(self.received)


@pytest.fixture
def node(tmp_path):
    return Node(tmp_path / "spool")


def received(*paths, series=LIVER):
    return ReceivedSeries(series.study_uid, series.series_uid, tuple(sorted(paths)))


def test_a_series_is_complete_when_released_and_quiet(node):
    sender = Sender()
    paths = [node.keep(sender, number) for number in range(3)]
    assert node.after(60) == []  # still associated
    node.assembler.association_closed(sender)
    assert node.after(0) == [received(*paths)]
    assert node.after(60) == []  # once is enough


def test_released_is_not_enough_before_it_is_quiet(node):
    sender = Sender()
    path = node.keep(sender, 1)
    node.assembler.association_closed(sender)
    assert node.after(9.9) == []
    assert node.after(0.2) == [received(path)]


def test_every_association_that_sent_some_must_have_ended(node):
    one, other = Sender(), Sender()
    paths = [node.keep(one, 1), node.keep(other, 2)]
    node.assembler.association_closed(one)
    assert node.after(60) == []
    node.assembler.association_closed(other)
    assert node.after(0) == [received(*paths)]


def test_an_association_that_died_without_a_word_does_not_hold_its_series(node):
    sender = Sender()
    path = node.keep(sender, 1)
    sender.alive = False
    assert node.after(10) == [received(path)]


def test_one_series_does_not_wait_for_another(node):
    one, other = Sender(), Sender()
    path = node.keep(one, 1)
    node.keep(other, 2, CHEST)
    node.assembler.association_closed(one)
    assert node.after(10) == [received(path)]


def test_an_expected_count_ends_the_wait_at_once(node):
    sender = Sender()
    node.assembler.expect(LIVER.series_uid, 2)
    first = node.keep(sender, 1)
    assert node.after(0) == []
    second = node.keep(sender, 2)
    assert node.after(0) == [received(first, second)]


def test_a_count_announced_late_ends_the_wait_too(node):
    path = node.keep(Sender(), 1)
    assert node.after(0) == []
    node.assembler.expect(LIVER.series_uid, 1)
    assert node.after(0) == [received(path)]


def test_an_instance_sent_twice_does_not_count_twice(node):
    sender = Sender()
    node.assembler.expect(LIVER.series_uid, 2)
    node.keep(sender, 1)
    node.keep(sender, 1)
    assert node.after(0) == []


def test_a_count_that_is_never_reached_leaves_the_quiet_time(node):
    sender = Sender()
    node.assembler.expect(LIVER.series_uid, 300)
    path = node.keep(sender, 1)
    node.assembler.association_closed(sender)
    assert node.after(10) == [received(path)]


def test_a_late_instance_completes_the_series_again_with_all_of_it(node):
    first, late = Sender(), Sender()
    path = node.keep(first, 1)
    node.assembler.association_closed(first)
    assert node.after(10) == [received(path)]
    late_path = node.keep(late, 2)
    node.assembler.association_closed(late)
    assert node.after(9) == []
    assert node.after(1) == [received(path, late_path)]


def test_after_a_restart_a_half_received_series_goes_on_waiting(node):
    node.keep(Sender(), 1)
    again = Node(node.spool.folder)
    again.assembler.recover()
    assert again.after(9) == []
    sender = Sender()
    again.keep(sender, 2)
    again.assembler.association_closed(sender)
    assert again.after(9) == []
    assert again.after(1) == [received(*again.spool.paths(LIVER))]
    assert len(again.spool.paths(LIVER)) == 2


def test_after_a_restart_nothing_in_the_spool_is_forgotten(node):
    node.keep(Sender(), 1)
    node.keep(Sender(), 2, CHEST)
    again = Node(node.spool.folder)
    again.assembler.recover()
    assert [series.series_uid for series in again.after(10)] == [
        LIVER.series_uid,
        CHEST.series_uid,
    ]


def test_a_series_that_was_not_taken_is_offered_again(node, caplog):
    sender = Sender()
    path = node.keep(sender, 1)
    node.assembler.association_closed(sender)

    def refuse(series):
        raise RuntimeError("the workflow store is away")

    node.assembler.on_complete = refuse
    assert node.after(10) == []
    assert "the workflow store is away" in caplog.text
    node.assembler.on_complete = node.received.append
    assert node.after(10) == []
    assert node.after(TRY_AGAIN_S) == [received(path)]


def test_a_series_that_is_never_taken_is_offered_more_and_more_seldom(node):
    sender = Sender()
    node.keep(sender, 1)
    node.assembler.association_closed(sender)
    offered = []

    def refuse(series):
        offered.append(node.clock.now)
        raise RecursionError

    node.assembler.on_complete = refuse
    for _ in range(24 * 3600):
        node.after(1)
    assert len(offered) < 160
    assert offered[1] - offered[0] == pytest.approx(15, abs=1)
    assert offered[-1] - offered[-2] == pytest.approx(610, abs=1)
    node.keep(sender, 2)  # a new instance is worth a prompt try
    node.assembler.association_closed(sender)
    count = len(offered)
    for _ in range(40):
        node.after(1)
    assert len(offered) == count + 2


@pytest.mark.parametrize("announced", [True, False])
def test_a_disk_in_trouble_holds_a_series_up_and_does_not_lose_it(node, caplog, announced):
    sender = Sender()
    path = node.keep(sender, 1)
    node.assembler.association_closed(sender)
    if announced:
        node.assembler.expect(LIVER.series_uid, 1)
    paths = node.spool.paths

    def unreadable(series):
        raise OSError(errno.EIO, "Input/output error")

    node.spool.paths = unreadable
    assert node.after(10) == []
    assert "series not taken, will be offered again" in caplog.text
    node.spool.paths = paths
    assert node.after(10 + TRY_AGAIN_S) == [received(path)]


def test_an_instance_that_comes_during_the_hand_over_holds_the_series_back(node):
    """The set that was looked at is not all of it any more."""
    sender = Sender()
    first = node.keep(sender, 1)
    node.assembler.association_closed(sender)
    late, come = [], node.assembler._wait_s

    def wait_s(arrival):
        waits = come(arrival)
        if not late:
            late.append(node.keep(Sender(), 2))
        return waits

    node.assembler._wait_s = wait_s
    assert node.after(10) == []
    node.assembler._wait_s = come
    for association in node.assembler._arriving[LIVER].associations:
        association.alive = False
    assert node.after(10) == [received(first, *late)]


def test_a_series_removed_while_it_waited_is_not_handed_over(node):
    sender = Sender()
    path = node.keep(sender, 1)
    node.assembler.association_closed(sender)
    node.spool.remove([path])
    assert node.after(10) == []


def test_the_watching_thread_hands_over_by_itself_and_ends(tmp_path):
    spool, complete = Spool(tmp_path / "spool"), threading.Event()
    old = spool.put(CHEST, "1.2.3.9", b"x")
    handed = []

    def take(series):
        handed.append(series)
        if len(handed) == 2:
            complete.set()

    assembler = SeriesAssembler(spool, take, quiet_s=0.02)
    assembler.start()
    sender = Sender()
    new = spool.put(LIVER, "1.2.3.1", b"x")
    assembler.instance_kept(sender, LIVER)
    assembler.association_closed(sender)
    assert complete.wait(GENEROUS_S)
    assembler.stop()
    assert sorted(handed, key=lambda series: series.series_uid) == [
        received(new),
        received(old, series=CHEST),
    ]


def test_it_ends_when_that_comes_just_before_it_looks(tmp_path):
    assembler = SeriesAssembler(Spool(tmp_path / "spool"), lambda series: None, quiet_s=3600)
    assembler._news = StoppedWhenCleared(assembler, "_stopping")
    assembler.start()
    assembler._thread.join(GENEROUS_S)
    assert not assembler._thread.is_alive()


@pytest.mark.parametrize(
    ("quiet_s", "expected"), [(0.1, ["soon", "complete"]), (SOON_S + 3600, [])]
)
def test_who_takes_a_series_is_told_shortly_before(tmp_path, quiet_s, expected):
    told = []
    spool = Spool(tmp_path / "spool")
    spool.put(LIVER, "1.2.3.1", b"x")
    assembler = SeriesAssembler(
        spool,
        lambda series: told.append("complete"),
        quiet_s=quiet_s,
        on_soon=lambda: told.append("soon"),
    )
    assembler.start()
    if expected:
        wait_until(lambda: "complete" in told)
    assembler.stop()
    assert list(dict.fromkeys(told)) == expected


def test_after_a_restart_a_sender_that_was_cut_off_may_come_back(tmp_path):
    node = Node(tmp_path)
    first = node.keep("scanner", 1)
    node.assembler = SeriesAssembler(
        node.spool, node.received.append, quiet_s=10, resend_s=30, clock=node.clock
    )
    node.assembler.recover()
    assert node.after(29.9) == []
    second = node.keep("scanner again", 2)
    node.assembler.association_closed("scanner again")
    assert node.after(9.9) == []
    assert node.after(0.2) == [received(first, second)]


def test_a_study_is_silent_since_the_last_instance_of_any_series_that_still_comes(node):
    sender = Sender()
    node.keep(sender, 1)
    node.clock.now += 5
    node.keep(sender, 2, CHEST)
    node.clock.now += 3
    assert node.assembler.silence_s(LIVER.study_uid) == 3
    assert node.assembler.silence_s("1.2.2") == float("inf")
    node.assembler.association_closed(sender)
    node.after(60)
    assert node.assembler.silence_s(LIVER.study_uid) == float("inf")
