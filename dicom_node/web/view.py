"""The parts of a running node that the web server reads."""

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Lock

from dicom_node.config.settings import Settings
from dicom_node.corrections.correction import Correction
from dicom_node.corrections.register import CorrectionRegister
from dicom_node.data_folder import DataFolder
from dicom_node.deliver.peer_interface import Peer
from dicom_node.errors import StoreUnusable
from dicom_node.jobs.ledger import Ledger
from dicom_node.jobs.state import Job
from dicom_node.receive.events import NullReceiveEvents, ReceiveEvents
from dicom_node.receive.spool import Spool
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.shadow.work_register import ShadowWork, WorkRegister
from dicom_node.tryout.desk import Desk
from engine.plans.plan import Plan
from engine.plans.store import PlanStore

logger = logging.getLogger(__name__)

AtWork = Callable[[str], AbstractContextManager[object]]
"""Notes that a job is at work while a block lasts."""


@dataclass(frozen=True)
class Arriving:
    """A series of which more instances may come."""

    study_uid: str
    series_uid: str
    instances: int | None
    """Instances in the spool; None where they lie at gateways with a spool each."""
    expected: int | None = None
    """Instances that there will be; None where nobody announced them."""


@dataclass(frozen=True)
class RunningProcess:
    """A process of a cluster."""

    name: str
    role: str
    host: str
    version: str
    started: datetime
    alive: bool
    """Whether it had a heartbeat lately."""
    jobs: tuple[str, ...] = ()
    """Jobs that it segments now."""
    duty: str = ""
    """Whether it takes work, is draining or drained."""
    drainable: bool = False
    """Whether it can be asked to take nothing new."""


class Progress:
    """Slices computed so far, job by job; written by workers, read by the web server."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = Lock()
        self._slices: dict[str, tuple[int, int]] = {}
        self._last_s = clock()

    def __call__(self, job: str, done: int, of: int) -> None:
        """Note that `done` of a job's slices are computed."""
        with self._lock:
            self._last_s = self._clock()
            if done >= of:
                self._slices.pop(job, None)
            else:
                self._slices[job] = (done, of)

    def noting(self, at_work: AtWork) -> AtWork:
        """Return `at_work`, whose begin and end count as progress too."""

        @contextmanager
        def noted(job: str) -> Iterator[None]:
            with at_work(job):
                self(job, 0, 0)
                try:
                    yield
                finally:
                    self(job, 0, 0)

        return noted

    @property
    def silent_s(self) -> float:
        """Seconds since any job made progress, or since the node started."""
        with self._lock:
            return self._clock() - self._last_s

    def of(self, job: str) -> tuple[int, int] | None:
        """Return the slices that are computed and all of them, while a job is on the device."""
        with self._lock:
            return self._slices.get(job)


@dataclass(frozen=True)
class ShownCorrections:
    """Corrections as pages show them: none where the register cannot be read, which is logged."""

    register: CorrectionRegister

    def all(self) -> list[Correction]:
        """Return every correction, the oldest first."""
        return self._read(self.register.all)

    def of(self, job: str) -> list[Correction]:
        """Return the corrections of one job's results, the oldest first."""
        return self._read(lambda: self.register.of(job))

    def _read(self, read: Callable[[], list[Correction]]) -> list[Correction]:
        try:
            return read()
        except (StoreUnusable, OSError) as error:
            logger.warning("corrections are not shown: %s", error, extra={"action": "correction"})
            return []


@dataclass(frozen=True)
class ShadowStatus:
    """The shadow model of a node."""

    model: str
    """Name and version; empty where it cannot be read."""
    device: str
    """That computes; empty until it is opened."""
    trouble: str
    """Why it does not compute; empty where it does."""

    @property
    def text(self) -> str:
        """What it does, or why not."""
        if self.trouble:
            return f"the node goes on without it: {self.trouble}"
        return f"{self.model} on {self.device}" if self.device else f"{self.model} is opened"


@dataclass(frozen=True)
class NodeView:
    """A running node, as the web server sees it."""

    settings: Settings
    algorithm: Algorithm
    """Model and device that compute the next series when the node starts."""
    dicom: tuple[str, int] | None
    """Address on which the node receives; None where this process does not."""
    arriving: Callable[[], list[Arriving]]
    """Returns the series that are coming in."""
    assembling: Callable[[], bool]
    """Returns whether the thread that completes series runs, and does not hang."""
    device: Callable[[], str] | None
    """Returns the name of the device that serves; raises `EngineError` where none does. None where
    this process does not compute."""
    progress: Progress = field(default_factory=Progress)
    listener: ReceiveEvents = field(default_factory=NullReceiveEvents)
    """Called with the instances that come by HTTP."""
    received: Spool | None = None
    """The spool that the receiver writes to; a view of its folder without."""
    desk: Desk | None = None
    """Takes uploads; None where there is no such page."""
    peers: Mapping[str, Peer] = field(default_factory=dict)
    """Destinations of results."""
    processes: Callable[[], list[RunningProcess]] = list
    """Returns the processes of the cluster; none where one process does all."""
    drain: Callable[[str, bool], None] | None = None
    """Lets a process of the cluster take nothing new, or with True take work again; raises
    `BadConfiguration` where there is none of the name. None where one process does all."""
    closed: Callable[[], bool] = lambda: False
    """Returns whether this process takes nothing new."""
    shadow: Callable[[], ShadowStatus | None] = lambda: None
    """Returns the state of the shadow model; None where none is configured."""
    newer_waiting: Callable[[Ledger], str] | None = None
    """Returns that jobs wait for a worker of a newer release, and the remedy; nothing where none
    does. None where this process does not look."""
    backlog_model: str = ""
    """Name and version of the faster model for a backlog; empty without one."""
    results_of: Callable[[Job], DataFolder] | None = None
    """Returns the folder that has what a page shows of a job; None: the node's data folder."""

    def kept_of(self, job: Job) -> DataFolder:
        """Return the folder that has the pictures and reports of a job."""
        return self.results_of(job) if self.results_of else self.data

    @property
    def data(self) -> DataFolder:
        """The node's data folder."""
        return DataFolder(self.settings.node.data)

    @property
    def corrections(self) -> ShownCorrections:
        """Corrections by people."""
        return ShownCorrections(CorrectionRegister(self.data.corrections))

    def shadow_work(self, job: str) -> list[ShadowWork]:
        """Return what shadow models did with a job; nothing where the register cannot be read."""
        try:
            return WorkRegister(self.data.shadow).of(job)
        except (StoreUnusable, OSError) as error:
            logger.warning("the shadow's work is not shown: %s", error, extra={"action": "shadow"})
            return []

    def plans(self) -> list[Plan]:
        """Return the TensorRT plans of this node, the oldest first."""
        return PlanStore(self.settings.engine.plans or self.data.plans).plans()

    @property
    def spool(self) -> Spool:
        """Received instances."""
        return self.received or Spool(self.data.spool, self.settings.receive.keep_free_mb << 20)

    @property
    def results(self) -> Path:
        """Folder of verified objects."""
        return self.data.results
