"""A cluster whose processes are on hosts of their own, and the faults between them."""

import random
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.benchmarks.struck_parts import StruckParts
from tests.dicom_node.node_process import SleepingThresholds
from tests.power_cut.powered import Powered
from tests.system.cluster import Cluster
from tests.system.hosts import Host, Switch
from tests.system.postgres import Postgres
from tests.system.servers import free_port
from tests.waiting import wait_until

BAD_DISK_S = 30.0
"""For which the shared folder has no room, or is slow."""

SLOW_SYNC_S = 0.3
"""Seconds that a sync takes of a slow disk."""

APART_S = 300
"""Between the clocks of two hosts, at most twice this."""


class StruckHosts(StruckParts):
    """Two gateways, three workers and a PostgreSQL with its standby, each on a host of its own."""

    def __init__(
        self,
        kind: str,
        folder: Path,
        running: ExitStack,
        chance: random.Random,
        slice_s: float,
        dead_s: float,
        away_s: float,
        **sections: Any,
    ) -> None:
        """Start all of it; `running` ends it."""
        self._kind, self._dead_s, self._away_s = kind, dead_s, away_s
        self._switch = running.enter_context(Switch())
        self._running = running
        self._hosts = [self._switch.host(), self._switch.host()]
        self._primary = running.enter_context(Postgres(host=self._hosts[0]))
        self._standby = self._copy(self._hosts[1])
        places = "&".join(f"host={e.address}:{e.port}" for e in (self._primary, self._standby))
        url = f"postgresql://hepar@/hepar?{places}&target_session_attrs=read-write"
        super().__init__(running.enter_context(Cluster(folder, url, **sections)), chance)
        self._cluster.dead_s, self._cluster.url = dead_s, self._primary.local_url
        self._disk = running.enter_context(_disk(kind, self._cluster.data))
        for name in ("receive", "receive", "work", "work", "work"):
            how: dict[str, Any] = {"host": self._switch.host()}
            if kind == "clocks":
                how["ahead_s"] = chance.choice([-APART_S, APART_S])
            if name == "work":
                how["device"] = SleepingThresholds(slice_s)
            else:
                self.receivers.append((how["host"].sender_address, free_port()))
                address, port = self.receivers[-1]
                how["node"] = {"host": address, "port": port, "open": True}
            self.start(name, **how)
        # One that is cut off while it starts ends with a sentence, and is no case of these.
        wait_until(lambda: self._started() == len(self._parts), 300.0, "the start of all")

    def _started(self) -> int:
        return self._cluster.lines("listens on ") + self._cluster.lines("works with model ")

    def strike(self) -> None:
        """Break something, and mend it."""
        strikes: dict[str, Callable[[], None]] = {
            "worker": lambda: self._cut(self._one_of("work")),
            "gateway": lambda: self._cut(self._one_of("receive")),
            "postgres": lambda: self._cut(self._hosts[0]),
            "away": self._stop_postgres,
            "failover": self._fail_over,
            "full": self._fill,
            "slow": self._slow_down,
            "clocks": self._kill,
        }
        strikes[self._kind]()
        self.done[self._kind] += 1

    def _one_of(self, role: str) -> Host:
        found: Host = self._chance.choice(
            [how["host"] for name, how, _ in self._parts if name == role]
        )
        return found

    def _cut(self, host: Host) -> None:
        """Cut a host off for longer than a heartbeat may be late."""
        with host.cut_off():
            time.sleep(self._dead_s + self._chance.uniform(5, 20))

    def _stop_postgres(self) -> None:
        self._primary.stop()
        time.sleep(self._away_s)
        self._primary.start()

    def _fail_over(self) -> None:
        """Promote the standby of a primary that vanished, which then is the standby of that."""
        gone, host = self._primary, self._hosts[0]
        host.cut()
        time.sleep(self._chance.uniform(0, 10))
        self._standby.promote()
        self._primary = self._standby
        self._cluster.url = self._primary.local_url
        gone.kill()
        host.mend()
        self._standby = self._copy(host, gone.port)
        self._hosts.reverse()
        time.sleep(self._dead_s)

    def _copy(self, host: Host, port: int = 0) -> Postgres:
        """Start a standby on a host."""
        return self._running.enter_context(Postgres(host=host, port=port, copy_of=self._primary))

    def _fill(self) -> None:
        ballast = self._cluster.data / "ballast"
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        time.sleep(BAD_DISK_S)
        ballast.unlink()

    def _slow_down(self) -> None:
        assert self._disk is not None
        self._disk.slow_down(SLOW_SYNC_S)
        time.sleep(BAD_DISK_S)
        self._disk.slow_down(0.0)

    def _kill(self) -> None:
        """Kill a process; another one takes over, whose clock is another."""
        self.kill_one([0.0, self._dead_s + 5])


KINDS = "worker", "gateway", "postgres", "away", "failover", "full", "slow", "clocks"


@contextmanager
def _disk(kind: str, folder: Path) -> Iterator[Powered | None]:
    """Mount what can be slow, or full, at a folder while the block lasts."""
    if kind == "slow":
        with Powered(folder) as disk:
            yield disk
        return
    if kind != "full":
        yield None
        return
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", folder], check=True)
    try:
        yield None
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
