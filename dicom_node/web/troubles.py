"""Troubles of a node, for alerts: checks that fail, and deliveries that failed since its start."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from dicom_node.alerts.watch import Trouble
from dicom_node.counted import counted
from dicom_node.jobs.ledger import Ledger
from dicom_node.jobs.state import State
from dicom_node.web.health import NEWEST, Health


def troubles(health: Health, ledger: Ledger, begun: datetime) -> Mapping[str, Trouble]:
    """Return the troubles by subject; no text of a peer or a file is quoted.

    A failed delivery counts until it is retried; one that failed before `begun` was reported then.
    """
    found = {each.check: Trouble(each.detail) for each in health.ready() if not each.ok}
    failed = Counter(
        delivery.peer
        for job in ledger.jobs(NEWEST)
        if job.finished and job.finished >= begun
        for delivery in job.deliveries
        if delivery.state is State.FAILED
    )
    for peer, count in failed.items():
        found[f"delivery to {peer}"] = Trouble(
            f"not delivered: {counted(count, 'object')}; hepar jobs list --state failed --peer"
            f" {peer} names the reason, hepar jobs retry --failed --peer {peer} sends again",
            lasting=True,
        )
    return found
