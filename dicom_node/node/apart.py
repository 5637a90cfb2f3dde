"""Parts of the roles of a cluster whose processes share no folder (`cluster.files = "fetched"`)."""

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from dbos import DBOS

from dicom_node.cluster.arrivals import Arrivals
from dicom_node.cluster.fenced_worker import require_owned
from dicom_node.cluster.ownership import owned_in
from dicom_node.data_folder import DataFolder
from dicom_node.error_location import unforeseen
from dicom_node.fetched.borrowing import Borrowing, BorrowingFolder
from dicom_node.fetched.cache import Cache
from dicom_node.fetched.fetching_deliverer import FetchingDeliverer
from dicom_node.fetched.fetching_worker import FetchingWorker, Places
from dicom_node.fetched.gateways import Gateways
from dicom_node.fetched.gathering import Gathering, OwnFiles
from dicom_node.fetched.number_table import NumberTable
from dicom_node.fetched.postponed import Postponement, forget_postponement, queueing_again
from dicom_node.fetched.transfer.door import lending
from dicom_node.fetched.transfer.held_files import HeldFiles
from dicom_node.fetched.whereabouts import KeptArrivals, Whereabouts
from dicom_node.jobs.requests import ask_to_forget
from dicom_node.jobs.state import Job, holder_of
from dicom_node.jobs.steps.deliverer import Deliverer
from dicom_node.jobs.steps.series_worker import SeriesWorker
from dicom_node.jobs.upkeep.cleanup import Holding, cleaning_up
from dicom_node.jobs.upkeep.retention import Retention
from dicom_node.jobs.workflows import RECEIVED_BY, attribute
from dicom_node.node.joining import Joined
from dicom_node.receive.spool import Spool
from dicom_node.rounds import repeated

logger = logging.getLogger(__name__)

TRIM_S = 600.0
"""Seconds between two looks at copies that were not used for long."""

PAGE_S = 3.0
"""Longest wait of a page for a gateway."""


@dataclass(frozen=True)
class Apart:
    """What a process needs to reach the files of the others."""

    joined: Joined

    @property
    def cluster(self) -> str:
        """Name of the cluster."""
        return self.joined.member.folder

    @property
    def name(self) -> str:
        """Name of this process."""
        return self.joined.member.name

    @property
    def whereabouts(self) -> Whereabouts:
        """Which gateway holds what."""
        return Whereabouts(self.joined.engine, self.cluster)

    @property
    def gateways(self) -> Gateways:
        """The gateways."""
        return Gateways(self.whereabouts, self.joined.settings.cluster)

    @property
    def numbers(self) -> NumberTable:
        """Series Numbers of the cluster."""
        return NumberTable(self.joined.engine, self.cluster)

    def cache(self) -> Cache:
        """Return the copies that this process keeps."""
        settings = self.joined.settings
        most = int(settings.cluster.cache_gb * 1e9)
        return Cache(self.joined.data.fetched, most, timedelta(hours=settings.jobs.keep_hours))


def to_arrivals(joined: Joined) -> Arrivals:
    """Return the series that come in, as this gateway sees them."""
    kind = KeptArrivals if joined.is_apart else Arrivals
    return kind(joined.engine, joined.member.folder, joined.member.name)


@contextmanager
def own_files(joined: Joined, spool: Spool, retention: Retention) -> Iterator[OwnFiles | None]:
    """Lend what a gateway holds, and clean it up, while the block lasts.

    Yields None where the processes share a folder, which workers clean up.

    Raises:
        AlreadyRunning: the port for it is taken.
    """
    if not joined.is_apart:
        yield None
        return
    apart, section = Apart(joined), joined.settings.cluster
    cache = apart.cache()
    borrowing = Borrowing(apart.gateways, cache, joined.data, apart.name)
    data = BorrowingFolder(joined.data.folder, borrowing, holder_of_results)
    holding = Holding(apart.name, ask_to_forget)
    with ExitStack() as stack:
        _, port = stack.enter_context(
            lending(section, HeldFiles(joined.data), owned_in(joined.engine))
        )
        apart.whereabouts.announce(apart.name, section.reached_at(port))
        url = joined.settings.database_url
        stack.enter_context(cleaning_up(url, spool, joined.data, retention, holding))
        stack.enter_context(_forgetting(apart, spool))
        stack.enter_context(_trimming(cache))
        yield OwnFiles(
            apart.name, data, Gathering(spool, apart.gateways, to_arrivals(joined)).gather
        )


