"""One line per step: what was done, to which series, in how many seconds.

UIDs are named; a patient's name, ID or birth date never is. Values from a patient's file can also
hide in the warnings of libraries ("Invalid value for VR DA: …"), so those are kept off the log.
"""

import logging
import time
import warnings
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from copy import copy

from dicom_node.error_location import error_location

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
        fields = [f"{k}={v:.3f}" if isinstance(v, float) else f"{k}={v}" for k, v in present]
        error = record.exc_info[1] if record.exc_info else None
        return " ".join([line, *fields, *([f"error={error_location(error)!r}"] if error else [])])


def _unquoted(record: logging.LogRecord) -> logging.LogRecord:
    """Return a record without the words of an error, which may quote the patient's file.

    pynetdicom logs errors as messages, everybody else beside one.
    """
    plain = copy(record)
    plain.exc_info = plain.exc_text = None
    if isinstance(plain.msg, BaseException):
        plain.msg = type(plain.msg).__name__
    return plain


def start_logging(level: str = "INFO") -> None:
    """Send the node's lines to standard error, and only warnings of the libraries."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for package in ("dicom_node", "engine"):
        logging.getLogger(package).setLevel(level)
    quieten_libraries()


def quieten_libraries() -> None:
    """Keep library messages that quote a patient's file, or that repeat ours, out of the log."""
    warnings.filterwarnings("ignore", module=r"pydicom\.")
    warnings.filterwarnings("ignore", module=r"highdicom\.")
    for library in SILENT:
        logging.getLogger(library).setLevel(logging.CRITICAL)
    workflows = logging.getLogger("dbos")
    workflows.setLevel(logging.WARNING)
    workflows.propagate = True
    if not workflows.handlers:  # otherwise DBOS brings its own format
        workflows.addHandler(logging.NullHandler())
    workflows.addFilter(_told_already)


def _told_already(record: logging.LogRecord) -> bool:
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
