"""Waiting for what another thread or process does."""

import time
from collections.abc import Callable

GENEROUS_S = 120.0
"""Far more than anything here takes, also on two busy cores; who waits in vain fails after it."""


def wait_until(
    met: Callable[[], object], seconds: float = GENEROUS_S, what: str = "what a test waits for"
) -> None:
    """Return once `met()` is true; fail, naming `what`, after `seconds`."""
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.02)
