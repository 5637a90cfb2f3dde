"""Processes that decode, started when first needed, replaced when one dies."""

import atexit
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

from dicom_node.decoding.requests import Request
from dicom_node.decoding.stream import BrokenStream
from dicom_node.decoding.worker_process import CPU_S

ANSWER_S = 300.0
"""Longest wait for one answer, for decoders that sleep; one that computes is ended after `CPU_S` of
processor time, which a busy machine does not use up. A slice takes 10 to 100 ms."""


class DecodingProcess:
    """One process, and the socket that leads to it; for one caller at a time."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        # Closed here after the start: else the child's end would not end a read of this one.
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.worker_process", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # decoders print what they read
                # It must find the packages that this process found, whichever way.
                env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            )
        # detach: the connection owns the descriptor, and the socket object must not close it.
        self._connection = Connection(ours.detach())

    @property
    def pid(self) -> int:
        """Its process ID."""
        return self._process.pid

    def call(self, request: Request, answer_s: float) -> Any:
        """Return the answer to a request, which may be an error as a value.

        Raises:
            BrokenStream: no answer came, because the process ended or hung.
        """
        try:
            self._connection.send(request)
            if not self._connection.poll(answer_s):
                raise BrokenStream(f"decoding it takes longer than {answer_s:g} s")
            return request.receive(self._connection)
        except (EOFError, OSError) as error:
            raise BrokenStream(self._end()) from error

    def stop(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.kill()
        self._process.wait()

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def _end(self) -> str:
        """Return how the process ended."""
        code = self._process.wait()
        if code == -signal.SIGXCPU:
            return f"decoding it takes more than {CPU_S} s of processor time"
        how = f"with status {code}"
        with contextlib.suppress(ValueError):  # no signal
            how = f"by {signal.Signals(-code).name}"
        return f"the process that decodes it ended {how}"


class DecodingPool:
    """Idle processes; as many run as there are callers at a time."""

    def __init__(self, answer_s: float = ANSWER_S) -> None:
        self._answer_s = answer_s
        self._idle: list[DecodingProcess] = []
        # For the list alone: requests run side by side.
        self._lock = threading.Lock()
        self._owner = os.getpid()

    def run(self, request: Request) -> Any:
        """Return the answer to a request.

        Raises:
            BrokenStream: the answer is an error, or none came; the next call gets a new process.
        """
        process = self._take()
        try:
            answer = process.call(request, self._answer_s)
        # Any error, also an interrupt of the caller: nobody waits for the answer any more, and a
        # decoder that hangs would go on. It is raised all the same.
        except BaseException:
            process.stop()
            raise
        with self._lock:
            self._idle.append(process)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        """End the idle processes."""
        with self._lock:
            idle, self._idle = self._idle, []
        if self._owner == os.getpid():  # a forked child has only copies
            for process in idle:
                process.stop()

    def _take(self) -> DecodingProcess:
        with self._lock:
            if self._owner != os.getpid():
                self._idle, self._owner = [], os.getpid()
            while self._idle:
                # The one used last, whose memory is warm.
                process = self._idle.pop()
                if process.runs:
                    return process
                process.stop()
        return DecodingProcess()


pool = DecodingPool()
# They would end with their sockets; this also reaps them.
atexit.register(pool.close)
