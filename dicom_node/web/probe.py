"""Health checks in threads of their own, so that one that hangs keeps nobody waiting for long."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Lock, Thread

from dicom_node.error_location import unforeseen

FRESH_S = 2.0
"""Age up to which a finding is used again, so that frequent health checks cost little."""

BOUND_S = 8.0
"""Seconds after which a check without a result counts as failed."""


@dataclass(frozen=True)
class Finding:
    """Result of one check."""

    check: str
    ok: bool
    detail: str
    """The value found, and the remedy where it is not right."""


class Probe:
    """One check; it runs once at a time, however many ask."""

    def __init__(
        self, name: str, check: Callable[[], Finding], fresh_s: float | None = None
    ) -> None:
        self.name = name
        self._fresh_s = fresh_s
        self._last: Finding | None = None
        self._check = check
        self._lock = Lock()
        self._running: Future[Finding] | None = None
        self._ended_s = 0.0

    def begin(self) -> Future[Finding]:
        """Return the run that is under way or fresh, or else start one."""
        with self._lock:
            running = self._running
            # One that runs is waited for, however old: a hanging check holds one thread, not one
            # per request.
            fresh_s = FRESH_S if self._fresh_s is None else self._fresh_s
            if running and not (running.done() and time.monotonic() - self._ended_s > fresh_s):
                return running
            self._running = running = Future()
            # A daemon: a check that never returns must not keep the process from ending.
            Thread(target=self._run, args=(running,), name="health", daemon=True).start()
            return running

    def latest(self) -> Finding | None:
        """Return the last finding without waiting for the next, which is begun; None at first."""
        self.begin()
        return self._last

    def _run(self, running: "Future[Finding]") -> None:
        try:
            found = self._check()
        except Exception as error:  # the edge of this thread: whatever it was, it is not right
            found = Finding(self.name, False, unforeseen(error))
        # Before the result: who sees it done reads this.
        self._ended_s = time.monotonic()
        self._last = found
        running.set_result(found)


def findings(probes: Sequence[Probe], bound_s: float | None = None) -> list[Finding]:
    """Return the finding of each check; one without a result within the bound has failed."""
    bound_s = BOUND_S if bound_s is None else bound_s
    deadline = time.monotonic() + bound_s
    # All begun before the first is waited for, so the bound holds for all together.
    runs = [(probe, probe.begin()) for probe in probes]
    return [_result(probe, run, deadline, bound_s) for probe, run in runs]


def _result(probe: Probe, run: "Future[Finding]", deadline: float, bound_s: float) -> Finding:
    try:
        return run.result(max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        return Finding(probe.name, False, f"no result within {bound_s:g} s; it may hang")
