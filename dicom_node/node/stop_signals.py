"""SIGINT and SIGTERM, as a process waits for them."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_signals(then: signal.Handlers | None = None) -> Iterator[socket.socket]:
    """Yield a socket that can be read once SIGINT or SIGTERM has come, whenever that was.

    The bytes in it are written as the signal comes. A handler in Python runs only once the main
    thread does: a signal that comes just before this blocks, as in `SimpleQueue.get`, is not seen.

    Args:
        then: what they do after the block; what they did before, when absent.
    """
    told, wakeup = socket.socketpair()
    wakeup.setblocking(False)
    numbers = signal.SIGINT, signal.SIGTERM
    with told, wakeup:
        # `wait` sees the bytes in it; the handlers only keep the signals from ending the process.
        before = signal.set_wakeup_fd(wakeup.fileno())
        handlers = [signal.signal(each, lambda number, frame: None) for each in numbers]
        try:
            yield told
        finally:
            for number, handler in zip(numbers, handlers, strict=True):
                signal.signal(number, handler if then is None else then)
            signal.set_wakeup_fd(before)
