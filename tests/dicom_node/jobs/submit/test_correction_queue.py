"""Corrections wait for one another in a thread of their own."""

import logging
import threading
from contextlib import contextmanager

import pytest
from sqlalchemy.exc import OperationalError

from dicom_node.errors import DiedOfIt, ResultPending, TooManyCorrections
from dicom_node.jobs.submit import correction_queue
from dicom_node.jobs.submit.correction_queue import DEATHS, FAILURES, CorrectionQueue
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.incoming_series import LONGEST_PAUSE_S, TRY_AGAIN_S
from dicom_node.receive.spool import Spool
from tests.waiting import GENEROUS_S, StoppedWhenCleared, wait_until

KEY = SeriesKey("1.1", "1.2")


class Intake:
    """Records what it is called with; what `refusals` has for a file is raised, one by one."""

    def __init__(self):
        self.noted, self.taken, self.dropped, self.refusals = [], [], [], {}
        self.given_up, self.reasons = {}, []

    def acknowledge(self, paths):
        self.noted += paths

    def take(self, paths):
        (path,) = paths
        if errors := self.refusals.get(path):
            raise errors.pop()
        self.taken.append(path)

    def drop(self, path):
        self.dropped.append(path)

    def is_given_up(self, path, stamp):
        return self.given_up.get(path) == stamp

    def give_up(self, path, stamp, reason):
        self.given_up[path] = stamp
        self.reasons.append(reason)


class Desk:
    """A queue whose clock stands still until it is moved."""

    def __init__(self, folder):
        self.now, self.intake, self.spool = 0.0, Intake(), Spool(folder / "spool")
        self.restart()

    def restart(self):
        self.queue = CorrectionQueue(self.intake, self.spool, lambda: self.now, self.at_work)
        self.queue.put(self.spool.paths(KEY))

    @contextmanager
    def at_work(self, name):
        """Nothing dies here, unless a test says so."""
        yield

    def work(self):
        """Compare whatever waits, however long it takes."""
        while (pause_s := self.queue.compare_next()) is not None:
            self.now += pause_s

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
    "error",
    [
        ResultPending("job 1 has no result yet"),
        OSError(5, "x"),
        OperationalError("SELECT", {}, Exception("the store is away")),
    ],
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


def test_one_that_fails_again_and_again_is_given_up_and_its_file_stays(desk, caplog):
    fails, takes = desk.receive(1), desk.receive(2)
    desk.intake.refusals[fails] = [KeyError("Doe^Jane")] * 100
    desk.queue.put([fails, takes])
    desk.work()
    assert len(desk.intake.refusals[fails]) == 100 - FAILURES
    assert desk.now == 5 + 10 + 20 + 40
    (reason,) = desk.intake.reasons
    assert reason.startswith("it failed 5 times: unforeseen KeyError at ")
    assert "its file is kept in the spool" in reason
    assert "Doe" not in reason + caplog.text
    assert desk.intake.taken == [takes]
    assert desk.spool.paths(KEY) == (fails,)
    desk.restart()
    desk.work()
    assert len(desk.intake.refusals[fails]) == 100 - FAILURES
    assert len(desk.intake.reasons) == 1


def test_one_that_was_given_up_is_tried_once_it_is_sent_again(desk):
    path = desk.receive(1)
    desk.intake.refusals[path] = [KeyError("x")] * (FAILURES + 2)
    desk.queue.put([path])
    desk.work()
    path.write_bytes(b"another SEG")
    desk.queue.put([path])
    desk.work()
    assert desk.intake.taken == [path]
    assert desk.spool.paths(KEY) == ()


def test_failures_of_a_decoder_count_and_those_of_the_system_do_not(desk):
    path = desk.receive(1)
    system, decoder = [OSError(5, "Input/output error")] * 20, [OSError("image is truncated")]
    desk.intake.refusals[path] = decoder * FAILURES + system
    desk.queue.put([path])
    desk.work()
    assert len(desk.intake.reasons) == 1
    assert desk.now > 20 * 60


def test_one_of_which_the_node_dies_is_given_up_also_where_the_register_is_full_at_first(desk):
    deadly, other = desk.receive(1), desk.receive(2)
    full = [OSError(28, "No space left on device")]

    @contextmanager
    def at_work(name):
        if name == f"correction-{deadly.stem}" and not desk.queue._over:
            raise DiedOfIt
        yield

    def give_up(path, stamp, reason):
        if full:
            raise full.pop()
        Intake.give_up(desk.intake, path, stamp, reason)

    desk.at_work, desk.intake.give_up = at_work, give_up
    desk.restart()
    desk.work()
    assert desk.intake.taken == [other]
    (reason,) = desk.intake.reasons
    assert reason.startswith(f"the node died {DEATHS} times while it was compared; its file is")
    assert desk.spool.paths(KEY) == (deadly,)


def test_what_the_node_works_on_is_noted(desk):
    path, noted = desk.receive(1), []

    @contextmanager
    def at_work(name):
        noted.append((name, list(desk.intake.noted), list(desk.intake.taken)))
        yield

    desk.at_work = at_work
    desk.restart()
    desk.work()
    assert noted == [("corrections", [], []), (f"correction-{path.stem}", [path], [])]


def test_giving_up_is_one_line_of_the_log(desk, caplog):
    path = desk.receive(1)
    desk.intake.refusals[path] = [KeyError("x")] * FAILURES
    desk.queue.put([path])
    caplog.set_level(logging.INFO)
    desk.work()
    tried = [line for line in caplog.messages if "will be tried again" in line]
    assert len(tried) == len(caplog.messages) == FAILURES - 1  # `CorrectionIntake` has the last
