"""A log that keeps quiet for a while."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def warnings_silenced() -> Iterator[None]:
    """Keep everything but errors off the log while the block lasts."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
