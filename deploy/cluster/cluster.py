"""The whole: database, archive, proxy, gateways, workers and page, up and down together."""

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from deploy.cluster.postgres import Postgres
from deploy.cluster.proxy import write_proxy
from deploy.stack.ohif import find_ohif
from deploy.stack.places import Ports, require_packages
from deploy.stack.process import ENVIRONMENT, Process
from deploy.stack.settings import write_archive, write_node, write_web
from deploy.stack.stack import Stack, nginx, path_of

WORKERS = 3

GATEWAY, WORKER, PAGE = "hepar_gateway", "hepar_worker", "hepar_page"
"""Roles in PostgreSQL (`deploy/postgres/roles.sql`)."""

AT = "http://127.0.0.1"

MEMBER = re.compile(r"((?:receive|work|web)-\S+-\d+) (?:listens on|works with|serves) ")
"""The line with which a process of Hepar begins, and its name."""


@dataclass(frozen=True)
class ClusterPorts(Ports):
    """Ports of the parts, on 127.0.0.1; `node_dicom` is the proxy's, `node_http` the page's."""

    database: int = 15432
    gateway_1: int = 11113
    gateway_2: int = 11114
    gateway_1_http: int = 11181
    gateway_2_http: int = 11182

    @property
    def gateways(self) -> dict[int, int]:
        """DICOM port of each gateway, and the port of its health check."""
        return {self.gateway_1: self.gateway_1_http, self.gateway_2: self.gateway_2_http}


class Worker(Process):
    """A worker, which is ready once its log has it: it serves no HTTP."""

    def __init__(
        self,
        name: str,
        command: list[str],
        folder: Path,
        environment: Mapping[str, str] = ENVIRONMENT,
    ) -> None:
        log = folder / f"{name}.log"
        # The log is kept from one start to the next.
        self._read = log.stat().st_size if log.exists() else 0
        super().__init__(name, command, str(log), log, environment)

    def answers(self) -> bool:
        """Return whether it takes series."""
        return b" works with model " in self.log.read_bytes()[self._read :]


@dataclass(frozen=True)
class Cluster(Stack):
    """A cluster that is ready."""

    configuration: Path
    """Of all of Hepar's processes."""
    database: str
    """Address of the PostgreSQL for commands on jobs and processes, which have the workers' role.
    It is no part of the configuration: each role has its own, and others have passwords."""

    @property
    def worker_logs(self) -> list[Path]:
        """Logs of the workers; each has links to its results."""
        return [each.log for each in self.processes if isinstance(each, Worker)]


def member(process: Process) -> str:
    """Return the name that a process of Hepar has in the cluster; its own for other programs."""
    # The last: the log is kept from one start to the next.
    found = MEMBER.findall(process.log.read_text(errors="replace"))
    return found[-1] if found else process.name


@contextmanager
def running_cluster(
    folder: Path,
    ports: ClusterPorts,
    *,
    model: Path | None = None,
    stable_s: int = 5,
    quiet_s: float = 2.0,
    workers: int = WORKERS,
) -> Iterator[Cluster]:
    """Run all parts while the block lasts; the arguments are those of `running_stack`.

    Raises:
        StackError: something is missing or did not start.
    """
    require_packages()
    begun, ohif, folder = time.monotonic(), find_ohif(), folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as running:
        database = Postgres(folder, ports.database)
        running.callback(database.stop)
        database.wait_until_ready()
        database.make_database()
        database.make_roles(path_of("hepar"))
        configuration = write_node(folder, ports, quiet_s, model)
        processes: list[Process] = [database]
        # All are begun before one is waited for; they end in the opposite order.
        roles = _roles(folder, ports, configuration, workers, database)
        archive, proxies = _archive(folder, ports, stable_s), _proxies(folder, ports, ohif)
        # One at a time: each is to be stopped also where the next cannot be started.
        for process in chain(archive, roles, proxies):
            running.callback(process.stop)
            processes.append(process)
        for process in processes:
            process.wait_until_ready()
        seconds = time.monotonic() - begun
        address = database.address(WORKER)
        yield Cluster(ports, tuple(processes), seconds, configuration, address)


def _archive(folder: Path, ports: ClusterPorts, stable_s: int) -> Iterator[Process]:
    command = [path_of("Orthanc"), str(write_archive(folder, ports, stable_s))]
    url = f"{AT}:{ports.archive_http}/system"
    yield Process("archive", command, url, folder / "archive.log")


def _roles(
    folder: Path,
    ports: ClusterPorts,
    configuration: Path,
    workers: int,
    database: Postgres,
) -> Iterator[Process]:
    """Start workers, gateways and page, each with its role in PostgreSQL."""

    def hepar(*arguments: object) -> list[str]:
        return [path_of("hepar"), *map(str, arguments), "--config", str(configuration)]

    def environment(role: str) -> Mapping[str, str]:
        return {**ENVIRONMENT, "HEPAR_JOBS__DATABASE": database.address(role)}

    def serving(name: str, command: list[str], port: int, role: str) -> Process:
        url = f"{AT}:{port}/healthz"
        return Process(name, command, url, folder / f"{name}.log", environment(role))

    for number in range(1, workers + 1):
        yield Worker(f"work-{number}", hepar("work"), folder, environment(WORKER))
    for number, (port, http) in enumerate(ports.gateways.items(), 1):
        command = hepar("receive", "--port", port, "--http-port", http)
        yield serving(f"receive-{number}", command, http, GATEWAY)
    yield serving("page", hepar("web", "--port", ports.node_http), ports.node_http, PAGE)


def _proxies(folder: Path, ports: ClusterPorts, ohif: Path) -> Iterator[Process]:
    """Start the proxy before the gateways, and the web server of the viewer."""
    proxy = nginx(folder, write_proxy(folder, ports.node_dicom, [*ports.gateways]))
    at = f"tcp://127.0.0.1:{ports.node_dicom}"
    yield Process("proxy", proxy, at, folder / "proxy.log")
    web = nginx(folder, write_web(folder, ports, ohif))
    yield Process("web", web, f"{AT}:{ports.web}/", folder / "web.log")
