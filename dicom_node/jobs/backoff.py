"""Pauses between attempts, and the time after which they end."""

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
        pause, waited = self.first_s, 0.0
        while waited < self.give_up_s:
            yield pause
            waited += pause
            pause = min(2 * pause, self.longest_s)
