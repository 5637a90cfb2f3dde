"""The process that decodes: reads requests from a socket until it closes, within limits.

Run as `python -m dicom_node.decoding.worker_process DESCRIPTOR`. It guards against decoders that
crash, hang or take all memory, and not against code that takes the process over: it has the node's
rights.
"""

import contextlib
import os
import resource
import signal
import sys
import warnings
from multiprocessing.connection import Connection
from pathlib import Path

from dicom_node.decoding.requests import Request
from dicom_node.decoding.stream import BrokenStream

MEMORY_BYTES = 2 << 30
CPU_S = 30
"""Processor time for one request; the pool limits the wait, for those that only sleep."""
FIRST_TO_BE_KILLED = "1000"


def main(descriptor: int) -> None:
    """Answer requests until the other end of the socket is closed."""
    _limit()
    connection = Connection(descriptor)
    while True:
        try:
            request: Request = connection.recv()
        except EOFError:  # the node has ended
            return
        _renew_cpu_time()
        request.send(_answer(request), connection)


def _answer(request: Request) -> object:
    """Return the result of a request, or the error that stands for it."""
    try:
        return request.run()
    except BrokenStream as error:
        return error
    except MemoryError:
        return BrokenStream(f"decoding it takes more than {MEMORY_BYTES >> 30} GB of memory")
    # A decoder may end in any way: pylibjpeg-rle panics, and pyo3's PanicException is no Exception.
    # Its words may quote the file, so only its kind is passed on.
    except BaseException as error:
        return BrokenStream(f"the decoder failed ({type(error).__name__})")


def _limit() -> None:
    # Not the address space: libraries map much that they never touch.
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
    # A core dump would hold a patient's pixels.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # A supervisor signals every process of the service; a job in the middle of a decoding would
    # count as refused. This process ends with its socket.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):  # not Linux
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_BE_KILLED)
    warnings.simplefilter("ignore")  # they quote values of the file


def _renew_cpu_time() -> None:
    """Allow `CPU_S` more; past it, SIGXCPU ends the process in the middle of a library's code."""
    used = sum(os.times()[:2])
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    # The limit counts from the start of the process, so it is moved on for each request. + 1
    # for what `int` cut off.
    resource.setrlimit(resource.RLIMIT_CPU, (int(used) + CPU_S + 1, hard))


if __name__ == "__main__":
    main(int(sys.argv[1]))
