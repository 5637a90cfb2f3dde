"""Kill processes of a cluster, and restart its PostgreSQL, at random moments.

`python -m tests.benchmarks.cluster_faults --kills 200 --seed 1`. Series are sent to two gateways
meanwhile. Like a scanner, the sender repeats a series whose association broke, to either gateway.
In the end each series has exactly one SEG and one report.
"""

import argparse
import random
import tempfile
import threading
import time
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydicom import dcmread
from rich.console import Console
from rich.progress import track

from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.errors import NodeError
from dicom_node.jobs.state import State
from tests.system.cluster import Cluster, SleepingThresholds
from tests.system.postgres import Postgres
from tests.system.servers import free_port
from tests.system.small_series import series
from tests.waiting import wait_until

DEAD_S = 15.0
"""Seconds without a heartbeat after which a process counts as dead; 30 in a real cluster."""

SLICE_S = 0.1
"""A job of 20 slices takes some seconds, so that many are hit while they are computed."""

PAUSE_S = 1.0, 6.0
"""Between two faults."""

RESTARTS = 0.1
"""Part of the faults that are a restart of PostgreSQL in place of a killed process."""

RECEIVE = {"quiet_s": 6.0, "resend_s": 0, "keep_free_mb": 0}
"""The quiet time is longer than the sender's pauses, so that what it repeats is one series."""

PATIENCE_S = 600.0


@dataclass
class Sender:
    """Sends one new series after the other until it is stopped."""

    ports: list[int]
    folder: Path
    chance: random.Random
    sent: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Send; a series that was begun is sent to its end."""
        while not self.stopped.is_set():
            files = series(self.folder / f"ct{self.sent}")
            while not self._taken(files):
                time.sleep(0.3)
            self.sent += 1
            self.stopped.wait(self.chance.uniform(0, 4))

    def _taken(self, files: list[Path]) -> bool:
        port = self.chance.choice(self.ports)
        gateway = StorePeer("gateway", "HEPAR", "127.0.0.1", port, calling_ae_title="CT-1")
        with suppress(NodeError):
            gateway.send_many(files)
            return True
        return False


class Faults:
    """Processes that are killed and started again."""

    def __init__(self, cluster: Cluster, server: Postgres, chance: random.Random) -> None:
        self._cluster, self._server, self._chance = cluster, server, chance
        self.ports = [free_port(), free_port()]
        parts = [("receive", {"node": {"port": port}}) for port in self.ports]
        parts += [("work", {"device": SleepingThresholds(SLICE_S)})] * 3
        self._parts: list[tuple[str, dict[str, Any], Any]] = [
            (name, how, cluster.start(name, **how)) for name, how in parts
        ]
        self.done: Counter[str] = Counter()

    def strike(self) -> None:
        """Kill one process and start it again, or restart PostgreSQL."""
        if self._chance.random() < RESTARTS:
            self._server.stop()
            time.sleep(self._chance.uniform(0, 3))
            self._server.start()
            self.done["PostgreSQL"] += 1
            return
        number = self._chance.randrange(len(self._parts))
        name, how, process = self._parts[number]
        process.kill()
        process.join()
        # Now and then the others have to do without it for longer than the limit.
        time.sleep(self._chance.choice([0.0, 0.0, 2.0, DEAD_S + 5]))
        self._parts[number] = name, how, self._cluster.start(name, **how)
        self.done[name] += 1

    def revive(self) -> None:
        """Start what has ended by itself, as systemd would."""
        for number, (name, how, process) in enumerate(self._parts):
            if not process.is_alive():
                self.done[f"{name} ended by itself"] += 1
                self._parts[number] = name, how, self._cluster.start(name, **how)


def main() -> None:
    """Strike; fail if a series is lost or done twice."""
    options = argparse.ArgumentParser(description="Kill processes of a cluster.")
    options.add_argument("--kills", type=int, default=20)
    options.add_argument("--seed", type=int, default=1)
    asked = options.parse_args()
    chance = random.Random(asked.seed)
    with (
        tempfile.TemporaryDirectory(prefix="hepar-faults-") as folder,
        Postgres() as server,
        Cluster(Path(folder) / "cluster", server.url, receive=RECEIVE) as cluster,
    ):
        cluster.dead_s = DEAD_S
        faults = Faults(cluster, server, chance)
        sender = Sender(faults.ports, Path(folder), random.Random(asked.seed))
        thread = threading.Thread(target=sender.run, daemon=True)
        thread.start()
        written: dict[Path, set[int]] = defaultdict(set)
        for _ in track(range(asked.kills), "faults"):
            time.sleep(chance.uniform(*PAUSE_S))
            faults.strike()
            faults.revive()
            _look(cluster, written)
        sender.stopped.set()
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), f"a series is not taken:\n{cluster.log()}"
        wait_until(
            lambda: faults.revive() or _ended(cluster, sender.sent),
            PATIENCE_S,
            f"{sender.sent} series:\n{cluster.log()}",
        )
        time.sleep(5)
        _look(cluster, written)
        _judge(cluster, sender.sent)
    again = sum(len(each) - 1 for each in written.values())
    struck = ", ".join(f"{name} {count}" for name, count in sorted(faults.done.items()))
    Console().print(
        f"{sender.sent} series, {asked.kills} faults ({struck}): 0 lost, 0 twice; "
        f"{again} objects written again under the same UIDs"
    )


def _look(cluster: Cluster, written: dict[Path, set[int]]) -> None:
    """Note the files of what is delivered: a file that is written again has another inode."""
    for path in cluster.delivered.iterdir() if cluster.delivered.is_dir() else ():
        with suppress(FileNotFoundError):
            written[path].add(path.stat().st_ino)


def _ended(cluster: Cluster, count: int) -> bool:
    states = Counter(cluster.states())
    assert not states[State.FAILED], cluster.log()
    return states[State.DONE] == count


def _judge(cluster: Cluster, count: int) -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for path in cluster.delivered.iterdir():
        read = dcmread(path, stop_before_pixels=True)
        found[read.StudyInstanceUID].append(read.Modality)
    wrong = {uid: kinds for uid, kinds in found.items() if sorted(kinds) != ["SEG", "SR"]}
    assert not wrong, wrong
    assert len(found) == count, f"{len(found)} studies with results of {count}"


if __name__ == "__main__":
    main()
