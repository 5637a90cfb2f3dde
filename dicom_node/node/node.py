"""The running node: its parts put together and taken apart again."""

import faulthandler
import gc
import logging
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from time import perf_counter

from dicom_node.audit.trail import auditing
from dicom_node.choice.contrast_phase import FoundPhase
from dicom_node.choice.densities import measured_phase
from dicom_node.config.peers import PeerSettings
from dicom_node.config.settings import Settings
from dicom_node.data_folder import DataFolder
from dicom_node.jobs.backoff import Backoff
from dicom_node.jobs.dbos_runtime import run_jobs
from dicom_node.jobs.other_steps import taking_older
from dicom_node.jobs.polling import PollingRate
from dicom_node.jobs.steps.backlog import Backlog, BacklogRule
from dicom_node.jobs.steps.deliverer import Deliverer
from dicom_node.jobs.steps.series_worker import JobProgress, SeriesWorker
from dicom_node.jobs.submit.correction_queue import DEATHS
from dicom_node.jobs.submit.study_choice import choosing
from dicom_node.jobs.upkeep.cleanup import cleaning_up
from dicom_node.jobs.upkeep.retention import Retention
from dicom_node.net.commitments import Commitments
from dicom_node.node.peers import to_peer, warn_of_unready_peers
from dicom_node.node.receiving import receiving
from dicom_node.node.shadowing import to_shadow
from dicom_node.node.startup import OpenDevice, StartingNode, starting, to_faster
from dicom_node.node.stop_signals import stop_signals
from dicom_node.node.trying import trying
from dicom_node.node.warm_up import to_segmenter, warm_up_highdicom
from dicom_node.node.web import Seen, serve_page
from dicom_node.pipeline.crash_record import CrashRecord
from dicom_node.pipeline.segmenter import SegmentationSetup, Segmenter
from dicom_node.pipeline.side_files import SideFile
from dicom_node.receive.spool import Spool
from dicom_node.tryout.compute import Means
from dicom_node.web.view import Progress
from engine.device import Device, ReportsMemory
from engine.model import Model
from engine.serving.turns import DeviceQueue

logger = logging.getLogger(__name__)

STDERR = 2
STOP_S = 25.0
"""Seconds that stopping may take; systemd and Docker Compose kill the process after 30 (`deploy/`),
and leave no trace of what it waited for."""


@dataclass(frozen=True)
class Node:
    """A running node."""

    ae_title: str
    address: tuple[str, int]
    """Host and port on which it listens."""
    expect: Callable[[str, int], None]
    """Announces the number of instances of a series, which then need not wait for quiet."""
    http: tuple[str, int] | None = None
    """Host and port of the web server, if there is one."""


def ignore_progress(job: str, done: int, of: int) -> None:
    """No-op progress callback."""


def serve(opened: StartingNode) -> None:
    """Run the node until SIGINT or SIGTERM.

    Raises:
        NodeError, EngineError: it could not start; the message names the remedy.
    """
    run_until_signal(working(opened))


def run_until_signal(running: AbstractContextManager[object]) -> None:
    """Enter a block, and leave it at SIGINT or SIGTERM; the process is to end then.

    If it has not ended after `STOP_S`, it writes the stacks of its threads to stderr and ends with
    1. What was under way goes on at the next start, as after a crash.
    """
    # Another one while the process ends changes nothing.
    with stop_signals(then=signal.SIG_IGN) as told, running:
        # What the start has made stays. Each full collection would walk through its 200,000
        # objects, which takes a third of a second while a series of 300 slices is worked on.
        gc.collect()
        gc.freeze()
        told.recv(1)
        logger.info("stopping", extra={"action": "stop"})
        faulthandler.dump_traceback_later(STOP_S, exit=True, file=STDERR)


@contextmanager
def running_node(
    settings: Settings,
    *,
    progress: JobProgress = ignore_progress,
    open_device: OpenDevice | None = None,
) -> Iterator[Node]:
    """Run a node while the block lasts; it resumes at once what the last one left undone.

    Args:
        settings: the configuration.
        progress: called as the device computes a job.
        open_device: opens the device to use in place of Hepar's own.
    """
    with starting(settings, open_device) as opened, working(opened, progress) as node:
        yield node