@contextmanager
def fetching(
    joined: Joined, worker: SeriesWorker, deliverer: Deliverer
) -> Iterator[tuple[FetchingWorker, FetchingDeliverer]]:
    """Give a worker copies of the files while the block lasts."""
    apart, cache = Apart(joined), Apart(joined).cache()
    # Nobody else writes here: what a worker that was killed had begun.
    shutil.rmtree(joined.data.attempts, ignore_errors=True)
    places = Places(
        holder=apart.gateways.named,
        received_by=_received_by,
        holder_of=holder_of_results,
        postpone=Postponement(deliverer.backoff).postpone,
        done=forget_postponement,
        check=require_owned,
        executor=joined.member.executor,
    )
    worker = replace(worker, shared_numbers=apart.numbers)
    with _trimming(cache):
        yield (
            FetchingWorker(worker, places, cache, joined.data.attempts),
            FetchingDeliverer(deliverer, apart.gateways.named, cache),
        )


@contextmanager
def fetching_results(joined: Joined, deliverer: Deliverer) -> Iterator[FetchingDeliverer]:
    """Give a deliverer copies of the results while the block lasts."""
    apart, cache = Apart(joined), Apart(joined).cache()
    with _trimming(cache):
        yield FetchingDeliverer(deliverer, apart.gateways.named, cache)


@contextmanager
def queueing_postponed(joined: Joined) -> Iterator[None]:
    """Queue again the jobs that wait for a gateway, while the block lasts."""
    if not joined.is_apart:
        yield
        return
    with queueing_again(joined.engine, joined.member.folder):
        yield


@contextmanager
def shown_results(joined: Joined) -> Iterator[Callable[[Job], DataFolder]]:
    """Fetch what a page shows of jobs while the block lasts; yields how."""
    if not joined.is_apart:
        yield lambda job: joined.data
        return
    apart, cache = Apart(joined), Apart(joined).cache()
    gateways = replace(apart.gateways, connect_s=PAGE_S, answer_s=PAGE_S)
    borrowing = Borrowing(gateways, cache, joined.data, apart.name)
    with _trimming(cache):
        yield lambda job: borrowing.shown(job.id, job.holder)


def holder_of_results(job: str) -> str:
    """Return the gateway that holds the results of a job; empty where the job is forgotten."""
    status = DBOS.get_workflow_status(job)
    return holder_of(status) if status else ""


def _received_by(job: str) -> str:
    status = DBOS.get_workflow_status(job)
    return attribute(status, RECEIVED_BY) if status else ""


@contextmanager
def _forgetting(apart: Apart, spool: Spool) -> Iterator[None]:
    """Let the others know which series this gateway holds no more."""

    def run() -> None:
        apart.whereabouts.forget(apart.name, lambda series: bool(spool.paths(series)))

    with repeated(_guarded("holdings", run), TRIM_S, "holdings"):
        yield


@contextmanager
def _trimming(cache: Cache) -> Iterator[None]:
    """Remove copies that were not used for long, while the block lasts."""
    with repeated(_guarded("cache", lambda: cache.trim(datetime.now(UTC))), TRIM_S, "cache"):
        yield


def _guarded(what: str, work: Callable[[], None]) -> Callable[[], None]:
    """Return work that logs its errors: the edge of a thread, whose next round tries again."""

    def run() -> None:
        try:
            work()
        except Exception as error:
            logger.warning("%s: %s", what, unforeseen(error), extra={"action": "sweep"})

    return run
