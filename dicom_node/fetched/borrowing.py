"""Files of results that lie at another gateway, for a page, or for a correction that came here."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from dicom_node.data_folder import DataFolder
from dicom_node.errors import GatewayAway
from dicom_node.fetched.cache import Cache, touch
from dicom_node.fetched.gateways import Gateways

logger = logging.getLogger(__name__)

SHOWN = ".png", ".html"
"""Ends of the files that a page shows."""

LABELS = (".labels.npz",)
"""Ends of the files with which a correction is compared."""

AWAY_S = 30.0
"""Seconds for which a page does not ask a gateway that did not answer."""


@dataclass(frozen=True)
class Borrowing:
    """Copies of what the gateways of a cluster hold."""

    gateways: Gateways
    cache: Cache
    own: DataFolder
    name: str
    """Of this process."""
    clock: Callable[[], float] = time.monotonic
    _away: dict[str, float] = field(default_factory=dict)
    """Until when a page does not ask a gateway."""

    def borrowed(self, job: str, holder: str, ends: tuple[str, ...]) -> DataFolder:
        """Return the folder that has the files of a job's result with these ends of their names.

        Raises:
            GatewayAway: the gateway that holds them does not answer.
        """
        if holder == self.name:
            return self.own
        source, copies = self.gateways.named(holder), self.cache.data.results
        listed = {each.name: each for each in source.results(job) if each.name.endswith(ends)}
        for copy in copies.glob(f"{job}.*"):
            if copy.name.endswith(ends) and copy.name not in listed:  # removed there
                copy.unlink(missing_ok=True)
        wanted = {name: copies / name for name in listed}
        wanted = {name: to for name, to in wanted.items() if not listed[name].is_copied_to(to)}
        source.fetch_results(job, wanted)
        for name in listed:  # or it could be removed before it is read
            touch(copies / name)
        return self.cache.data

    def shown(self, job: str, holder: str) -> DataFolder:
        """Return the folder that has what a page shows of a job; less where a gateway is away."""
        if self.clock() < self._away.get(holder, 0.0):
            return self.cache.data
        try:
            return self.borrowed(job, holder, SHOWN)
        except GatewayAway as error:
            self._away[holder] = self.clock() + AWAY_S
            extra = {"action": "page", "job": job}
            logger.warning("pictures and reports are not shown: %s", error, extra=extra)
            return self.cache.data


@dataclass(frozen=True)
class BorrowingFolder(DataFolder):
    """A data folder that has the kept labels of every job of the cluster."""

    borrowing: Borrowing
    holder_of: Callable[[str], str]
    """Returns the gateway that holds a job's results; empty where there is none."""

    def kept_labels_of(self, job: str, folder: Path | None = None) -> list[Path]:
        """Return the labels that are kept of a job, one file for each stack.

        Raises:
            GatewayAway: the gateway that holds them does not answer.
        """
        if not (holder := self.holder_of(job)):
            return DataFolder.kept_labels_of(self, job, folder)
        return DataFolder.kept_labels_of(self.borrowing.borrowed(job, holder, LABELS), job)