@contextmanager
def working(opened: StartingNode, progress: JobProgress = ignore_progress) -> Iterator[Node]:
    """Run a started node while the block lasts; it listens once its device has passed the gate.

    Raises:
        NodeError, EngineError: it could not start; the message names the remedy.
    """
    settings, data = opened.settings, opened.data
    url = settings.database_url
    # In this order: what comes later uses what came before, and ends before it. The receiver
    # begins after the queues that its series go to.
    with ExitStack() as stack:
        stack.enter_context(auditing(settings.audit.destination, settings.node.ae_title))
        segmenter = to_segmenter(settings, opened.model, opened.fleet)
        opened.device.result()  # a node without a device must not start, let alone receive
        setup = segmenter.now()
        commitments = Commitments()
        polling = PollingRate()
        shown = Progress()
        reported = _to_all(polling, progress, shown)
        crashes = CrashRecord(data.crashes)
        backlog = to_backlog(settings, opened.model, setup.device, opened.open_device)
        worker = replace(to_worker(segmenter, data, settings, reported), backlog=backlog)
        deliverer = to_deliverer(settings, settings.destinations, commitments)
        shadow = to_shadow(opened, worker.device_queue)
        worker = replace(worker, at_work=shown.noting(crashes.at_work), on_result=shadow.on_result)
        stack.enter_context(
            run_jobs(
                worker,
                deliverer,
                database_url=url,
                executor=opened.name,
                peers=sorted(deliverer.peers),
                polling=polling,
                at_once=settings.jobs.at_once or series_at_once(setup),
            )
        )
        stack.enter_context(taking_older())
        spool = Spool(data.spool, settings.receive.keep_free_mb << 20)
        digest = setup.algorithm.digest
        asked = deliverer.peers[settings.receive.ask] if settings.receive.ask else None
        reception = stack.enter_context(
            receiving(
                spool,
                digest,
                settings,
                commitments,
                polling.speed_up,
                asked,
                shadow_digest=shadow.digest,
                at_work=partial(crashes.at_work, most=DEATHS),
            )
        )
        silence_s = reception.assembler.silence_s
        phase = partial(measure, segmenter, worker.device_queue)
        stack.enter_context(choosing(settings.select, silence_s, phase, polling.speed_up))
        means = Means(segmenter, worker.device_queue, crashes.at_work)
        desk = stack.enter_context(trying(settings, means))
        seen = Seen(
            setup,
            reception,
            opened.fleet,
            shown,
            desk,
            deliverer.peers,
            shadow.status,
            backlog.model if backlog else "",
        )
        http = stack.enter_context(serve_page(settings, seen))
        stack.enter_context(cleaning_up(url, spool, data, to_retention(settings)))
        if shadow.runner is not None:  # after all that a series needs to be received and computed
            stack.enter_context(shadow.runner.working())
        stack.callback(crashes.close)  # first of all: what follows may take longer than allowed
        seconds = perf_counter() - opened.begun
        _log_start(settings.node.ae_title, reception.address, setup, seconds)
        warm_up_highdicom()
        warn_of_unready_peers(deliverer.peers.values())
        yield Node(settings.node.ae_title, reception.address, reception.expect, http)


def measure(segmenter: Segmenter, queue: DeviceQueue, paths: Sequence[Path]) -> FoundPhase:
    """Measure the contrast phase of a series on the device of the moment."""
    return measured_phase(paths, queue.on(segmenter.now().device, urgent=False))


def _to_all(polling: PollingRate, progress: JobProgress, shown: Progress) -> JobProgress:
    """Report progress to the caller and the page, and poll fast: delivery comes soon."""

    def on_progress(job: str, done: int, of: int) -> None:
        polling.speed_up()
        shown(job, done, of)
        progress(job, done, of)

    return on_progress


def to_retention(settings: Settings) -> Retention:
    """Return how long what jobs leave behind is kept."""
    jobs = settings.jobs
    return Retention(
        finished=timedelta(hours=jobs.keep_hours),
        failed=timedelta(days=jobs.keep_failed_days),
        rows=timedelta(days=jobs.keep_jobs_days),
        delivered=timedelta(days=jobs.keep_delivered_days),
    )


def series_at_once(setup: SegmentationSetup) -> int:
    """Return how many series to work on: a GPU leaves the processor free for another."""
    # Only a GPU reports memory of its own.
    return 2 if isinstance(setup.device, ReportsMemory) else 1


def to_worker(
    segmenter: Segmenter, data: DataFolder, settings: Settings, progress: JobProgress
) -> SeriesWorker:
    """Return what segments series as configured."""
    profiles = {name: each.profile for name, each in settings.destinations.items()}
    items = frozenset(item for profile in profiles.values() for item in profile.items)
    # What all peers want together is made once.
    beside = {SideFile.KEPT} | ({SideFile.PREVIEW} if settings.http.port is not None else set())
    segmenter = replace(segmenter, items=items or segmenter.items, beside=frozenset(beside))
    return SeriesWorker(segmenter, data, profiles, progress)


def to_backlog(
    settings: Settings,
    usual: Model,
    device: Device,
    open_device: OpenDevice | None = None,
    cache: Path | None = None,
) -> Backlog | None:
    """Return what uses the faster model while a backlog lasts; None without such a model.

    Takes and raises what `to_faster` does.
    """
    faster = to_faster(settings, usual, device, open_device, cache)
    return Backlog(BacklogRule(settings.engine.backlog_series), *faster) if faster else None


def to_deliverer(
    settings: Settings, destinations: Mapping[str, PeerSettings], commitments: Commitments
) -> Deliverer:
    """Return what delivers results to these destinations."""
    peers, profiles = {}, {}
    for name, each in destinations.items():
        peers[name] = to_peer(name, each, settings.node.ae_title, commitments)
        profiles[name] = each.profile
    jobs = settings.jobs
    backoff = Backoff(jobs.first_pause_s, jobs.longest_pause_s, jobs.give_up_days * 86400)
    return Deliverer(peers, profiles, backoff, settings.viewer.url)


def _log_start(
    ae_title: str, address: tuple[str, int], setup: SegmentationSetup, seconds: float
) -> None:
    logger.info(
        "%s listens on %s:%d with model %s on %s",
        ae_title,
        *address,
        setup.algorithm.model,
        setup.device.name,
        extra={"action": "start", "seconds": seconds},
    )
