"""Waiting for what another thread or process does."""

import threading
import time
from collections.abc import Callable

GENEROUS_S = 120.0
"""Far more than anything here takes, also on two busy cores; who waits in vain fails after it."""

PAUSE_S, LONGEST_PAUSE_S = 0.02, 0.3
"""Between two looks: after one that takes no time, and after one that takes long."""


def wait_until(
    met: Callable[[], object], seconds: float = GENEROUS_S, what: str = "what a test waits for"
) -> None:
    """Return once `met()` is true; fail, naming `what`, after `seconds`."""
    deadline = time.monotonic() + seconds
    while not _met(met):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"


def _met(met: Callable[[], object]) -> bool:
    """Return whether `met()` is true; if it is not, pause.

    A look at the job store or into an archive takes 5 to 50 ms of a processor, which the work that
    is waited for needs, too: the longer a look takes, the longer is the pause after it.
    """
    begun = time.monotonic()
    if met():
        return True
    time.sleep(min(max(PAUSE_S, 9 * (time.monotonic() - begun)), LONGEST_PAUSE_S))
    return False


class StoppedWhenCleared(threading.Event):
    """A signal of `owner` that is set, together with its flag `name`, just before it is cleared.

    So falls the end of a thread that looks at the flag first and clears the signal afterwards: it
    would wait for a signal that it has cleared itself.
    """

    def __init__(self, owner: object, name: str) -> None:
        """Stop `owner` by its flag `name` at each `clear`."""
        super().__init__()
        self._owner, self._name = owner, name

    def clear(self) -> None:
        """Stop the owner, and clear the signal that tells it."""
        setattr(self._owner, self._name, True)
        self.set()
        super().clear()
