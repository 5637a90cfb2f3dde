"""A faster model for series that are segmented while many others wait."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from threading import Lock
from typing import TypeVar

from dbos import DBOS
from sqlalchemy.exc import SQLAlchemyError

from dicom_node.jobs.workflows import SEGMENT, here, segment_queue
from dicom_node.pipeline.segmenter import SegmentationSetup, Segmenter
from engine.errors import DeviceFailed
from engine.model import Model
from engine.serving.fleet import Fleet

logger = logging.getLogger(__name__)

Done = TypeVar("Done")


@dataclass(frozen=True)
class BacklogRule:
    """When a backlog begins, and when it is over."""

    series: int
    """It begins once more than this wait, and is over once no more than half of this do: one that
    comes and goes does not change the model."""

    def lasts(self, waiting: int, before: bool) -> bool:
        """Return whether there is a backlog.

        Args:
            waiting: series that wait.
            before: whether there was one at the last look.
        """
        return waiting > (self.series // 2 if before else self.series)


def waiting_series(most: int) -> int:
    """Return how many series wait for their turn, urgent and held ones left out.

    Args:
        most: number beyond which none is counted, so that a long queue costs no more.
    """
    return len(
        DBOS.list_workflows(
            name=SEGMENT,
            status="ENQUEUED",
            queue_name=segment_queue(here()),
            limit=most,
            load_input=False,
            load_output=False,
        )
    )


class Backlog:
    """Segments with a faster model while a backlog lasts; the model is open only then."""

    def __init__(
        self,
        rule: BacklogRule,
        model: Model,
        fleet: Fleet,
        waiting: Callable[[int], int] = waiting_series,
    ) -> None:
        """Take the faster model; nothing is opened.

        Args:
            rule: when there is a backlog.
            model: the faster model.
            fleet: the devices that may run it.
            waiting: returns how many series wait, at most the number that it is called with.
        """
        self._rule, self._waiting = rule, waiting
        self._model, self._fleet = model, fleet
        self._lock = Lock()
        self._lasts = False

    @property
    def model(self) -> str:
        """Name and version of the faster model."""
        return f"{self._model.name} {self._model.version}"

    def run(
        self,
        usual: Segmenter,
        work: Callable[[SegmentationSetup], Done],
        *,
        by_usual: bool,
    ) -> Done:
        """Do a job with the faster model if there is a backlog, with the usual one otherwise.

        Should no device run the faster model, the usual one does all of it again.

        Args:
            usual: the usual model, and what is made of a series.
            work: the job.
            by_usual: whether this job is the usual model's, whatever waits.

        Raises:
            DeviceFailed: no device can serve.
        """
        remark = self._look()
        if by_usual or not remark:
            return usual.run(work)
        faster = replace(usual, model=self._model, fleet=self._fleet, remark=remark)
        try:
            return faster.run(work)
        except DeviceFailed as error:
            words = "%s cannot run, so the usual model segments: %s"
            logger.warning(words, self.model, error, extra={"action": "backlog"})
            return usual.run(work)

    def _look(self) -> str:
        """Count the series that wait; return why the faster model is used, empty if it is not."""
        with self._lock:
            try:
                waiting = self._waiting(self._rule.series + 1)
            except SQLAlchemyError as error:  # a job does not fail for want of a count
                words = "unknown how many series wait: %s"
                logger.warning(words, type(error).__name__, extra={"action": "backlog"})
                return ""
            before, self._lasts = self._lasts, self._rule.lasts(waiting, self._lasts)
            # More are not counted.
            count = str(waiting) if waiting <= self._rule.series else f"more than {waiting - 1}"
            if before != self._lasts:
                words = "%s series wait: the backlog %s, model %s"
                news = ("begins", self.model) if self._lasts else ("is over", "as usual")
                logger.info(words, count, *news, extra={"action": "backlog"})
            if not self._lasts:
                self._fleet.release()
                return ""
        return f"Segmented by the faster model {self.model} because {count} series waited."
