"""Child processes that are kept running: started, watched, started again, and stopped."""

import logging
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from dicom_node.jobs.backoff import Backoff

logger = logging.getLogger(__name__)

PAUSES = Backoff(first_s=1.0, longest_s=60.0, give_up_s=float("inf"))
"""Before a process that has ended is started again."""

WELL_S = 60.0
"""Seconds of a process's life after which the pauses begin anew."""


@dataclass(frozen=True)
class Started:
    """A process that was started."""

    process: BaseProcess
    listens: Connection
    """Has a byte once the process does its work; at its end before that, it is closed."""


@dataclass
class Place:
    """Place of one process, in which another is started when it has ended."""

    start: Callable[[], Started]
    clock: Callable[[], float] = time.monotonic
    now: Started | None = None
    due_s: float = 0.0
    """When the next process is started, where there is none."""
    _begun_s: float = 0.0
    _pauses: Iterator[float] = field(default_factory=PAUSES.pauses)

    def begin(self) -> Started:
        """Start a process."""
        self._begun_s = self.clock()
        self.now = self.start()
        return self.now

    def look(self) -> None:
        """Start a process where one is due, and set a time for it where one has ended."""
        if self.now is None:
            if self.due_s <= self.clock():
                self.begin()
            return
        if self.now.process.exitcode is None:
            return
        if self.clock() - self._begun_s > WELL_S:
            self._pauses = PAUSES.pauses()
        pause_s = next(self._pauses)
        logger.warning(
            "process %d ended with status %d; another one starts in %g s",
            self.now.process.pid,
            self.now.process.exitcode,
            pause_s,
            extra={"action": "restart"},
        )
        self._forget()
        self.due_s = self.clock() + pause_s

    def stop(self) -> None:
        """Ask the process to end."""
        if self.now is not None:
            self.now.process.terminate()

    def wait_for_end(self) -> int:
        """Wait for the end of the process; return its exit status, 1 where a signal killed it."""
        if self.now is None:
            return 0
        process = self.now.process
        process.join()
        self._forget()
        code = process.exitcode or 0
        if code == -signal.SIGTERM:  # asked to end before it listened
            return 0
        return code if code >= 0 else 1

    def _forget(self) -> None:
        if self.now is not None:
            self.now.listens.close()
        self.now = None


def supervise(places: Sequence[Place], stop: socket.socket) -> int:
    """Keep a process in each place until `stop` can be read; return the exit status.

    They are begun one after the other. One that ends before it listens for the first time ends all:
    its error is the same for each, and most likely one of the configuration.
    """
    try:
        for place in places:
            begun = place.begin()
            if stop in wait([begun.listens, stop]):
                return 0
            if not _has_come(begun.listens):
                return place.wait_for_end() or 1
        extra = {"action": "start"}
        logger.info("%d processes receive on one port", len(places), extra=extra)
        while stop not in _wait(places, stop):
            for place in places:
                place.look()
        logger.info("stopping", extra={"action": "stop"})
        return _stop(places)
    finally:
        _stop(places)


def _stop(places: Sequence[Place]) -> int:
    """End all processes, each of which is asked before one is waited for; return the status."""
    for place in places:
        place.stop()
    return max(place.wait_for_end() for place in places)


def _wait(places: Sequence[Place], stop: socket.socket) -> Sequence[object]:
    """Wait until a process has ended, one is due, or `stop` can be read."""
    sentinels = [each.now.process.sentinel for each in places if each.now]
    due = [each.due_s - each.clock() for each in places if each.now is None]
    return wait([stop, *sentinels], max(0.0, min(due)) if due else None)


def _has_come(listens: Connection) -> bool:
    try:
        return bool(listens.recv_bytes())
    except EOFError:
        return False
