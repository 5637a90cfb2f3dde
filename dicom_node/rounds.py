"""Work that is repeated in a thread of its own while a block lasts."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeated(
    work: Callable[[], bool | None], every_s: float, name: str, first_s: float = 0.0
) -> Iterator[None]:
    """Call `work` again and again, until the block ends or it returns True.

    Args:
        work: must not raise, which would end the thread.
        every_s: seconds from the end of one call to the beginning of the next.
        name: of the thread.
        first_s: seconds before the first call.
    """
    stop = threading.Event()

    def run() -> None:
        pause_s = first_s
        while not stop.wait(pause_s):
            if work():
                return
            pause_s = every_s

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
