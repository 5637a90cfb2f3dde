"""Temporary suppression of warnings in the log."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def warnings_silenced() -> Iterator[None]:
    """Suppress log records below ERROR inside the block."""
    # `logging.disable` has no getter. It acts on the whole process, so the block is kept short.
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
