"""A deliverer that has no file of the results: it fetches each object from its gateway."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from dicom_node.deliver.attempts import ConfirmAnswer, SendAnswer
from dicom_node.errors import GatewayAway, NotHeld
from dicom_node.fetched.cache import Cache
from dicom_node.fetched.transfer.holder import Holder
from dicom_node.jobs.records import DeliveryTask
from dicom_node.jobs.workflows import DeliverySteps

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FetchingDeliverer:
    """Runs the steps of another deliverer on copies of the files."""

    deliverer: DeliverySteps
    holder: Callable[[str], Holder]
    """Returns a gateway by its name; raises GatewayAway where its address is not known."""
    cache: Cache

    def deliver(self, task: DeliveryTask) -> SendAnswer:
        """Send a result once."""
        with self.cache.result(task.file.name) as file:
            try:
                self._fetch_result(task.holder, file)
            except GatewayAway as error:
                _log_wait("deliver", "delivered", task, error)
                return SendAnswer(str(error))
            return self.deliverer.deliver(replace(task, file=file))

    def confirm(self, task: DeliveryTask) -> ConfirmAnswer:
        """Ask the peer once whether it keeps a result."""
        with self.cache.result(task.file.name) as file:
            try:
                self._fetch_result(task.holder, file)
            except GatewayAway as error:
                _log_wait("confirm", "confirmed", task, error)
                return ConfirmAnswer(str(error))
            return self.deliverer.confirm(replace(task, file=file))

    def pauses(self) -> Iterator[float]:
        """Yield the seconds to wait after each failed attempt."""
        return self.deliverer.pauses()

    def _fetch_result(self, holder: str, file: Path) -> None:
        """Fetch a file of a result, if its gateway still has it; else there is none."""
        job = file.name.partition(".")[0]
        try:
            self.holder(holder).fetch_results(job, {file.name: file})
        except NotHeld:
            file.unlink(missing_ok=True)


def _log_wait(action: str, done: str, task: DeliveryTask, error: GatewayAway) -> None:
    extra = {"action": action, "series": task.series_uid, "peer": task.peer}
    logger.warning("not %s yet: %s", done, error, extra=extra)
