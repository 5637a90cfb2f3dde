"""The running node: everything of this package, put together and taken apart again."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType

from dicom_node.assembly import Assembler, ReceivedSeries
from dicom_node.config import Settings
from dicom_node.data_folder import DataFolder
from dicom_node.destinations import to_peer
from dicom_node.errors import AlreadyRunning
from dicom_node.housekeeping import kept_tidy
from dicom_node.jobs.patience import Patience
from dicom_node.jobs.store import job_id, running, submit
from dicom_node.pipeline import Method
from dicom_node.scp import Limits, listen
from dicom_node.seg import Algorithm
from dicom_node.selection import Rules
from dicom_node.spool import Spool
from dicom_node.worker import JobProgress, SeriesWorker
from engine.devices import Device, open_device
from engine.model import Model, default_model_folder, load_model
from engine.reference import check_reference

logger = logging.getLogger(__name__)

OpenDevice = Callable[[Model, Settings], Device]


@dataclass(frozen=True)
class Node:
    """A node at work."""

    ae_title: str
    address: tuple[str, int]
    """Where it listens."""
    model: Model


def serve(settings: Settings, open_device: OpenDevice | None = None) -> None:
    """Run the node until it is told to stop by SIGINT or SIGTERM.

    Raises:
        NodeError, EngineError: it could not start, and the message says what would do.
    """
    told = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        told.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    with running_node(settings, open_device=open_device or open_checked):
        told.wait()
        logger.info("stopping", extra={"action": "stop"})


@contextmanager
def running_node(
    settings: Settings,
    *,
    progress: JobProgress = lambda job, done, of: None,
    open_device: "OpenDevice | None" = None,
) -> Iterator[Node]:
    """Run a node while the block lasts; what the last one left undone is taken up at once.

    Args:
        settings: what it may be told.
        progress: told how far the device is with which job.
        open_device: opens what computes; `open_checked` unless a test knows better.
    """
    begun = time.perf_counter()
    data = DataFolder(settings.node.data)
    with ExitStack() as stack:
        executor = stack.enter_context(data.claimed())
        model = load_model(settings.engine.model or default_model_folder())
        method = to_method(model, (open_device or open_checked)(model, settings), settings)
        worker = _worker(method, data, settings, progress)
        stack.enter_context(
            running(
                worker,
                database_url=settings.database_url,
                executor=executor,
                peers=sorted(worker.peers),
            )
        )
        spool = Spool(data.spool, settings.receive.keep_free_mb << 20)
        address = stack.enter_context(_receiving(spool, model, settings))
        keep_for = timedelta(hours=settings.jobs.keep_hours)
        stack.enter_context(kept_tidy(settings.database_url, spool, data, keep_for))
        logger.info(
            "%s listens on %s:%d with model %s %s on %s",
            settings.node.ae_title,
            *address,
            model.name,
            model.version,
            method.device.name,
            extra={"action": "start", "seconds": time.perf_counter() - begun},
        )
        yield Node(settings.node.ae_title, address, model)


def open_checked(model: Model, settings: Settings) -> Device:
    """Open the device and hold it against the model's reference.

    Raises:
        DeviceFailed: it cannot run the model, or answers otherwise than it should.
    """
    cache = DataFolder(settings.node.data).cache
    device = open_device(model, threads=settings.engine.threads, cache=cache)
    check_reference(model, device)
    return device


def to_method(model: Model, device: Device, settings: Settings) -> Method:
    """Return how the node segments a series."""
    algorithm = Algorithm(model.name, model.version, model.digest)
    return Method(device, algorithm, Rules(**settings.select.model_dump()))


def _worker(
    method: Method, data: DataFolder, settings: Settings, progress: JobProgress
) -> SeriesWorker:
    peers = {
        name: to_peer(name, each, settings.node.ae_title)
        for name, each in settings.destinations.items()
    }
    jobs = settings.jobs
    patience = Patience(jobs.first_pause_s, jobs.longest_pause_s, jobs.give_up_days * 86400)
    return SeriesWorker(method, data, peers, patience, progress)


@contextmanager
def _receiving(spool: Spool, model: Model, settings: Settings) -> Iterator[tuple[str, int]]:
    """Receive series and queue each as a job while the block lasts; yields where."""

    def queue(series: ReceivedSeries) -> None:
        job = job_id(series.series_uid, (path.stem for path in series.paths), model.digest)
        submit(job, series.study_uid, series.series_uid, series.paths)
        logger.info(
            "complete, %d instances",
            len(series.paths),
            extra={"action": "queue", "job": job, "series": series.series_uid},
        )

    node = settings.node
    assembler = Assembler(spool, queue, quiet_s=settings.receive.quiet_s)
    assembler.start()
    try:
        server = listen(
            node.ae_title,
            (node.host, node.port),
            spool,
            assembler,
            Limits(associations=settings.receive.max_associations),
        )
    except OSError as error:
        assembler.stop()
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
        assembler.stop()
