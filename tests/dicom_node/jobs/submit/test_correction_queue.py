"""Corrections wait for one another in a thread of their own."""

import threading

import pytest

from dicom_node.errors import ResultPending, TooManyCorrections
from dicom_node.jobs.submit import correction_queue
from dicom_node.jobs.submit.correction_queue import CorrectionQueue
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.incoming_series import LONGEST_PAUSE_S, TRY_AGAIN_S
from dicom_node.receive.spool import Spool
from tests.waiting import GENEROUS_S, StoppedWhenCleared, wait_until

KEY = SeriesKey("1.1", "1.2")


class Intake:
    """Records what it is called with; what `refusals` has for a file is raised, one by one."""

    def __init__(self):
        self.noted, self.taken, self.dropped, self.refusals = [], [], [], {}

    def acknowledge(self, paths):
        self.noted += paths

    def take(self, paths):
        (path,) = paths
        if errors := self.refusals.get(path):
            raise errors.pop()
        self.taken.append(path)

    def drop(self, path):
        self.dropped.append(path)


class Desk:
    """A queue whose clock stands still until it is moved."""

    def __init__(self, folder):
        self.now, self.intake, self.spool = 0.0, Intake(), Spool(folder / "spool")
        self.queue = CorrectionQueue(self.intake, self.spool, lambda: self.now)

    def receive(self, number):
        return self.spool.put(KEY, f"1.3.{number}", b"SEG")


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


def test_all_are_noted_before_one_is_compared_and_each_leaves_the_spool_with_its_turn(desk):
    paths = [desk.receive(number) for number in range(1, 4)]
    desk.queue.put(paths)
    assert (desk.intake.noted, desk.intake.taken) == ([], [])
    assert desk.queue.compare_next() == 0
    assert (desk.intake.noted, desk.intake.taken) == (paths, paths[:1])
    assert list(desk.spool.paths(KEY)) == paths[1:]
    assert [desk.queue.compare_next() for _ in range(3)] == [0, 0, None]
    assert desk.intake.taken == paths
    assert desk.spool.series() == []
    assert desk.intake.noted == paths  # once each


def test_one_that_is_offered_twice_is_compared_once(desk):
    path = desk.receive(1)
    desk.queue.put([path])
    desk.queue.put([path])
    assert [desk.queue.compare_next() for _ in range(2)] == [0, None]
    assert desk.intake.taken == [path]


@pytest.mark.parametrize(
    "error", [ResultPending("job 1 has no result yet"), OSError(5, "x"), KeyError("Doe^Jane")]
)
def test_one_that_cannot_be_taken_comes_again_after_doubling_pauses_and_holds_up_no_other(
    desk, error, caplog
):
    first, second = desk.receive(1), desk.receive(2)
    desk.intake.refusals[first] = [error] * 12
    desk.queue.put([first, second])
    desk.queue.compare_next()
    assert desk.queue.compare_next() == 0
    assert desk.intake.taken == [second]
    pauses = []
    while pause_s := desk.queue.compare_next():
        pauses.append(pause_s)
        desk.now += pause_s
        assert desk.queue.compare_next() == 0
    assert pauses[:3] == [TRY_AGAIN_S, 2 * TRY_AGAIN_S, 4 * TRY_AGAIN_S]
    assert max(pauses) == LONGEST_PAUSE_S
    assert len(pauses) == 12
    assert desk.intake.taken == [second, first]


def test_what_has_no_room_is_offered_again(desk, monkeypatch):
    monkeypatch.setattr(correction_queue, "MOST", 2)
    paths = [desk.receive(number) for number in range(1, 5)]
    with pytest.raises(TooManyCorrections, match="2 corrections wait"):
        desk.queue.put(paths)
    assert [desk.queue.compare_next() for _ in range(3)] == [0, 0, None]
    assert desk.intake.taken == paths[:2]
    desk.queue.put(desk.spool.paths(KEY))  # as the assembler does
    assert [desk.queue.compare_next() for _ in range(3)] == [0, 0, None]
    assert desk.intake.taken == paths


def test_one_that_comes_again_while_it_is_compared_is_not_removed(desk):
    path = desk.receive(1)

    def take(paths):
        desk.intake.taken.append(desk.receive(1))
        desk.queue.put([path])

    desk.intake.take = take
    desk.queue.put([path])
    desk.queue.compare_next()
    assert desk.spool.paths(KEY) == (path,)
    del desk.intake.take
    assert desk.queue.compare_next() == 0
    assert desk.intake.taken == [path, path]
    assert desk.spool.paths(KEY) == ()


def test_one_whose_file_is_gone_is_not_tried_again(desk):
    path = desk.receive(1)
    desk.queue.put([path])
    desk.spool.remove([path])
    assert [desk.queue.compare_next() for _ in range(2)] == [0, None]
    assert (desk.intake.taken, desk.intake.dropped) == ([], [path])


def test_the_end_waits_for_one_comparison_and_no_more(desk):
    paths = [desk.receive(number) for number in range(1, 4)]
    begun, go_on = threading.Event(), threading.Event()

    def take(given):
        begun.set()
        assert go_on.wait(GENEROUS_S)

    desk.intake.take = take
    desk.queue.put(paths)
    desk.queue.start()
    assert begun.wait(GENEROUS_S)
    ending = threading.Thread(target=desk.queue.stop)
    ending.start()
    wait_until(lambda: desk.queue._stopping)
    go_on.set()
    ending.join(GENEROUS_S)
    assert not ending.is_alive()
    assert list(desk.spool.paths(KEY)) == paths[1:]  # the next start takes them up


def test_it_ends_when_that_comes_just_before_it_looks(desk):
    desk.queue._news = StoppedWhenCleared(desk.queue, "_stopping")
    desk.queue.start()
    desk.queue._thread.join(GENEROUS_S)
    assert not desk.queue._thread.is_alive()
