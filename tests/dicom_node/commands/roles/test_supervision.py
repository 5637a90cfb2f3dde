"""Processes that are started again; those of the tests end when they are asked to."""

import multiprocessing
import signal
import socket
import sys
import threading
import time
from functools import partial

import pytest

from dicom_node.commands.roles import supervision
from dicom_node.commands.roles.supervision import Place, Started, supervise
from dicom_node.jobs.backoff import Backoff
from tests.waiting import GENEROUS_S, wait_until

SPAWN = multiprocessing.get_context("spawn")


def lives(listens, exit_code):
    """Listen until SIGTERM, or end before that with a status."""
    if exit_code is not None:
        sys.exit(exit_code)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    listens.send_bytes(b"1")
    time.sleep(600)


class Starter:
    """Starts processes, and keeps those that it started."""

    def __init__(self, *exit_codes):
        self.exit_codes, self.started, self.ready = list(exit_codes), [], []

    def __call__(self):
        reader, writer = SPAWN.Pipe(duplex=False)
        code = self.exit_codes.pop(0) if self.exit_codes else None
        process = SPAWN.Process(target=lives, args=(writer, code), daemon=True)
        process.start()
        writer.close()
        self.started.append(process)
        self.ready.append(reader)
        return Started(process, reader)


class Supervision:
    """Processes that a thread supervises."""

    def __init__(self, caplog, *starters):
        self._caplog, self._status = caplog, []
        self._told, self._telling = socket.socketpair()
        places = [Place(each, _pauses=supervision.PAUSES.pauses()) for each in starters]
        self._thread = threading.Thread(target=self._run, args=(places,))
        self._thread.start()

    def _run(self, places):
        self._status.append(supervise(places, self._told))

    def wait_until_all_listen(self):
        wait_until(lambda: "receive on one port" in self._caplog.text)

    def stop(self):
        self._telling.send(b"1")
        return self.status()

    def status(self):
        self._thread.join(GENEROUS_S)
        self._told.close()
        self._telling.close()
        return self._status[0]


@pytest.fixture
def supervised(monkeypatch, caplog):
    monkeypatch.setattr(supervision, "PAUSES", Backoff(0.1, 0.2, float("inf")))
    caplog.set_level("INFO")
    return partial(Supervision, caplog)


def test_a_process_that_dies_is_started_again_and_all_end_together(supervised, caplog):
    starters = [Starter(), Starter()]
    running = supervised(*starters)
    running.wait_until_all_listen()
    starters[0].started[0].kill()
    wait_until(lambda: len(starters[0].started) == 2)
    starters[0].ready[1].poll(GENEROUS_S)
    assert running.stop() == 0
    assert "ended with status -9" in caplog.text
    everyone = [each for starter in starters for each in starter.started]
    assert [each.is_alive() for each in everyone] == [False] * 3
    assert len(starters[1].started) == 1


def test_a_process_that_ends_before_it_listens_for_the_first_time_ends_all(supervised):
    healthy, broken, never = Starter(), Starter(2), Starter()
    assert supervised(healthy, broken, never).status() == 2
    assert not healthy.started[0].is_alive()
    assert never.started == []


def test_one_that_cannot_start_again_is_tried_again_with_growing_pauses(supervised, caplog):
    starter = Starter(None, 1, 1)
    running = supervised(starter)
    running.wait_until_all_listen()
    starter.started[0].kill()
    wait_until(lambda: len(starter.started) == 4)
    starter.ready[3].poll(GENEROUS_S)
    assert running.stop() == 0
    pauses = [each.args[-1] for each in caplog.records if "ended with" in each.msg]
    assert pauses == [0.1, 0.2, 0.2]


def test_pauses_begin_anew_after_a_long_life():
    now_s = 0.0

    class Ended:
        pid, exitcode = 1, 1

    class Closable:
        def close(self):
            pass

    place = Place(lambda: Started(Ended(), Closable()), clock=lambda: now_s)
    dues = []
    for lived_s in (1, 1, 1, supervision.WELL_S + 1, 1):
        place.begin()
        now_s += lived_s
        place.look()
        dues.append(place.due_s - now_s)
        now_s = place.due_s
    assert dues == [1.0, 2.0, 4.0, 1.0, 2.0]
