"""The thread in which a shadow model computes, whenever no job waits or is computed."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from dbos import DBOS, WorkflowStatus
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.corrections.kept_labels import write_kept_labels
from dicom_node.corrections.shadow_comparison import compare_shadow
from dicom_node.data_folder import DataFolder
from dicom_node.error_location import unforeseen
from dicom_node.errors import NodeError, SourceChanged, lacks_room
from dicom_node.jobs.records import SeriesTask
from dicom_node.jobs.state import result_folder, superseded_by
from dicom_node.jobs.steps.series_worker import require_unchanged
from dicom_node.jobs.workflows import SEGMENT, here, segment_queue, urgent_queue
from dicom_node.pipeline.outcome import Outcome
from dicom_node.pipeline.segmenter import Segmenter
from dicom_node.shadow.compute import shadow_labels
from dicom_node.shadow.work_register import DIED, OPENING, ShadowWork, WorkRegister
from engine.errors import EngineError
from engine.serving.turns import DeviceQueue, TurnAbandoned

logger = logging.getLogger(__name__)

LOOK_S = 0.5
"""Pause between two looks at whether jobs wait, while the shadow has work."""
IDLE_S = 15.0
"""Pause between two looks at the register where nothing is due: other processes write to it too."""
REST_S = 60.0
"""Pause after the register or the job store could not be used, or the disk was full."""


@dataclass(frozen=True)
class Jobs:
    """What the shadow has to know about the jobs of a node."""

    status: Callable[[str], WorkflowStatus | None] = lambda job: DBOS.get_workflow_status(job)
    busy: Callable[[], bool] = lambda: _jobs_wait()


def _jobs_wait() -> bool:
    """Return whether a job waits for its turn, or is computed in this process."""
    queues = [segment_queue(here()), urgent_queue(here())]
    first = partial(DBOS.list_workflows, name=SEGMENT, limit=1, load_input=False, load_output=False)
    # Those of other processes do not use this one's device.
    own = first(status="PENDING", executor_id=DBOS.executor_id)
    return bool(own or first(status="ENQUEUED", queue_name=queues))


class ShadowRunner:
    """Computes, with a shadow model, the series that the serving model has computed."""

    def __init__(
        self,
        segmenter: Segmenter,
        data: DataFolder,
        queue: DeviceQueue,
        jobs: Jobs | None = None,
    ) -> None:
        """Take what the shadow needs; nothing is opened yet.

        Args:
            segmenter: the shadow model, the rules, and the devices that may run it.
            data: of the node.
            queue: order in which jobs use the device.
            jobs: of the node.
        """
        self._segmenter, self._data, self._queue = segmenter, data, queue
        self._jobs = jobs or Jobs()
        self._register = WorkRegister(data.shadow)
        self._wake, self._stop = threading.Event(), threading.Event()
        self._trouble = ""
        self._device = ""

    @property
    def digest(self) -> str:
        """Digest of the shadow model."""
        return self._segmenter.model.digest

    @property
    def model(self) -> str:
        """Name and version of the shadow model."""
        return f"{self._segmenter.model.name} {self._segmenter.model.version}"

    @property
    def trouble(self) -> str:
        """Why it does not compute; empty where it does."""
        return self._trouble

    @property
    def device(self) -> str:
        """Device that it computes on; empty until it is opened."""
        return self._device

    def add(self, job: str, task: SeriesTask, outcome: Outcome) -> None:
        """Take up a series on which a result was made; never raise, as it is a job that calls."""
        if not any(each.seg is not None for each in outcome.each):
            return
        # In a cluster another process may compute it, which looks at the register now and then.
        try:
            self._register.add(job, self.digest, self.model, task)
        except (OSError, NodeError) as error:
            _log("this series is not computed: %s", error, job=job)
        self._wake.set()

    @contextmanager
    def working(self) -> Iterator[None]:
        """Compute while the block lasts."""
        thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._wake.set()
            thread.join()

    def _run(self) -> None:
        pause_s, opened = 0.0, False
        while not self._stop.wait(pause_s):
            try:
                if not opened:
                    self._wait_for_jobs()
                    opened = self._open()
                    if not opened:
                        return
                # After a crash between the labels and the comparison.
                compare_shadow(self._data, self.digest, at_work=self._noted)
                self._compute_all()
                pause_s = 0.0
            except TurnAbandoned:  # the node stops
                return
            except (OSError, NodeError, SQLAlchemyError) as error:
                _log("paused: %s", _words(error))
                pause_s = REST_S
            # The edge of this thread: the node goes on, and what waits is tried again.
            except Exception as error:
                _log("paused: %s", unforeseen(error))
                pause_s = REST_S

    def _open(self) -> bool:
        """Open the model; return whether it can compute."""
        # Before it is added, which begins to count anew.
        if self._register.trouble(self.digest) == DIED:
            self._give_up(f"{DIED}; train it anew, or name another model")
            return False
        self._register.add(OPENING, self.digest, self.model, None)
        self._register.begin(OPENING, self.digest)
        try:
            self._device = self._segmenter.now().device.name
        except EngineError as error:
            self._give_up(str(error))
        # The edge: whatever a model does to a library when it is opened, the node goes on.
        except Exception as error:
            self._give_up(str(unforeseen(error)))
        if self._trouble:
            # Also for the page of a cluster, which is another process.
            self._register.finish(OPENING, self.digest, self._trouble)
            return False
        self._register.put_back(OPENING, self.digest)
        words = self.model, self._device
        logger.info("%s runs as a shadow on %s", *words, extra={"action": "shadow"})
        return True

    @contextmanager
    def _noted(self) -> Iterator[None]:
        """Note a comparison as the opening is: after some deaths the model is given up."""
        self._register.begin(OPENING, self.digest)
        try:
            yield
        finally:
            self._register.put_back(OPENING, self.digest)

    def _give_up(self, trouble: str) -> None:
        self._trouble = trouble
        _log("the shadow model cannot run, the node goes on without it: %s", trouble)

    def _compute_all(self) -> None:
        """Compute what is due, and return once there is more to be looked at."""
        due = self._register.due(self.digest)
        if not due:
            self._wake.wait(IDLE_S)
            self._wake.clear()
            return
        for work in due:
            self._wait_for_jobs()
            self._compute(work)

    def _wait_for_jobs(self) -> None:
        """Return once no job waits or is computed.

        Raises:
            TurnAbandoned: the node stops.
        """
        while self._jobs.busy():
            if self._stop.wait(LOOK_S):
                raise TurnAbandoned
        if self._stop.is_set():
            raise TurnAbandoned

    def _compute(self, work: ShadowWork) -> None:
        job, digest = work.job, work.digest
        status = self._jobs.status(job)
        if reason := _why_not(status):
            self._register.finish(job, digest, reason)
            return
        self._register.begin(job, digest)
        written: list[Path] = []
        try:
            assert work.task is not None
            folder = (status and result_folder(status)) or self._data.results
            written = self._labels(work.task, folder / self._data.result(job).name)
            reason = ""
        except TurnAbandoned:
            self._register.put_back(job, digest)
            raise
        except (EngineError, NodeError, OSError) as error:
            if lacks_room(error):
                self._register.put_back(job, digest)
                raise
            reason = _words(error)
        # The edge: whatever a file or a library does, it is the shadow's, and the node goes on.
        except Exception as error:
            reason = str(unforeseen(error))
        # A job that was removed meanwhile took its row with it, and looked for its files before.
        if not self._register.finish(job, digest, reason):
            for each in written:
                each.unlink(missing_ok=True)
            return
        if reason:
            _log("not computed: %s", reason, job=job)
            return
        logger.info("computed", extra={"action": "shadow", "job": job})
        compare_shadow(self._data, digest, job, self._noted)

    def _labels(self, task: SeriesTask, target: Path) -> list[Path]:
        """Write the shadow's labels of a series whose SEG is `target`; return their files.

        Raises:
            SourceChanged: instances came again meanwhile.
        """

        if not all(path.exists() for path in task.paths):
            raise SourceChanged("its received files were removed before (jobs.keep_hours)")
        made = self._segmenter.run(
            lambda setup: list(
                shadow_labels(
                    task.paths,
                    target,
                    replace(setup, device=self._queue.behind(setup.device, self._stop.is_set)),
                )
            )
        )
        require_unchanged(task)
        files = []
        for kept, labels in made:
            files.append(self._data.shadow_labels(kept.name, self.digest))
            write_kept_labels(files[-1], labels)
        return files


def _why_not(status: WorkflowStatus | None) -> str:
    """Return why a series is not computed; empty where it is."""
    if status is None:
        return "its job was removed"
    if later := superseded_by(status):
        return f"its job was superseded by job {later}"
    return "" if status.status == "SUCCESS" else "its job failed or was cancelled"


def _words(error: Exception) -> str:
    # The words of a database's error quote its statement.
    return type(error).__name__ if isinstance(error, SQLAlchemyError) else str(error)


def _log(message: str, reason: object, job: str = "") -> None:
    extra = {"action": "shadow"} | ({"job": job} if job else {})
    logger.warning(message, reason, extra=extra)
