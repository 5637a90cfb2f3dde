"""The error that ends a step: logged here, once."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from dicom_node.error_location import is_panic, unforeseen
from dicom_node.errors import NodeError, Unforeseen, lacks_room
from engine.errors import EngineError

logger = logging.getLogger(__name__)


@contextmanager
def errors_logged(action: str, series: str) -> Iterator[None]:
    """Log the error that ends a step and pass it on to the workflow store, which keeps it.

    Raises:
        Unforeseen: in place of an error that is none of ours, whose message may quote the file.
    """
    extra = {"action": action, "series": series}
    try:
        yield
    except (NodeError, EngineError, OSError) as error:
        if lacks_room(error):  # it is done again: see `with_room`
            raise
        logger.error("failed: %s", error, extra=extra)
        raise
    except BaseException as error:
        # One that ends the thread would leave the job "segmenting" for ever. Whatever else is no
        # Exception ends the process.
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        withheld = Unforeseen(unforeseen(error))
        logger.error("failed: %s", withheld, extra=extra)
        # `from None`: the chain would carry the words that are withheld.
        raise withheld from None
