"""Processes of a cluster that are killed, cut off and started again while series come in."""

import random
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from dicom_node.jobs.state import Job
from tests.system.cluster import Cluster


class StruckParts:
    """The processes of a cluster, each with what it was started with."""

    def __init__(self, cluster: Cluster, chance: random.Random) -> None:
        self._cluster, self._chance = cluster, chance
        self.delivered = cluster.delivered
        self.done: Counter[str] = Counter()
        self.receivers: list[tuple[str, int]] = []
        self._parts: list[tuple[str, dict[str, Any], Any]] = []

    def start(self, name: str, **how: Any) -> None:
        """Start one more process, as `Cluster.start` does."""
        self._parts.append((name, how, self._cluster.start(name, **how)))

    def kill_one(self, pauses_s: Sequence[float]) -> str:
        """Kill a process, and start it again after one of the pauses; return its role."""
        number = self._chance.randrange(len(self._parts))
        name, how, process = self._parts[number]
        process.kill()
        process.join()
        time.sleep(self._chance.choice(pauses_s))
        self._parts[number] = name, how, self._cluster.start(name, **how)
        return name

    def revive(self) -> None:
        """Start what has ended by itself."""
        for number, (name, how, process) in enumerate(self._parts):
            if not process.is_alive():
                self.done[f"{name} ended by itself"] += 1
                self._parts[number] = name, how, self._cluster.start(name, **how)

    def jobs(self) -> list[Job]:
        """Return all jobs."""
        found: list[Job] = self._cluster.jobs()
        return found

    def tail(self) -> str:
        """Return the end of the log."""
        return self._cluster.log()
