"""Start, feed and stop DBOS, which runs the workflows and stores their states."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, EnqueueOptions
from dbos import error as dbos_error

from dicom_node.errors import AlreadyRunning
from dicom_node.jobs.polling import FAST_S, SLOW_S, Dequeuing, PollingRate
from dicom_node.jobs.records import SeriesTask
from dicom_node.jobs.store import connectable, faults_named, make_private, require_usable
from dicom_node.jobs.watchdog import watching
from dicom_node.jobs.workflows import (
    DELIVERIES_AT_ONCE,
    SEGMENT,
    STEPS_VERSION,
    URGENT,
    DeliverySteps,
    RunningWorkflows,
    SeriesSteps,
    delivery_queue,
    folder_of,
    held_queue,
    here,
    register,
    segment_queue,
    urgent_queue,
)

APPLICATION = "hepar"
"""First word of the application's name in DBOS; the node's own name follows."""


_in_this_process = threading.Lock()
"""Held while this process runs jobs: a second `DBOS` would silently be the first one."""


@contextmanager
def run_jobs(
    series: SeriesSteps | None,
    deliveries: DeliverySteps,
    *,
    database_url: str,
    executor: str,
    peers: Sequence[str],
    polling: PollingRate,
    at_once: int = 1,
    apart: bool = False,
) -> Iterator[Dequeuing]:
    """Run jobs, those left over from the last time first, while the block lasts.

    Yields what can stop this process from taking further ones.

    Args:
        series: runs the steps of series; None where this process only delivers.
        deliveries: runs the steps of deliveries.
        database_url: SQLite or Postgres.
        executor: names this node for as long as its data folder lives, or this role of several
            that share the folder ("<folder>/<member>"). DBOS gives the work of a dead process only
            to one of the same name, and two live ones must not share it.
        peers: names of the destinations to which this process delivers; each has a queue of its
            own.
        polling: how often the queues are polled.
        at_once: series worked on at the same time; an urgent one comes on top.
        apart: whether other processes take from the queues that are not this one's. Otherwise also
            deliveries to a peer that is no longer configured are taken, and fail with the remedy.

    Raises:
        StoreUnusable: the store is damaged, locked, away or full; the message names the remedy.
        AlreadyRunning: this process runs jobs already; DBOS exists once in a process.
    """
    if not _in_this_process.acquire(blocking=False):
        raise AlreadyRunning("this process runs a node already; start another process for a second")
    try:
        # Before DBOS makes the file, with the permissions that the umask leaves.
        make_private(database_url)
        require_usable(database_url)
        running = RunningWorkflows()
        # Few series at a time: they share one device, and each volume takes its memory.
        node = folder_of(executor)
        limits = {segment_queue(node): at_once, urgent_queue(node): 1} if series else {}
        limits |= {delivery_queue(peer, node): DELIVERIES_AT_ONCE for peer in peers}

        def prepare() -> None:
            register(series, deliveries, running)
            if apart:  # DBOS takes from all queues of the application, whoever registered them
                DBOS.listen_queues(list(limits))

        with _launched(database_url, executor, prepare) as dbos, watching(running):
            queues = [
                DBOS.register_queue(name, worker_concurrency=limit, polling_interval_sec=SLOW_S)
                for name, limit in limits.items()
            ]
            with polling.applied_to(queues):
                yield Dequeuing(dbos)
    finally:
        _in_this_process.release()


@contextmanager
def queueing_jobs(database_url: str, executor: str) -> Iterator[None]:
    """Let this process queue jobs while the block lasts; others run them.

    Args:
        database_url: Postgres.
        executor: names this process, as in `run_jobs`.

    Raises:
        StoreUnusable, AlreadyRunning: as `run_jobs` does.
    """
    if not _in_this_process.acquire(blocking=False):
        raise AlreadyRunning("this process runs a node already; start another process for a second")
    try:
        # No queue: this process takes nothing from those that others have registered.
        with _launched(database_url, executor, lambda: DBOS.listen_queues([])) as dbos:
            _leave_to_others(dbos)
            yield
    finally:
        _in_this_process.release()


def make_tables(database_url: str) -> None:
    """Make the tables of DBOS in a PostgreSQL, or bring them up to its release.

    Raises:
        StoreUnusable: the server is away, or the role may not; the message names the remedy.
    """
    with faults_named(database_url):
        DBOS.migrate(connectable(database_url))


def _leave_to_others(dbos: DBOS) -> None:
    """End the threads of DBOS (3.4) that look after workflows which other processes run.

    They lock and change rows every second, which the role of a page in PostgreSQL may not.
    """
    Dequeuing(dbos).stop()  # from DBOS's own queue, which is polled even where no other is
    dbos._background_jobs_stop_event.set()


@contextmanager
def _launched(database_url: str, executor: str, prepare: Callable[[], None]) -> Iterator[DBOS]:
    """Run DBOS while the block lasts; `prepare` is called once it exists, before its launch."""
    node = folder_of(executor)
    try:
        with faults_named(database_url), _launch_failure_not_logged():
            try:
                dbos = _launch(database_url, executor, STEPS_VERSION, prepare)
            except dbos_error.DBOSException as error:
                # By its words: DBOS raises its base class for this.
                if "already registered by application" not in str(error):
                    raise
                # A version belongs to one application, so a second node on a store needs its own.
                DBOS.destroy(destroy_registry=True)
                dbos = _launch(database_url, executor, f"{STEPS_VERSION} on {node}", prepare)
        yield dbos
    finally:
        DBOS.destroy(destroy_registry=True)


def _launch(database_url: str, executor: str, version: str, prepare: Callable[[], None]) -> DBOS:
    config: DBOSConfig = {
        # Nodes that share a database mind their own queues; roles of one folder share its.
        "name": f"{APPLICATION}-{folder_of(executor)}",
        "system_database_url": connectable(database_url),
        "application_version": version,
        "executor_id": executor,
        "serializer": DBOSPortableJSONSerializer(),  # the default is pickle
        "log_level": "WARNING",
        "notification_listener_polling_interval_sec": FAST_S,
    }
    dbos = DBOS(config=config)
    # In this order: workflows belong to the `DBOS` that exists, and its launch takes up old ones.
    prepare()
    DBOS.launch()
    return dbos


@contextmanager
def _launch_failure_not_logged() -> Iterator[None]:
    """Keep DBOS's traceback of a failed launch off the log; the error that is raised is enough."""

    def keep(record: logging.LogRecord) -> bool:
        return "failed to launch" not in record.getMessage()

    logger = logging.getLogger("dbos")
    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def submit(
    job: str,
    task: SeriesTask,
    *,
    urgent: bool = False,
    held: bool = False,
    caller: str = "",
    tag: int = 0,
) -> None:
    """Queue the work on a series; once this returns, a crash does not lose it.

    A job that the store has already, whatever became of it, is left as it is. One that is `held`
    waits until `jobs.submit.study_choice` moves it on. `caller` and `tag` are those of a
    `jobs.submit.fair_share.Turn`: the lowest tag of a queue goes first.
    """
    queue = held_queue if held else urgent_queue if urgent else segment_queue
    options: EnqueueOptions = {
        "workflow_name": SEGMENT,
        "queue_name": queue(here()),
        "workflow_id": job,
        "app_version": str(DBOS.application_version),
        "attributes": {URGENT: urgent},
    }
    if tag:
        # Not an attribute: on SQLite DBOS finds no workflow by one.
        options |= {"authenticated_user": caller, "priority": tag}
    DBOS.enqueue_workflow_with_options(options, task.to_json())
