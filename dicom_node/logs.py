"""One line per step: what was done, to which series, in how many seconds.

UIDs are named; a patient's name, ID or birth date never is. Values from a patient's file can also
hide in the warnings of libraries ("Invalid value for VR DA: …"), so those are kept off the log.
"""

import logging
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import TextIO

from dicom_node.error_location import error_location
from dicom_node.outside_text import outside_text

logger = logging.getLogger(__name__)

MESSAGE_CHARACTERS, FIELD_CHARACTERS = 1000, 80
"""Longest message and longest `extra` field."""
LINE_BYTES = 2000
"""Longest line; some collectors split or drop longer ones."""

FIELDS = ("action", "job", "series", "peer", "sop_instance", "seconds")
"""The `extra` fields that a line shows, in this order."""


SILENT = ("pydicom", "highdicom", "dicomweb_client", "pynetdicom.transport")
"""Libraries that quote what they read: values of a file, or what a server writes in its warnings.
The last one repeats the peer's error message."""


class LineFormatter(logging.Formatter):
    """Write a record as `time LEVEL message action=… series=… seconds=…`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; `extra` fields follow the message, and an error's kind and place."""
        line = super().format(_unquoted(record))
        present = [(name, getattr(record, name)) for name in FIELDS if hasattr(record, name)]
        fields = [
            f"{k}={v:.3f}" if isinstance(v, float) else f"{k}={outside_text(v, FIELD_CHARACTERS)}"
            for k, v in present
        ]
        error = record.exc_info[1] if record.exc_info else None
        whole = " ".join([line, *fields, *([f"error={error_location(error)!r}"] if error else [])])
        # The cut may go through a character, the rest of which is dropped.
        return whole.encode()[:LINE_BYTES].decode(errors="ignore")


def _unquoted(record: logging.LogRecord) -> logging.LogRecord:
    """Return a record in one line, without an error's message, which may quote the patient's file.

    pynetdicom logs errors as messages, everybody else beside one.
    """
    plain = copy(record)
    plain.exc_info = plain.exc_text = plain.stack_info = None
    if isinstance(plain.msg, BaseException):
        plain.msg = type(plain.msg).__name__
    # No arguments any more: a "%" in the finished text would ask for one.
    plain.msg, plain.args = outside_text(plain.getMessage(), MESSAGE_CHARACTERS), None
    return plain


def start_logging(level: str = "INFO") -> None:
    """Send the node's lines to standard error, and only warnings of the libraries."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in ("dicom_node", "engine"):
        logging.getLogger(package).setLevel(level)
    quieten_libraries()
    # Python would print the words, which quote values.
    warnings.showwarning = _log_warning
    sys.excepthook = _log_uncaught
    threading.excepthook = lambda failed: _log_uncaught(
        failed.exc_type, failed.exc_value or failed.exc_type(), failed.exc_traceback
    )
    sys.unraisablehook = lambda failed: _log_uncaught(
        failed.exc_type, failed.exc_value or failed.exc_type(), failed.exc_traceback
    )


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Log where a warning was raised, and not its words."""
    logger.debug("%s at %s:%d", category.__name__, Path(filename).name, lineno)


def _log_uncaught(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Log the place of an error that nothing has caught; Python would print its words."""
    if not issubclass(kind, KeyboardInterrupt | SystemExit):
        logger.error("uncaught", exc_info=(kind, error.with_traceback(traceback), traceback))


def quieten_libraries() -> None:
    """Keep library messages that quote a patient's file, or that repeat ours, out of the log."""
    warnings.filterwarnings("ignore", module=r"pydicom\.")
    warnings.filterwarnings("ignore", module=r"highdicom\.")
    for library in SILENT:
        silent = logging.getLogger(library)
        silent.setLevel(logging.CRITICAL)
        # Importing pydicom sets the level of its logger anew, and may come after this call.
        silent.propagate = False
        if not silent.handlers:  # otherwise Python prints what no handler takes
            silent.addHandler(logging.NullHandler())
    workflows = logging.getLogger("dbos")
    workflows.setLevel(logging.WARNING)
    workflows.propagate = True
    if not workflows.handlers:  # otherwise DBOS brings its own format
        workflows.addHandler(logging.NullHandler())
    workflows.addFilter(_reported_already)


def _reported_already(record: logging.LogRecord) -> bool:
    """Drop DBOS's report of an error that the worker has logged."""
    return not record.getMessage().startswith("Exception encountered in")


@contextmanager
def step(
    logger: logging.Logger, action: str, series: str, seconds: MutableMapping[str, float]
) -> Iterator[None]:
    """Log that a step was done, and note how long it took in `seconds`."""
    begun = time.perf_counter()
    yield
    note(logger, {action: time.perf_counter() - begun}, series, seconds)


def note(
    logger: logging.Logger,
    done: Mapping[str, float],
    series: str,
    seconds: MutableMapping[str, float],
) -> None:
    """Log steps that something else has timed, and note them in `seconds`."""
    for action, took in done.items():
        seconds[action] = took
        logger.info("done", extra={"action": action, "series": series, "seconds": took})
