"""Troubles of a node, for alerts: checks that fail, deliveries that failed since its start, and
results that agree less with corrections than those before.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime

from sqlalchemy.exc import SQLAlchemyError

from dicom_node.alerts.watch import Trouble
from dicom_node.corrections.agreement import falls
from dicom_node.corrections.correction import Correction
from dicom_node.counted import counted
from dicom_node.jobs.ledger import Ledger
from dicom_node.jobs.state import State
from dicom_node.web.health import NEWEST, Health
from dicom_node.web.view import ShadowStatus


class Troubles:
    """The troubles of one node; no text of a peer or a file is quoted."""

    def __init__(
        self,
        health: Health,
        ledger: Ledger,
        begun: datetime,
        corrections: Callable[[], list[Correction]] = list,
        shadow: Callable[[], ShadowStatus | None] = lambda: None,
    ) -> None:
        """Look at a node.

        Args:
            health: its checks.
            ledger: its jobs.
            begun: deliveries of jobs that ended before this are left out: they were reported then.
            corrections: returns what people made of its results.
            shadow: returns the state of its shadow model; None without one.
        """
        self._health = health
        self._ledger = ledger
        self._begun = begun
        self._corrections = corrections
        self._shadow = shadow
        self._failed: Counter[str] = Counter()

    def __call__(self) -> Mapping[str, Trouble]:
        """Return the present troubles by subject; a failed delivery counts until it is retried."""
        found = {each.check: Trouble(each.detail) for each in self._health.ready() if not each.ok}
        for fall in falls(self._corrections()):
            found[f"agreement on the {fall.structure}, {fall.scanner}"] = Trouble(fall.text)
        if (shadow := self._shadow()) and shadow.trouble:
            found["shadow model"] = Trouble(shadow.text)
        # The job store is a check of its own; without it, what had failed still has.
        with suppress(SQLAlchemyError):
            self._failed = self._failed_deliveries()
        for peer, count in self._failed.items():
            found[f"delivery to {peer}"] = Trouble(
                f"not delivered: {counted(count, 'object')}; hepar jobs list --state failed --peer"
                f" {peer} names the reason, hepar jobs retry --failed --peer {peer} sends again",
                at_once=True,
            )
        return found

    def _failed_deliveries(self) -> Counter[str]:
        return Counter(
            delivery.peer
            for job in self._ledger.jobs(NEWEST)
            if job.finished is None or job.finished >= self._begun
            for delivery in job.deliveries
            if delivery.state is State.FAILED
        )
