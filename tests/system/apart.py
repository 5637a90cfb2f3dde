"""Roles of a cluster as processes that share a PostgreSQL and no folder."""

from collections.abc import Iterable
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.jobs.ledger import open_ledger
from tests.dicom_node.node_process import Thresholds
from tests.system.cluster import Cluster
from tests.system.servers import free_port

TOKEN = "open sesame"


class ApartCluster(Cluster):
    """Processes on one database, each with a data folder of its own."""

    def __init__(self, folder: Path, database: str) -> None:
        super().__init__(
            folder,
            database,
            cluster={"files": "fetched", "name": f"apart-{uuid4().hex}", "token": TOKEN},
            http={"port": 0},  # without which workers make no pictures
            peers={
                "shelf": {
                    "kind": "folder",
                    "folder": folder / "shelf",
                    "objects": ["seg", "report"],
                }
            },
        )
        self.delivered = folder / "shelf"
        self.settings["jobs"] |= {"first_pause_s": 0.5, "longest_pause_s": 2.0}
        self.settings["receive"]["quiet_s"] = 3.0
        self.places: list[Path] = []
        """Data folders, in the order of the processes."""
        self._again: Path | None = None
        self._numbers = count(1)

    def start(self, name: str, *, device: Thresholds | None = None, **sections: Any) -> Any:
        own = self._again or self.folder / f"{name}-{next(self._numbers)}"
        self._again = None
        self.places.append(own)
        node = {**sections.pop("node", {}), "data": own}
        return super().start(
            name, device=device, node=node, cluster={"port": free_port()}, **sections
        )

    def jobs(self):
        with open_ledger(self.url) as ledger:
            return [job for job in ledger.jobs() if job.node == self.settings["cluster"]["name"]]

    def gateway(self, data: Path | None = None) -> StorePeer:
        """Start a gateway, on the folder of one that ended; return the peer once it answers."""
        self._again = data
        return super().gateway()

    def held(self, pattern: str) -> Iterable[Path]:
        """Return the files that match in all data folders."""
        return [path for place in self.places for path in place.glob(pattern)]
