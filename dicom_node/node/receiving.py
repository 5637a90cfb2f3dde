"""From the wire to the queue: receiving, and making a job of each series that is complete."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from dicom_node.config.settings import Settings
from dicom_node.errors import AlreadyRunning
from dicom_node.jobs.asked_for import asked_after, is_asked_for
from dicom_node.jobs.dbos_runtime import job_id, submit
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.records import SeriesTask
from dicom_node.net.commitments import Commitments
from dicom_node.receive.scp import Limits, listen
from dicom_node.receive.series_assembler import ReceivedSeries, SeriesAssembler
from dicom_node.receive.spool import Spool
from dicom_node.selection.priority import is_urgent

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reception:
    """Where series come in."""

    address: tuple[str, int]
    expect: Callable[[str, int], None]
    """`SeriesAssembler.expect`, for callers that have the number of instances of a series."""


@contextmanager
def receiving(
    spool: Spool,
    model_digest: str,
    settings: Settings,
    commitments: Commitments | None = None,
    on_soon: Callable[[], None] = lambda: None,
) -> Iterator[Reception]:
    """Receive series and queue each as a job while the block lasts.

    Reports of storage commitment that come in are noted in `commitments`; `on_soon` is told
    when a series may soon be complete.

    Raises:
        AlreadyRunning: the address is taken, or is none of this machine's.
    """
    assembler = SeriesAssembler(
        spool,
        lambda series: queue(series, model_digest, settings),
        quiet_s=settings.receive.quiet_s,
        resend_s=settings.receive.resend_s,
        on_soon=on_soon,
    )
    assembler.start()
    try:
        with _listening(spool, assembler, settings, commitments) as address:
            yield Reception(address, assembler.expect)
    finally:
        assembler.stop()


def queue(series: ReceivedSeries, model_digest: str, settings: Settings) -> None:
    """Make a job of a series, if it is not one already; do it again if a person asked for that."""
    job = job_id(series.series_uid, (path.stem for path in series.paths), model_digest)
    urgent = is_urgent(series.paths, settings.urgent)
    task = SeriesTask(series.study_uid, series.series_uid, series.paths)
    submit(job, task, urgent=urgent)
    extra = {"action": "queue", "job": job, "series": series.series_uid}
    haste = ", urgent" if urgent else ""
    logger.info("complete, %d instances%s", len(series.paths), haste, extra=extra)
    if is_asked_for(series.paths):
        with open_ledger(settings.database_url) as ledger:
            known = ledger.find(job)
            if asked_after(known, series.paths) and ledger.redo(known):
                logger.info("a person asked for it: done again", extra=extra)


@contextmanager
def _listening(
    spool: Spool, assembler: SeriesAssembler, settings: Settings, commitments: Commitments | None
) -> Iterator[tuple[str, int]]:
    node, limits = settings.node, Limits(associations=settings.receive.max_associations)
    try:
        address = (node.host, node.port)
        server = listen(node.ae_title, address, spool, assembler, limits, commitments)
    except OSError as error:
        raise AlreadyRunning(
            f"cannot listen on {node.host}:{node.port}: {error.strerror}; set node.port to a free"
            " one, and node.host to an address of this machine"
        ) from error
    try:
        assert server.socket is not None
        host, port = server.socket.getsockname()[:2]
        yield host, port
    finally:
        server.ae.shutdown()
