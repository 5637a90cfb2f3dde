"""Kill a node, or processes of a cluster, at random moments, while series are sent.

`python -m tests.benchmarks.faults node --faults 500 --seed 1`, likewise `cluster`, of which the
PostgreSQL is restarted, too. As root, with a fault between hosts in place of these: `worker`,
`gateway` or `postgres` is cut off, PostgreSQL is `away` for a minute, or fails over to its standby
(`failover`), the shared folder is `full` or `slow`, or `clocks` are apart while processes are
killed. Like a scanner, the sender repeats a series whose association broke. In the end each series
has exactly one SEG and one report.
"""

import argparse
import random
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pydicom import dcmread
from rich.console import Console
from rich.progress import track

from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.errors import NodeError
from dicom_node.jobs.state import Job, State
from tests.benchmarks.partitions import KINDS, StruckHosts
from tests.benchmarks.struck_parts import StruckParts
from tests.dicom_node.node_process import NodeProcess, SleepingThresholds
from tests.system.cluster import Cluster
from tests.system.postgres import Postgres
from tests.system.servers import free_port
from tests.system.small_series import series
from tests.waiting import wait_until

DEAD_S = 15.0
"""Seconds without a heartbeat after which a process counts as dead; 30 in a real cluster."""

SLICE_S = 0.05
"""A job takes some seconds, so that many are hit while they are computed, and few so often that the
node gives them up."""

PAUSE_S = 0.5, 12.0
"""Between two faults: longer and shorter than a job takes with the quiet time."""

RESTARTS = 0.1
"""Part of a cluster's faults that are a restart of PostgreSQL in place of a killed process."""

RECEIVE = {"quiet_s": 4.0, "resend_s": 0, "keep_free_mb": 0}
"""The quiet time is longer than the sender's pauses, so that what it repeats is one series."""

GATEWAYS = {**RECEIVE, "quiet_s": 6.0}
"""Likewise: one that was killed may be away for long."""

PATIENCE_S = 600.0


class Struck(Protocol):
    """What is struck."""

    receivers: list[tuple[str, int]]
    """Addresses and ports of receivers."""
    delivered: Path
    done: Counter[str]
    """Faults so far."""

    def strike(self) -> None:
        """Break something, and mend it."""

    def revive(self) -> None:
        """Start what has ended by itself, as systemd would."""

    def jobs(self) -> list[Job]:
        """Return all jobs."""

    def tail(self) -> str:
        """Return the end of the log."""


class StruckNode:
    """A node that is killed and started again."""

    def __init__(self, folder: Path) -> None:
        self.done: Counter[str] = Counter()
        folder.mkdir()
        self._node = NodeProcess(folder, device=SleepingThresholds(SLICE_S), receive=RECEIVE)
        self._node.begin()
        self.receivers = [("127.0.0.1", self._node.peer.port)]
        self.delivered = self._node.delivered

    def strike(self) -> None:
        """Kill it and start it again."""
        self.end()
        self._node.begin()
        self.done["node"] += 1

    def end(self) -> None:
        """Kill it."""
        self._node.process.kill()
        self._node.process.join()

    def revive(self) -> None:
        """Start it again if it has ended by itself."""
        if not self._node.process.is_alive():
            self.done["node ended by itself"] += 1
            self._node.begin()

    def jobs(self) -> list[Job]:
        """Return all jobs."""
        found: list[Job] = self._node.jobs()
        return found

    def tail(self) -> str:
        """Return the end of the log."""
        return str(self._node.log.read_text()[-4000:])


class StruckCluster(StruckParts):
    """Two gateways, three workers and a PostgreSQL."""

    def __init__(self, cluster: Cluster, server: Postgres, chance: random.Random) -> None:
        super().__init__(cluster, chance)
        self._server = server
        self.receivers = [("127.0.0.1", free_port()), ("127.0.0.1", free_port())]
        for _, port in self.receivers:
            self.start("receive", node={"port": port})
        for _ in range(3):
            self.start("work", device=SleepingThresholds(SLICE_S))

    def strike(self) -> None:
        """Kill one process and start it again, or restart PostgreSQL."""
        if self._chance.random() < RESTARTS:
            self._server.stop()
            time.sleep(self._chance.uniform(0, 3))
            self._server.start()
            self.done["PostgreSQL"] += 1
            return
        # Now and then the others have to do without it for longer than the limit.
        self.done[self.kill_one([0.0, 0.0, 2.0, DEAD_S + 5])] += 1


