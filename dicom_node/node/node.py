"""The running node: everything of this package, put together and taken apart again."""

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from queue import SimpleQueue
from time import perf_counter
from types import FrameType

from dicom_node.config.settings import Settings
from dicom_node.data_folder import DataFolder
from dicom_node.jobs.backoff import Backoff
from dicom_node.jobs.cleanup import kept_tidy
from dicom_node.jobs.dbos_runtime import run_jobs
from dicom_node.jobs.polling import PollingRate
from dicom_node.jobs.worker import JobProgress, SeriesWorker
from dicom_node.net.commitments import Commitments
from dicom_node.node.peers import to_peer
from dicom_node.node.receiving import receiving
from dicom_node.node.startup import OpenDevice, StartingNode, starting
from dicom_node.node.status_server import serve_status
from dicom_node.node.warm_up import to_methods, warm_up_highdicom
from dicom_node.pipeline.segmenter import SegmentationSetup, Segmenter
from dicom_node.receive.spool import Spool
from engine.device import SaysMemory

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Node:
    """A node at work."""

    ae_title: str
    address: tuple[str, int]
    """Where it listens."""
    expect: Callable[[str, int], None]
    """Tells it how many instances a series will have, so that it need not wait for quiet."""
    http: tuple[str, int] | None = None
    """Where it tells the state of jobs, if it is to."""


def unwatched(job: str, done: int, of: int) -> None:
    """Be told how far a job is, for nobody."""


def serve(opened: StartingNode) -> None:
    """Run the node until it is told to stop by SIGINT or SIGTERM.

    Raises:
        NodeError, EngineError: it could not start, and the message says what would do.
    """
    # Not an event: it has a lock, and what a signal interrupts may hold it.
    told: SimpleQueue[int] = SimpleQueue()

    def stop(number: int, frame: FrameType | None) -> None:
        told.put(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    with working(opened):
        told.get()
        logger.info("stopping", extra={"action": "stop"})


@contextmanager
def running_node(
    settings: Settings,
    *,
    progress: JobProgress = unwatched,
    open_device: OpenDevice | None = None,
) -> Iterator[Node]:
    """Run a node while the block lasts; what the last one left undone is taken up at once.

    Args:
        settings: what it may be told.
        progress: told how far the device is with which job.
        open_device: opens what computes, in place of the devices that Hepar knows.
    """
    with starting(settings, open_device) as opened, working(opened, progress) as node:
        yield node


@contextmanager
def working(opened: StartingNode, progress: JobProgress = unwatched) -> Iterator[Node]:
    """Let a node work while the block lasts; it listens once its device has passed the gate.

    Raises:
        NodeError, EngineError: it could not start, and the message says what would do.
    """
    settings, data = opened.settings, opened.data
    url, keep_for = settings.database_url, timedelta(hours=settings.jobs.keep_hours)
    with ExitStack() as stack:
        methods = to_methods(settings, opened.model, opened.fleet)
        opened.device.result()  # not in the first job only: who cannot serve should not start
        method = methods.now()
        commitments = Commitments()
        pace = PollingRate()
        worker = _worker(methods, data, settings, _hurrying(pace, progress), commitments)
        stack.enter_context(
            run_jobs(
                worker,
                database_url=url,
                executor=opened.name,
                peers=sorted(worker.peers),
                pace=pace,
                at_once=settings.jobs.at_once or _at_once(method),
            )
        )
        spool = Spool(data.spool, settings.receive.keep_free_mb << 20)
        digest = method.algorithm.digest
        reception = stack.enter_context(receiving(spool, digest, settings, commitments, pace.hurry))
        http = stack.enter_context(serve_status(settings, method.algorithm))
        stack.enter_context(kept_tidy(url, spool, data, keep_for))
        seconds = perf_counter() - opened.begun
        _say_started(settings.node.ae_title, reception.address, method, seconds)
        warm_up_highdicom()
        yield Node(settings.node.ae_title, reception.address, reception.expect, http)


def _hurrying(pace: PollingRate, progress: JobProgress) -> JobProgress:
    """Pass progress on; a series that is on the device will soon be delivered."""

    def told(job: str, done: int, of: int) -> None:
        pace.hurry()
        progress(job, done, of)

    return told


def _at_once(method: SegmentationSetup) -> int:
    """Return how many series to work on: a GPU leaves the processor free for another."""
    return 2 if isinstance(method.device, SaysMemory) else 1


def _worker(
    methods: Segmenter,
    data: DataFolder,
    settings: Settings,
    progress: JobProgress,
    commitments: Commitments,
) -> SeriesWorker:
    peers = {
        name: to_peer(name, each, settings.node.ae_title, commitments)
        for name, each in settings.destinations.items()
    }
    profiles = {name: each.profile for name, each in settings.destinations.items()}
    wanted = frozenset(item for profile in profiles.values() for item in profile.items)
    methods = replace(methods, items=methods.items | wanted)
    jobs = settings.jobs
    patience = Backoff(jobs.first_pause_s, jobs.longest_pause_s, jobs.give_up_days * 86400)
    viewer = settings.viewer.url
    return SeriesWorker(methods, data, peers, profiles, patience, progress, viewer)


def _say_started(
    ae_title: str, address: tuple[str, int], method: SegmentationSetup, seconds: float
) -> None:
    model = f"{method.algorithm.name} {method.algorithm.version}"
    logger.info(
        "%s listens on %s:%d with model %s on %s",
        ae_title,
        *address,
        model,
        method.device.name,
        extra={"action": "start", "seconds": seconds},
    )
