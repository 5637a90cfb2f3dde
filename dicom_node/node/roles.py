"""Roles of a cluster: a gateway receives, a worker computes and delivers, a page shows it all.

A deliverer is apart from the workers where these do not reach the archive.

`node.working` is all of them in one process.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial

from dbos import DBOS

from dicom_node.audit.trail import auditing
from dicom_node.cluster.arrivals import Studies
from dicom_node.cluster.draining import DRAINABLE, Drains, drainable, require_drainable
from dicom_node.cluster.epochs import Epochs, forgetting
from dicom_node.cluster.fenced_worker import (
    FencedDeliveries,
    FencedSeries,
    OwnershipCheck,
)
from dicom_node.cluster.gateway_intake import GatewayIntake
from dicom_node.cluster.shared_assembler import SharedAssembler
from dicom_node.cluster.takeover import alone, served, taking_over
from dicom_node.cluster.worker_intake import WorkerIntake
from dicom_node.config.page_sections import AlertsSection
from dicom_node.jobs.dbos_runtime import queueing_jobs, run_jobs
from dicom_node.jobs.ledger import Ledger
from dicom_node.jobs.other_steps import waiting_for_newer
from dicom_node.jobs.polling import PollingRate
from dicom_node.jobs.requests import Requests, carrying_out
from dicom_node.jobs.steps.series_worker import SeriesWorker
from dicom_node.jobs.submit.correction_queue import DEATHS
from dicom_node.jobs.submit.study_choice import choosing
from dicom_node.jobs.upkeep.cleanup import cleaning_up
from dicom_node.jobs.workflows import SEGMENT, DeliverySteps, SeriesSteps
from dicom_node.net.commitments import Commitments
from dicom_node.node.apart import (
    Apart,
    fetching,
    fetching_results,
    own_files,
    queueing_postponed,
    shown_results,
    to_arrivals,
)
from dicom_node.node.joining import Joined
from dicom_node.node.node import (
    measure,
    series_at_once,
    to_backlog,
    to_deliverer,
    to_retention,
    to_worker,
)
from dicom_node.node.peers import to_peer, warn_of_unready_peers
from dicom_node.node.receiving import Reception, receiving
from dicom_node.node.shadowing import in_turn, named_shadow, status_of_cluster, with_runner
from dicom_node.node.startup import OpenDevice, read_faster, to_fleet
from dicom_node.node.warm_up import to_segmenter, warm_up_highdicom
from dicom_node.node.web import reception_view, serve_view
from dicom_node.pipeline.crash_record import CrashRecord
from dicom_node.pipeline.segmenter import Segmenter
from dicom_node.receive.spool import Spool
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.shadow.promotion import served_folder
from dicom_node.web.view import Arriving, NodeView, RunningProcess
from engine.model import Model, load_model

logger = logging.getLogger(__name__)


@contextmanager
def gateway(joined: Joined) -> Iterator[Reception]:
    """Receive series, and queue each as a job for the workers, while the block lasts.

    Raises:
        NodeError, EngineError: it could not start; the message names the remedy.
    """
    settings = joined.settings
    with ExitStack() as stack:
        stack.enter_context(auditing(settings.audit.destination, settings.node.ae_title))
        model = _model(joined)
        algorithm, shadow = _algorithm(model), named_shadow(settings, model)
        stack.enter_context(queueing_jobs(settings.database_url, joined.member.executor))
        asked = None
        if name := settings.receive.ask:
            asked = to_peer(name, settings.peers[name], settings.node.ae_title)
        arrivals, spool = to_arrivals(joined), _spool(joined)
        intake, crashes = GatewayIntake(arrivals), CrashRecord(joined.claim.crashes)
        # Before it listens: a gateway that crashed while it was drained stays closed.
        stack.enter_context(drainable(joined.engine, joined.member, intake))
        own = stack.enter_context(own_files(joined, spool, to_retention(settings)))
        reception = stack.enter_context(
            receiving(
                spool,
                algorithm.digest,
                settings,
                asked=asked,
                arrivals=arrivals,
                closed=intake.closed,
                shadow_digest=shadow.digest,
                at_work=partial(crashes.at_work, most=DEATHS),
                own=own,
            )
        )
        assert isinstance(reception.assembler, SharedAssembler)  # as there are `arrivals`
        intake.watch(reception.assembler, reception.associations)
        # The page of the cluster sends the alerts, each of them once.
        quiet = settings.model_copy(update={"alerts": AlertsSection()})
        view = replace(
            reception_view(quiet, algorithm, reception),
            closed=intake.closed,
            results_of=stack.enter_context(shown_results(joined)),
        )
        stack.enter_context(serve_view(view))
        stack.callback(crashes.close)  # first of all, as of a worker
        _log_start(joined, f"listens on {reception.address[0]}:{reception.address[1]}")
        yield reception


@contextmanager
def worker(joined: Joined, open_device: OpenDevice | None = None) -> Iterator[None]:
    """Segment series while the block lasts, and deliver results unless `deliverer` does.

    Raises:
        NodeError, EngineError: it could not start; the message names the remedy.
    """
    settings = joined.settings
    with ExitStack() as stack:
        stack.enter_context(auditing(settings.audit.destination, settings.node.ae_title))
        model, fleet = to_fleet(settings, open_device, joined.claim.cache)
        segmenter = to_segmenter(settings, model, fleet)
        setup = segmenter.now()  # a worker without a device must not take work
        polling, crashes = PollingRate(), CrashRecord(joined.claim.crashes)
        owned = OwnershipCheck()

        def progress(job: str, done: int, of: int) -> None:
            polling.speed_up()
            owned(job, done, of)

        backlog = to_backlog(settings, model, setup.device, open_device, joined.claim.cache)
        made = to_worker(segmenter, joined.data, settings, progress)
        series_worker = replace(made, backlog=backlog)
        destinations = {} if settings.cluster.deliver_apart else settings.destinations
        sender = to_deliverer(settings, destinations, Commitments())
        shadow = with_runner(
            named_shadow(settings, model),
            settings,
            joined.data,
            series_worker.device_queue,
            open_device,
            joined.claim.cache,
        )
        series_worker = replace(series_worker, at_work=crashes.at_work, on_result=shadow.on_result)
        steps: SeriesSteps
        deliveries: DeliverySteps
        if joined.is_apart:  # each attempt has a folder of its own there
            steps, deliveries = stack.enter_context(fetching(joined, series_worker, sender))
        else:
            member = joined.member
            epochs = Epochs(joined.engine, joined.data, member.folder, member.executor)
            steps, deliveries = replace(series_worker, place=epochs.place), sender
            stack.enter_context(forgetting(epochs))
        fenced = FencedDeliveries(deliveries)
        dequeuing = stack.enter_context(
            run_jobs(
                FencedSeries(steps),
                fenced,
                database_url=settings.database_url,
                executor=joined.member.executor,
                peers=sorted(sender.peers),
                polling=polling,
                at_once=settings.jobs.at_once or series_at_once(setup),
                apart=settings.cluster.deliver_apart,
            )
        )
        intake = WorkerIntake(dequeuing, fenced.steps)
        stack.enter_context(drainable(joined.engine, joined.member, intake))
        stack.enter_context(_upkeep(joined, segmenter, series_worker, polling))
        stack.enter_context(in_turn(shadow, joined.data))
        stack.callback(crashes.close)  # first of all: what follows may take longer than allowed
        _log_start(joined, f"works with model {setup.algorithm.name} on {setup.device.name}")
        warm_up_highdicom()
        warn_of_unready_peers(sender.peers.values())
        yield


@contextmanager
def deliverer(joined: Joined) -> Iterator[None]:
    """Deliver results while the block lasts.

    Raises:
        NodeError: it could not start; the message names the remedy.
    """
    settings = joined.settings
    with ExitStack() as stack:
        stack.enter_context(auditing(settings.audit.destination, settings.node.ae_title))
        sender = to_deliverer(settings, settings.destinations, Commitments())
        polling = PollingRate()
        deliveries = FencedDeliveries(
            stack.enter_context(fetching_results(joined, sender)) if joined.is_apart else sender
        )
        dequeuing = stack.enter_context(
            run_jobs(
                None,
                deliveries,
                database_url=settings.database_url,
                executor=joined.member.executor,
                peers=sorted(sender.peers),
                polling=polling,
                apart=True,
            )
        )
        intake = WorkerIntake(dequeuing, deliveries.steps)
        stack.enter_context(drainable(joined.engine, joined.member, intake))
        stack.enter_context(_taking_over(joined))
        _log_start(joined, f"delivers to {', '.join(sorted(sender.peers)) or 'no peer'}")
        warn_of_unready_peers(sender.peers.values())
        yield


@contextmanager
def page(joined: Joined) -> Iterator[tuple[str, int]]:
    """Serve page, metrics, health and alerts of the cluster while the block lasts.

    Raises:
        NodeError, EngineError: it could not start; the message names the remedy.
    """
    settings = joined.settings
    with ExitStack() as stack:
        stack.enter_context(auditing(settings.audit.destination, settings.node.ae_title))
        stack.enter_context(queueing_jobs(settings.database_url, joined.member.executor))
        peers = {
            name: to_peer(name, each, settings.node.ae_title)
            for name, each in settings.destinations.items()
        }
        spool = _spool(joined)
        model = _model(joined)
        faster = read_faster(settings, model)
        view = NodeView(
            settings,
            _algorithm(model),
            dicom=None,
            arriving=partial(_arriving, joined, spool),
            assembling=lambda: True,
            device=None,
            received=spool,
            peers=peers,
            processes=partial(_processes, joined),
            drain=partial(_drain, joined),
            shadow=partial(status_of_cluster, named_shadow(settings, model), joined.data),
            backlog_model=f"{faster.name} {faster.version}" if faster else "",
            results_of=stack.enter_context(shown_results(joined)),
            newer_waiting=partial(_newer_waiting, joined),
        )
        address = stack.enter_context(serve_view(view))
        assert address is not None  # `hepar web` sets a port
        _log_start(joined, f"serves the page on {address[0]}:{address[1]}")
        yield address


@contextmanager
def _upkeep(
    joined: Joined, segmenter: Segmenter, series_worker: SeriesWorker, polling: PollingRate
) -> Iterator[None]:
    """Look after dead workers, choose among the series of studies, remove what is old."""
    settings = joined.settings
    studies = Studies(joined.engine, joined.member.folder)
    phase = partial(measure, segmenter, series_worker.device_queue)
    with ExitStack() as stack:
        stack.enter_context(_taking_over(joined))
        choice = settings.select, studies.quiet_s, phase, polling.speed_up, studies.now_s
        stack.enter_context(choosing(*choice))
        stack.enter_context(queueing_postponed(joined))
        url, retention = settings.database_url, to_retention(settings)
        requests = Requests(url, retention.rows)
        if joined.is_apart:
            requests = replace(requests, forget_numbers=Apart(joined).numbers.forget)
        turn = partial(alone, joined.engine, f"requests in {joined.member.folder}")
        stack.enter_context(carrying_out(requests, turn))
        if not joined.is_apart:  # there each gateway cleans up what it holds
            stack.enter_context(cleaning_up(url, _spool(joined), joined.data, retention))
        yield


def _taking_over(joined: Joined) -> AbstractContextManager[None]:
    """Look after dead processes, and what waits for older ones, while the block lasts."""
    apart = joined.settings.cluster.deliver_apart
    return taking_over(joined.membership, joined.member, apart=apart)


def _newer_waiting(joined: Joined, ledger: Ledger) -> str:
    """Return that work waits for a worker newer than all there are; nothing where none does."""
    living = [each for each in joined.membership.all() if each.alive]
    taken = served(living, apart=joined.settings.cluster.deliver_apart)
    return waiting_for_newer(ledger.queued(joined.member.folder), taken)


def _arriving(joined: Joined, spool: Spool) -> list[Arriving]:
    """Return the series that come in at any gateway."""
    arriving = Studies(joined.engine, joined.member.folder).arriving()
    counts = {key: None if joined.is_apart else len(spool.paths(key)) for key, _ in arriving}
    return [
        Arriving(key.study_uid, key.series_uid, counts[key], expected) for key, expected in arriving
    ]


def _processes(joined: Joined) -> list[RunningProcess]:
    """Return the processes of the cluster, with the jobs that each of them segments."""
    under_way = defaultdict[str, list[str]](list)
    found = DBOS.list_workflows(name=SEGMENT, status="PENDING", load_input=False, load_output=False)
    for each in found:
        under_way[str(each.executor_id)].append(each.workflow_id)
    return [
        RunningProcess(
            each.member.name,
            each.member.role,
            each.member.host,
            each.member.version,
            each.started,
            each.alive,
            tuple(under_way[each.member.executor]),
            each.duty,
            each.alive and each.member.role in DRAINABLE,
        )
        for each in joined.membership.all()
    ]


def _drain(joined: Joined, name: str, undo: bool) -> None:
    """Let a process of the cluster take nothing new, or work again.

    Raises:
        BadConfiguration: there is no such process, or it takes no work.
    """
    drains = Drains(joined.engine, joined.member.folder)
    for each in require_drainable(joined.membership.all(), name):
        (drains.undo if undo else drains.ask)(each)


def _spool(joined: Joined) -> Spool:
    keep_free = joined.settings.receive.keep_free_mb << 20
    return Spool(joined.data.spool, keep_free, shared=not joined.is_apart)


def _model(joined: Joined) -> Model:
    """Return the model of the cluster."""
    return load_model(served_folder(joined.settings.engine.model, joined.data))


def _algorithm(model: Model) -> Algorithm:
    """Return the model as results name it; its devices are the workers'."""
    return Algorithm(model.name, model.version, model.digest, "the workers' devices")


def _log_start(joined: Joined, what: str) -> None:
    logger.info("%s %s", joined.member.name, what, extra={"action": "start"})
