"""Pauses between attempts, and the time after which they end."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Backoff:
    """Pauses that double up to the longest one."""

    first_s: float = 5.0
    longest_s: float = 600.0
    give_up_s: float = 7 * 86400.0

    def pauses(self) -> Iterator[float]:
        """Yield the seconds to wait after each failure, until all together reach `give_up_s`."""
        waited = 0.0
        for failures in itertools.count(1):
            if waited >= self.give_up_s:
                return
            yield (pause_s := self.after(failures))
            waited += pause_s

    def after(self, failures: int) -> float:
        """Return the seconds to wait after so many failures, however long it has been."""
        # A float has no power of two beyond 1023, and no pause is as long as 2 to the 64 seconds.
        return min(self.first_s * 2.0 ** min(failures - 1, 64), self.longest_s)
