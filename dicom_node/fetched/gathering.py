"""Gather the instances of a series whose associations landed on several gateways."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dicom_node.cluster.arrivals import Arrivals
from dicom_node.data_folder import DataFolder
from dicom_node.errors import GatewayAway, NotHeld
from dicom_node.fetched.gateways import Gateways
from dicom_node.fetched.transfer.held_files import HeldFile
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.spool import Spool

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OwnFiles:
    """Files of a gateway that no other process sees."""

    holder: str
    """Name of the gateway."""
    data: DataFolder
    """Its data folder, with the kept labels of the whole cluster."""
    gather: Callable[[SeriesKey], None]
    """Brings what other gateways hold of a series into its spool."""


@dataclass(frozen=True)
class Gathering:
    """Brings what other gateways hold of a series into the spool of this one."""

    spool: Spool
    gateways: Gateways
    arrivals: Arrivals
    """Of this gateway."""

    def gather(self, series: SeriesKey) -> None:
        """Fetch the instances that this gateway has not, or has from an earlier time.

        Raises:
            GatewayAway: one that holds some of it does not answer; offer the series again. Not
                where as many instances are here as were announced.
            RejectedInstance: the disk is too full for them.
            OSError: they cannot be written.
        """
        for name in self.gateways.of_series(series):
            if name == self.arrivals.gateway:
                continue
            try:
                self._gather_from(name, series)
            except GatewayAway as error:
                if not self._is_whole(series):
                    raise
                extra = {"action": "gather", "series": series.series_uid}
                logger.warning("all announced instances are here; %s", error, extra=extra)

    def _is_whole(self, series: SeriesKey) -> bool:
        announced = self.arrivals.expected([series.series_uid]).get(series.series_uid)
        return announced is not None and len(self.spool.paths(series)) >= announced

    def _gather_from(self, name: str, series: SeriesKey) -> None:
        holder = self.gateways.named(name)
        wanted: dict[str, Path] = {}
        for each in holder.instances(series):
            path = self.spool.place(series, each.name.removesuffix(".dcm"))
            if _is_older(path, each):
                self.spool.require_room(each.size)
                wanted[each.name] = path
        if not wanted:
            return
        # One by one: an instance that the other gateway has removed since holds up no other.
        for file, path in wanted.items():
            try:
                holder.fetch_instances(series, {file: path}, durably=True)
            except NotHeld:
                continue
        extra = {"action": "gather", "series": series.series_uid}
        logger.info("%d instances fetched from %s", len(wanted), name, extra=extra)


def _is_older(path: Path, held: HeldFile) -> bool:
    """Return whether what the other gateway has came later: as in one spool, the last one counts.

    A copy keeps the time of its original, so that the same instance is fetched once.
    """
    try:
        return path.stat().st_mtime_ns < held.modified_ns
    except FileNotFoundError:
        return True
