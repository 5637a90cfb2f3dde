"""Roles of a cluster as processes of their own, on one PostgreSQL and one folder."""

import json
import multiprocessing
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from typer.testing import CliRunner

from dicom_node.cluster import membership
from dicom_node.commands.roles.running import Role
from dicom_node.config.settings import Settings
from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.errors import PeerUnavailable
from dicom_node.jobs import dbos_runtime
from dicom_node.jobs.ledger import open_ledger
from dicom_node.jobs.other_steps import QueuedWork
from dicom_node.logs import start_logging
from dicom_node.main import build
from dicom_node.node import joining
from dicom_node.node.joining import joined
from dicom_node.node.node import run_until_signal
from dicom_node.node.roles import deliverer, gateway, page, worker
from dicom_node.pipeline import process as pipeline
from dicom_node.pipeline.result_files import keep_or_write
from tests.dicom_node.node_process import Thresholds
from tests.engine.toy_model import write_toy_model
from tests.system.hosts import Host
from tests.system.servers import free_port
from tests.waiting import GENEROUS_S, wait_until


class SlowThresholds(Thresholds):
    """A device that waits at its second batch until a file is there."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls = folder, 0

    def run(self, hu, spacing_mm):
        self.calls += 1
        if self.calls == 2 and not (self.folder / "go").exists():
            (self.folder / f"in the middle {os.getpid()}").touch()
            wait_until((self.folder / "go").exists)
        return super().run(hu, spacing_mm)


class StoppedBeforeWrite(Thresholds):
    """A device of other labels, in a worker that is stopped between its last look and its write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, hu, spacing_mm):
        if pipeline.keep_or_write is keep_or_write:
            pipeline.keep_or_write = self._stop_and_write
        answer = super().run(hu, spacing_mm)
        answer.labels[:, : answer.labels.shape[1] // 2] = 0
        return answer

    def _stop_and_write(self, path: Path, made: bytes) -> bool:
        pipeline.keep_or_write = keep_or_write
        (self.folder / "in the middle").touch()
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            return keep_or_write(path, made)
        finally:
            (self.folder / "written late").touch()


DIES = " dies"
"""End of a version of steps: its worker is killed in the middle of the first move of a job."""


def die(*arguments: object) -> bool:
    """Take the place of the second half of a move."""
    os.kill(os.getpid(), signal.SIGKILL)
    return False


def roles(device: Thresholds) -> dict[str, Role]:
    return {
        "receive": gateway,
        "work": lambda me: worker(me, lambda model, settings: device),
        "deliver": deliverer,
        "web": page,
    }


def run(
    name: str,
    settings: dict[str, Any],
    folder: Path,
    device: Thresholds,
    dead_s: float,
    release: str,
    host: Host | None,
    steps: str,
) -> None:
    """Run a role until SIGTERM; whatever it logs is in `folder/log`."""
    if host is not None:
        host.enter()
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    start_logging("DEBUG")
    membership.DEAD_S = dead_s
    if release:
        joining.version = lambda package: release
    if steps:
        dbos_runtime.STEPS_VERSION = steps.removesuffix(DIES)
    if steps.endswith(DIES):
        QueuedWork.finish = die
    chosen = Settings(**settings)
    with joined(chosen, name) as me:
        run_until_signal(roles(device)[name](me))
    os._exit(0)


@contextmanager
def clock_ahead(seconds: int, folder: Path) -> Iterator[None]:
    """Let programs that are started in the block have a clock that is ahead, or behind."""
    if not seconds:
        yield
        return
    library = folder / "clock_ahead.so"
    if not library.exists():
        source = Path(__file__).with_name("clock_ahead.c")
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    fake = {"LD_PRELOAD": str(library), "CLOCK_AHEAD_S": str(seconds)}
    os.environ.update(fake)
    try:
        yield
    finally:
        for name in fake:
            del os.environ[name]


def answers(peer: StorePeer) -> bool:
    """Return whether a gateway accepts associations."""
    try:
        peer.echo()
    except PeerUnavailable:
        return False
    return True


class Cluster:
    """Processes on one folder and one database; none outlives the `with` block."""

    def __init__(self, folder: Path, database: str, **sections: Any) -> None:
        folder.mkdir()
        (folder / "log").touch()
        write_toy_model(folder / "model")
        self.folder, self.url = folder, database
        self.dead_s = membership.DEAD_S
        """Seconds without a heartbeat after which a process counts as dead."""
        self.data = folder / "data"
        self.delivered = self.data / "delivered"
        self.settings = {
            "node": {"data": self.data},
            "engine": {"model": folder / "model"},
            "jobs": {"database": database},
            "receive": {"quiet_s": 2.0, "resend_s": 0, "keep_free_mb": 0},
            **sections,
        }
        self.databases: dict[str, str] = {}
        """Addresses of the database for roles that have one of their own."""
        self.processes: list[multiprocessing.process.BaseProcess] = []

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *error: object) -> None:
        for process in self.processes:
            if process.is_alive():
                os.kill(process.pid, signal.SIGCONT)
                process.kill()
                process.join()

    def start(
        self,
        name: str,
        *,
        device: Thresholds | None = None,
        release: str = "",
        host: Host | None = None,
        ahead_s: int = 0,
        steps: str = "",
        **sections: Any,
    ) -> Any:
        """Start a role on a host, whose clock may be ahead of this one's.

        `steps` is the version of its workflows' steps, if it is to be another one.
        """
        context: Any = multiprocessing.get_context("spawn" if ahead_s else "forkserver")
        if not ahead_s:
            context.set_forkserver_preload(["tests.system.cluster"])
        settings = {**self.settings}
        if name in self.databases:
            settings["jobs"] = {**settings["jobs"], "database": self.databases[name]}
        for section, keys in sections.items():
            settings[section] = {**settings.get(section, {}), **keys}
        device = device or Thresholds()
        arguments = name, settings, self.folder, device, self.dead_s, release, host, steps
        process = context.Process(target=run, args=arguments)
        with clock_ahead(ahead_s, self.folder):
            process.start()
        self.processes.append(process)
        return process

    def gateway(self, release: str = "", host: Host | None = None, steps: str = "") -> StorePeer:
        """Start a gateway; return the peer that it is, once it answers."""
        port = free_port()
        address = host.sender_address if host else "127.0.0.1"
        # Not by the gateway's own title, with which it checks itself.
        peer = StorePeer("gateway", "HEPAR", address, port, calling_ae_title="CT-1")
        node = {"port": port, "host": address, "open": host is not None}
        process = self.start("receive", release=release, host=host, steps=steps, node=node)

        def started() -> bool:
            assert process.is_alive(), self.log()
            return answers(peer)

        wait_until(started)
        return peer

    def page(self) -> str:
        """Start the page; return its address once it answers."""
        port = free_port()
        process = self.start("web", http={"port": port})

        def answers() -> bool:
            assert process.is_alive(), self.log()
            with suppress(httpx.TransportError):
                return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
            return False

        wait_until(answers)
        return f"http://127.0.0.1:{port}"

    def drain(self, *arguments: str) -> list[dict[str, Any]]:
        """Run `hepar drain`; return what it lists."""
        environment = {"HEPAR_NODE__DATA": str(self.data), "HEPAR_JOBS__DATABASE": self.url}
        asked = CliRunner().invoke(build(), ["drain", *arguments, "--json"], env=environment)
        assert asked.exit_code == 0, asked.output or asked.exception
        return json.loads(asked.output)

    def log(self) -> str:
        return (self.folder / "log").read_text()[-4000:]

    def lines(self, words: str) -> int:
        """Return the number of lines of the log with these words."""
        return sum(words in line for line in (self.folder / "log").read_text().splitlines())

    def files(self) -> dict[Path, tuple[int, int]]:
        """Return results and delivered objects; a file that is written again is another one."""
        found = [*self.delivered.iterdir(), *(self.data / "results").iterdir()]
        return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}

    def jobs(self):
        with open_ledger(self.url) as ledger:
            return [job for job in ledger.jobs() if self.data in job.paths[0].parents]

    def states(self):
        return [job.state for job in self.jobs()]

    def stop(self, but: object = None) -> None:
        """End every process in order, but for one that was killed."""
        running = [process for process in self.processes if process is not but]
        for process in running:
            process.terminate()
        for process in running:
            process.join(GENEROUS_S)
            assert process.exitcode == 0, self.log()
