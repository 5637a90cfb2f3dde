"""New work of a worker: the queues that it takes from, and what it has under way."""

import logging

from dbos import DBOS

from dicom_node.jobs.polling import Dequeuing
from dicom_node.jobs.workflows import DELIVER, SEGMENT, NotedWorkflows, queue_of

logger = logging.getLogger(__name__)


class WorkerIntake:
    """Stops a worker without a step that is broken off.

    Series are finished. Deliveries that pause go back to their queues, from which another worker
    takes them: an archive that is away for a day holds up nothing.
    """

    def __init__(self, dequeuing: Dequeuing, steps: NotedWorkflows) -> None:
        """Take what stops the queues, and the deliveries of which a step runs in this process."""
        self._dequeuing = dequeuing
        self._steps = steps

    def stop(self) -> None:
        """Take nothing more from the queues."""
        self._dequeuing.stop()

    def go_on(self) -> None:
        """Take from the queues."""
        self._dequeuing.go_on()

    def is_empty(self) -> bool:
        """Hand back the deliveries that pause; return whether nothing is under way here."""
        if not self._dequeuing.ended:  # what a last poll takes is not in the store yet
            return False
        under_way = DBOS.list_workflows(
            name=[SEGMENT, DELIVER], status="PENDING", executor_id=DBOS.executor_id
        )
        for each in under_way:
            # Held from the look to the end: no step must begin on what is handed back.
            with self._steps.lock:
                if each.name == DELIVER and each.workflow_id not in self._steps:
                    DBOS.resume_workflow(each.workflow_id, queue_name=queue_of(each))
                    extra = {"action": "drain", "job": each.workflow_id}
                    logger.info("handed back: it pauses", extra=extra)
        return not under_way
