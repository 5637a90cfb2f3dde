"""From the wire to the queue: receiving, and making a job of each series that is complete."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

from dicom_node.audit.audit_event import queried, received
from dicom_node.audit.instances import series_query, study_of
from dicom_node.audit.trail import record
from dicom_node.cluster.arrivals import Arrivals
from dicom_node.cluster.shared_assembler import SharedAssembler, gather_nothing
from dicom_node.config.own_receiver import own_caller
from dicom_node.config.settings import Settings
from dicom_node.data_folder import DataFolder
from dicom_node.deliver.peer_interface import Peer
from dicom_node.errors import AlreadyRunning
from dicom_node.fetched.gathering import OwnFiles
from dicom_node.jobs.submit.correction_intake import CorrectionIntake, corrections_among
from dicom_node.jobs.submit.correction_queue import CorrectionQueue
from dicom_node.jobs.submit.fair_share import Shares
from dicom_node.jobs.submit.submission import SeriesSubmitter
from dicom_node.net.admission.server import AdmissionServer
from dicom_node.net.callers import Caller
from dicom_node.net.commitments import Commitments
from dicom_node.net.tls.server_tls import ServerTls
from dicom_node.receive.archive_count import ArchiveCount
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.scp import RECEIVED, Limits, listen, open_associations
from dicom_node.receive.series_assembler import ReceivedSeries, SeriesAssembler
from dicom_node.receive.spool import Spool
from dicom_node.retrieve.source import Source, count_instances, to_source


@dataclass(frozen=True)
class Reception:
    """The running receiver."""

    address: tuple[str, int]
    expect: Callable[[str, int], None]
    """`SeriesAssembler.expect`, for callers that have the number of instances of a series."""
    assembler: SeriesAssembler
    associations: Callable[[], int]
    """Returns the number of associations that are open."""


@contextmanager
def receiving(
    spool: Spool,
    model_digest: str,
    settings: Settings,
    commitments: Commitments | None = None,
    on_soon: Callable[[], None] = lambda: None,
    asked: Peer | None = None,
    arrivals: Arrivals | None = None,
    shadow_digest: str = "",
    closed: Callable[[], bool] = lambda: False,
    at_work: Callable[[str], AbstractContextManager[object]] = nullcontext,
    own: OwnFiles | None = None,
) -> Iterator[Reception]:
    """Receive series while the block lasts; queue each as a job, and register corrections.

    Reports of storage commitment that come in are noted in `commitments`; `on_soon` is called
    when a series may soon be complete; `asked` is the archive that is asked for counts; `arrivals`
    are the series of all gateways, where there are several; corrections are compared with the
    shadow model of `shadow_digest` too, each noted `at_work` (`CorrectionQueue`); associations are
    rejected while it is `closed`; `own` are the files of a gateway that shares no folder.

    Raises:
        AlreadyRunning: the address is taken, or is none of this machine's.
    """
    submitter = SeriesSubmitter(
        spool,
        model_digest,
        settings.urgent,
        settings.database_url,
        settings.select.best_of_study,
        Shares.of(_callers(settings)),
        own.holder if own else "",
        has_workers=arrivals is not None,
    )
    data = own.data if own else DataFolder(settings.node.data)
    intake = CorrectionIntake(data, shadow_digest)
    corrections = CorrectionQueue(intake, spool, at_work=at_work)
    gather = own.gather if own else gather_nothing
    shared = partial(SharedAssembler, arrivals=arrivals, gather=gather) if arrivals else None
    kind = shared or SeriesAssembler
    assembler = kind(
        spool,
        partial(_submit, submitter, corrections),
        quiet_s=settings.receive.quiet_s,
        resend_s=settings.receive.resend_s,
        on_soon=on_soon,
    )
    # Before the receiver: it clears away half-written files, which then could be new ones.
    assembler.start()
    corrections.start()
    try:
        with (
            _listening(spool, assembler, settings, commitments, closed) as server,
            _asking(asked, assembler, settings.receive.ask_after_s),
        ):
            assert server.socket is not None
            host, port = server.socket.getsockname()[:2]
            associations = partial(open_associations, server.ae)
            yield Reception((host, port), assembler.expect, assembler, lambda: len(associations()))
    finally:
        # After the receiver has ended, whose threads report to it.
        assembler.stop()
        corrections.stop()


def _submit(submitter: SeriesSubmitter, queue: CorrectionQueue, series: ReceivedSeries) -> None:
    """Queue the work on a series, and the corrections in it; the trail has it once taken."""
    corrections = corrections_among(series.paths)
    images = tuple(path for path in series.paths if path not in corrections)
    if images:
        submitter.submit(replace(series, paths=images))
    # While the files are there, of which the trail takes their classes and senders.
    record(lambda: received(study_of(series.study_uid, series.paths)))
    if corrections:
        queue.put(corrections)


def _count(peer: Peer, source: Source, series: SeriesKey) -> int | None:
    """Ask an archive for the number of instances of a series."""
    record(lambda: queried(series_query(series.study_uid, series.series_uid), peer.name))
    return count_instances(source, series)


@contextmanager
def _asking(peer: Peer | None, assembler: SeriesAssembler, after_s: float) -> Iterator[None]:
    """Ask an archive about the series that come in, if there is one to be asked."""
    if peer is None:
        yield
        return
    questions = ArchiveCount(assembler, partial(_count, peer, to_source(peer)), after_s=after_s)
    questions.start()
    try:
        yield
    finally:
        questions.stop()


@contextmanager
def _listening(
    spool: Spool,
    assembler: SeriesAssembler,
    settings: Settings,
    commitments: Commitments | None,
    closed: Callable[[], bool],
) -> Iterator[AdmissionServer]:
    node, most = settings.node, settings.receive.max_associations
    titles = (getattr(peer, "ae_title", "") for peer in settings.destinations.values())
    limits = Limits(
        associations=most,
        # So that one host with hanging associations does not keep out all others.
        per_host=max(1, most * 3 // 4),
        known=frozenset(title for title in titles if title),
        stored=RECEIVED,
        callers=_callers(settings),
        itself=own_caller(settings),
        closed=closed,
        share_port=settings.receive.processes > 1,
    )
    tls = ServerTls(settings.tls.files) if settings.tls.files else None
    try:
        address = (node.host, node.port)
        server = listen(node.ae_title, address, spool, assembler, limits, commitments, tls)
    except OSError as error:
        raise AlreadyRunning(
            f"cannot listen on {node.host}:{node.port}: {error.strerror}; set node.port to a free"
            " one, and node.host to an address of this machine"
        ) from error
    try:
        yield server
    finally:
        server.ae.shutdown()


def _callers(settings: Settings) -> tuple[Caller, ...]:
    return tuple(Caller(**each.model_dump()) for each in settings.callers)
