"""The audit trail: events go through a bounded queue into a file, to a syslog server, or both.

`record` works like logging, and by its means: it costs nothing where there is no trail, and never
blocks or fails its caller.
"""

import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from io import TextIOWrapper
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path
from typing import cast

from dicom_node.audit.audit_event import APPLICATION_START, APPLICATION_STOP, AuditEvent, activity
from dicom_node.audit.message import to_xml
from dicom_node.audit.syslog import SyslogHandler
from dicom_node.error_location import unforeseen
from dicom_node.errors import BadConfiguration
from dicom_node.net.tls.client_tls import TlsFiles

logger = logging.getLogger(__name__)

_trail = logging.getLogger("hepar.audit")
"""Takes events as messages. It has no handler, and takes nothing, unless a trail is open."""
# Or each event would be a line of the log, too.
_trail.propagate = False
_OFF = logging.CRITICAL + 1
_trail.setLevel(_OFF)

Waiting = queue.Queue[logging.LogRecord | None]
"""Messages on their way to a handler; None is the last."""

MOST_WAITING = 10_000
"""Events in the queue, each of about 2 kB; more are lost."""
PRIVATE = 0o600


@dataclass(frozen=True)
class Destination:
    """Where the trail goes."""

    file: Path | None = None
    file_bytes: int = 10_000_000
    """Size at which the file is put aside for a new one."""
    files: int = 100
    """Files put aside that are kept."""
    syslog: tuple[str, int] | None = None
    """Host and port of a syslog server that speaks TLS."""
    tls: TlsFiles = field(default_factory=TlsFiles)


def record(make: Callable[[], AuditEvent]) -> None:
    """Put the event that `make` returns on the trail, if there is one; never block or raise."""
    if not _trail.isEnabledFor(logging.INFO):
        return
    try:
        _trail.info("%s", make())
    except Exception as error:  # the edge of the trail: no event may end what it reports
        extra = {"action": "audit_lost"}
        logger.error("an event is not on the audit trail: %s", unforeseen(error), extra=extra)


class LostMessages:
    """Number of audit messages that were lost; the first is logged, and at the end the number."""

    def __init__(self) -> None:
        self.count = 0
        self._lock = threading.Lock()

    def add(self) -> None:
        """Count one more."""
        with self._lock:
            self.count += 1
            first = self.count == 1
        if first:
            logger.error("an audit message was lost", extra={"action": "audit_lost"})

    def close(self) -> None:
        """Log how many there were."""
        if self.count:
            extra = {"action": "audit_lost"}
            logger.error("%d audit messages were lost in all", self.count, extra=extra)


class _Intake(QueueHandler):
    """Writes events as XML into the queue."""

    def __init__(self, waiting: Waiting, node: str, lost: LostMessages) -> None:
        super().__init__(waiting)
        self.waiting = waiting
        self._node = node
        self._lost = lost

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        """Replace the event by its message."""
        (event,) = cast(tuple[AuditEvent], record.args)
        written = copy(record)  # another handler gets the event, too
        written.msg, written.args = to_xml(event, self._node), None
        return written

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Count a message for which there is no room; logging would print it."""
        self._lost.add()


class _Outlet(QueueListener):
    """Takes messages from the queue to a handler, in a thread."""

    def __init__(self, waiting: Waiting, handler: logging.Handler) -> None:
        super().__init__(waiting, handler)
        self._waiting = waiting

    def enqueue_sentinel(self) -> None:
        """Ask the thread to end; logging's own way fails where the queue is full."""
        # Waits for room; the handler makes some, or gives up.
        self._waiting.put(None)


class PrivateFile(RotatingFileHandler):
    """A file, one message a line, that nobody else may read; also once it is put aside."""

    def __init__(self, path: Path, file_bytes: int, files: int, lost: LostMessages) -> None:
        self._lost = lost
        super().__init__(path, maxBytes=file_bytes, backupCount=files, encoding="utf-8")

    def _open(self) -> TextIOWrapper:
        def opener(path: str, flags: int) -> int:
            descriptor = os.open(path, flags, PRIVATE)
            os.fchmod(descriptor, PRIVATE)  # it may have been there with other rights
            return descriptor

        # `Path.open` takes no opener.
        return open(self.baseFilename, "a", encoding="utf-8", opener=opener)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Count a message that could not be written, on a full disk for example."""
        self._lost.add()


@contextmanager
def auditing(
    destination: Destination, node: str, most_waiting: int = MOST_WAITING
) -> Iterator[LostMessages]:
    """Keep an audit trail while the block lasts, from the node's start to its stop.

    Raises:
        BadConfiguration: the file cannot be written, or a certificate cannot be used.
    """
    with _opened(destination, node, most_waiting) as lost:
        record(lambda: activity(APPLICATION_START))
        try:
            yield lost
        finally:
            record(lambda: activity(APPLICATION_STOP))


@contextmanager
def auditing_command(destination: Destination, node: str) -> Iterator[LostMessages]:
    """Keep the node's audit trail while a command acts in its place, beside it or without it.

    Raises:
        BadConfiguration: as above; the command then does nothing that would have to be recorded.
    """
    # 0: never put aside here. The node does that, and would go on writing into the old file.
    with _opened(replace(destination, file_bytes=0), node, MOST_WAITING) as lost:
        yield lost


@contextmanager
def _opened(destination: Destination, node: str, most_waiting: int) -> Iterator[LostMessages]:
    lost = LostMessages()
    with ExitStack() as stack:
        stack.callback(lost.close)
        handlers = _handlers(destination, lost)
        for handler in handlers:
            intake = _Intake(queue.Queue(most_waiting), node, lost)
            stack.enter_context(_connected(handler, intake))
        yield lost


@contextmanager
def _connected(handler: logging.Handler, intake: _Intake) -> Iterator[None]:
    """Let events flow into a handler while the block lasts, in a thread of its own."""
    outlet = _Outlet(intake.waiting, handler)
    outlet.start()
    _trail.addHandler(intake)
    _trail.setLevel(logging.INFO)
    try:
        yield
    finally:
        _trail.removeHandler(intake)
        if not _trail.handlers:  # the other destination may still be open
            _trail.setLevel(_OFF)
        if isinstance(handler, SyslogHandler):
            handler.give_up()
        outlet.stop()
        handler.close()


def _handlers(destination: Destination, lost: LostMessages) -> list[logging.Handler]:
    handlers: list[logging.Handler] = []
    if destination.syslog:
        destination.tls.context()  # a node should not start without its certificates
        handlers.append(SyslogHandler(destination.syslog, destination.tls.context, lost.add))
    if destination.file:
        handlers.append(_private_file(destination.file, destination, lost))
    return handlers


def _private_file(path: Path, destination: Destination, lost: LostMessages) -> PrivateFile:
    try:
        return PrivateFile(path, destination.file_bytes, destination.files, lost)
    except OSError as error:
        raise BadConfiguration(
            f"audit.file {path} cannot be written: {error.strerror}; name a file in a folder that"
            " exists and that the node may write to"
        ) from error
