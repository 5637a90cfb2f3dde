"""`hepar receive` in several processes, as a test watches and stops them."""

import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.system.servers import BIN, ENVIRONMENT, Server, echoes, free_port
from tests.waiting import GENEROUS_S, wait_until


class Gateways(Server):
    """`hepar receive` in several processes on one port, for a cluster's folder and database."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        database: str,
        count: int,
        quiet_s: float = 2.0,
    ) -> None:
        super().__init__(folder, "gateways")
        self.port, self.http_port, self.count = free_port(), free_port(), count
        self.configuration = folder / "hepar.toml"
        data, model = settings["node"]["data"], settings["engine"]["model"]
        self.configuration.write_text(
            f"[node]\nport = {self.port}\ndata = {str(data)!r}\n"
            f"[engine]\nmodel = {str(model)!r}\n"
            f"[receive]\nprocesses = {count}\nquiet_s = {quiet_s}\nresend_s = 0\n"
            "keep_free_mb = 0\n"
        )
        self.environment = ENVIRONMENT | {"HEPAR_JOBS__DATABASE": database}

    def command(self) -> list[str]:
        return [
            *(str(BIN / "hepar"), "receive", "--config", str(self.configuration)),
            *("--http-port", str(self.http_port)),
        ]

    def answers(self) -> bool:
        if self.count > 1:  # an echo is answered by the first of them
            return f"{self.count} processes receive" in self.log.read_text()
        return echoes(self.port)

    def processes(self) -> list[psutil.Process]:
        """Return the gateways that listen on the port."""
        assert self.process is not None
        children = psutil.Process(self.process.pid).children()
        return [each for each in children if self._connections(each, psutil.CONN_LISTEN)]

    def associations(self, process: psutil.Process) -> set[int]:
        """Return the senders' ports of the connections that a gateway has."""
        return {each.raddr.port for each in self._connections(process, psutil.CONN_ESTABLISHED)}

    def _connections(self, process: psutil.Process, status: str) -> list[Any]:
        with suppress(psutil.NoSuchProcess):
            return [
                each
                for each in process.net_connections("tcp")
                if each.laddr.port == self.port and each.status == status
            ]
        return []

    def stop(self) -> None:
        """Ask the parent alone to end, and wait until it has gone; no child may be left."""
        if self.process is None:
            return
        group = self.process.pid
        self.process.terminate()
        try:
            assert self.process.wait(GENEROUS_S) == 0, self.tail()
            # multiprocessing's own helper ends once it has noticed.
            wait_until(lambda: not _pids(group), 10, "the end of all processes")
        finally:
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
            self.process = None


def _pids(group: int) -> list[int]:
    """Return the processes of a group."""
    found = []
    for each in psutil.pids():
        with suppress(ProcessLookupError):
            if os.getpgid(each) == group:
                found.append(each)
    return found
