"""Numbers of slices that a GPU computes at once, and the choice of one by measurement."""

import logging
from collections.abc import Mapping

logger = logging.getLogger(__name__)

MEASURED = (4, 8, 16, 32, 64)
"""Numbers of slices at once that are measured where a device is opened on a GPU."""
NEAR = 1.05
"""The smallest number that takes at most this part of the fastest one's time is chosen: a call of
few slices, as the search for the liver makes, is padded to it."""
ALL_CHECKED = 8
"""The gate checks every batch size up to this one, also those that no device computes."""


def candidates(most: int, least: int = 1) -> tuple[int, ...]:
    """Return the batch sizes to measure for a plan that takes `most` slices at once.

    Args:
        most: largest batch size of the plan; always a candidate.
        least: smallest with which a slice has all its neighbours.
    """
    return (*(size for size in MEASURED if least <= size < most), most)


def chosen(seconds: Mapping[int, float], device: str) -> int:
    """Return the smallest of the fastest batch sizes, and log all of them.

    Args:
        seconds: time for the same slices by each batch size.
        device: name for the log.
    """
    limit = NEAR * min(seconds.values())
    best = min(size for size, each in seconds.items() if each <= limit)
    measured = ", ".join(f"{size}: {1000 * each:.1f} ms" for size, each in seconds.items())
    logger.info(
        "%s computes %d slices at once (%s)",
        device,
        best,
        measured,
        extra={"action": "batch_size"},
    )
    return best


def halved(size: int, least: int) -> int:
    """Return the batch size to use after memory was short: half, rounded up."""
    return max(-(-size // 2), least)


def checked_sizes(most: int, least: int = 1) -> tuple[int, ...]:
    """Return the batch sizes at which a plan must pass the gate: all that a device may compute.

    Those are the candidates, and what comes of each by halving while memory is short and doubling
    afterwards. Smaller calls are padded to them.
    """
    sizes = set(range(1, min(most, ALL_CHECKED) + 1))
    for usual in candidates(most, least):
        sizes |= _reached(usual, least)
    return tuple(sorted(sizes))


def _reached(usual: int, least: int) -> set[int]:
    found: set[int] = set()
    fresh = {usual}
    while fresh:
        found |= fresh
        steps = {step for size in fresh for step in (halved(size, least), min(2 * size, usual))}
        fresh = steps - found
    return found