@dataclass
class Sender:
    """Sends one new series after the other until it is stopped."""

    receivers: list[tuple[str, int]]
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
        address, port = self.chance.choice(self.receivers)
        gateway = StorePeer("gateway", "HEPAR", address, port, calling_ae_title="CT-1")
        with suppress(NodeError):
            gateway.send_many(files)
            return True
        return False


def main() -> None:
    """Strike; fail if a series is lost or done twice."""
    options = argparse.ArgumentParser(description="Kill a node, or processes of a cluster.")
    options.add_argument("what", choices=["node", "cluster", *KINDS])
    options.add_argument("--faults", type=int, default=20)
    options.add_argument("--seed", type=int, default=1)
    options.add_argument("--away", type=float, default=60, help="seconds without PostgreSQL")
    asked = options.parse_args()
    chance = random.Random(asked.seed)
    with tempfile.TemporaryDirectory(prefix="hepar-faults-") as name:
        folder = Path(name)
        with running(asked.what, folder, chance, asked.away) as struck:
            sender = Sender(struck.receivers, folder, random.Random(asked.seed))
            again = _struck(struck, sender, asked.faults, chance)
            faults = ", ".join(f"{name} {count}" for name, count in sorted(struck.done.items()))
    Console().print(
        f"{sender.sent} series, {asked.faults} faults ({faults}): 0 lost, 0 twice; "
        f"{again} objects written again under the same UIDs"
    )


@contextmanager
def running(what: str, folder: Path, chance: random.Random, away_s: float = 60) -> Iterator[Struck]:
    """Run a node or a cluster while the block lasts."""
    if what == "node":
        node = StruckNode(folder / "node")
        try:
            yield node
        finally:
            node.end()
        return
    if what in KINDS:
        limits = {"slice_s": SLICE_S, "dead_s": DEAD_S, "away_s": away_s, "receive": GATEWAYS}
        with ExitStack() as running:
            yield StruckHosts(what, folder / "cluster", running, chance, **limits)
        return
    with (
        Postgres() as server,
        Cluster(folder / "cluster", server.url, receive=GATEWAYS) as cluster,
    ):
        cluster.dead_s = DEAD_S
        yield StruckCluster(cluster, server, chance)


def _struck(struck: Struck, sender: Sender, faults: int, chance: random.Random) -> int:
    """Strike while series are sent; return how many objects were written again.

    Raises:
        AssertionError: a series is lost, or was done twice.
    """
    thread = threading.Thread(target=sender.run, daemon=True)
    thread.start()
    written: dict[Path, set[int]] = defaultdict(set)
    for _ in track(range(faults), "faults"):
        time.sleep(chance.uniform(*PAUSE_S))
        struck.strike()
        struck.revive()
        _look(struck.delivered, written)
    sender.stopped.set()
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), f"a series is not taken:\n{struck.tail()}"

    def ended() -> bool:
        struck.revive()
        states = Counter(each.state for each in struck.jobs())
        assert not states[State.FAILED], struck.tail()
        return states[State.DONE] == sender.sent

    wait_until(ended, PATIENCE_S, f"{sender.sent} series")
    time.sleep(5)
    _look(struck.delivered, written)
    _judge(struck.delivered, sender.sent)
    return sum(len(each) - 1 for each in written.values())


def _look(delivered: Path, written: dict[Path, set[int]]) -> None:
    """Note the files of what is delivered: a file that is written again has another inode."""
    for path in delivered.iterdir() if delivered.is_dir() else ():
        with suppress(FileNotFoundError):
            written[path].add(path.stat().st_ino)


def _judge(delivered: Path, count: int) -> None:
    found: dict[str, list[str]] = defaultdict(list)
    for path in delivered.iterdir():
        read = dcmread(path, stop_before_pixels=True)
        found[read.StudyInstanceUID].append(read.Modality)
    wrong = {uid: kinds for uid, kinds in found.items() if sorted(kinds) != ["SEG", "SR"]}
    assert not wrong, wrong
    assert len(found) == count, f"{len(found)} studies with results of {count}"


if __name__ == "__main__":
    main()
