"""The whole: an Orthanc, a node and a web server, up together and down together."""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.stack.errors import Missing
from deploy.stack.ohif import find_ohif
from deploy.stack.places import Ports, program, require_packages
from deploy.stack.process import Process
from deploy.stack.settings import write_archive, write_node, write_web


@dataclass(frozen=True)
class Stack:
    """A stack that is ready."""

    ports: Ports
    processes: tuple[Process, ...]
    seconds: float
    """How long it took to get ready."""

    @property
    def viewer(self) -> str:
        """Address of OHIF; DICOMweb is under `/dicom-web`, Orthanc's page under `/orthanc/`."""
        return f"http://localhost:{self.ports.web}"

    @property
    def log(self) -> Path:
        """The node's log; it has a link to each result."""
        return next(each.log for each in self.processes if each.name == "node")

    def ended(self) -> Process | None:
        """Return a part that has ended by itself."""
        return next((each for each in self.processes if not each.running), None)


@contextmanager
def running_stack(
    folder: Path,
    ports: Ports,
    *,
    model: Path | None = None,
    stable_s: int = 5,
    quiet_s: float = 0.2,
) -> Iterator[Stack]:
    """Run archive, node and viewer while the block lasts.

    Args:
        folder: keeps the studies, the node's work, the configurations and the logs.
        ports: where to listen.
        model: model folder; the one that comes with Hepar without it.
        stable_s: Orthanc calls a series stable after this long without a new instance.
        quiet_s: the node calls it complete after this long; the archive sends it in one go.

    Raises:
        StackError: something is missing or did not start.
    """
    require_packages()
    begun, ohif, folder = time.monotonic(), find_ohif(), folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    archive = [path_of("Orthanc"), str(write_archive(folder, ports, stable_s))]
    node = [path_of("hepar"), "serve", "--config", str(write_node(folder, ports, quiet_s, model))]
    web = nginx(folder, write_web(folder, ports, ohif))
    parts = (
        ("archive", archive, f"http://127.0.0.1:{ports.archive_http}/system"),
        ("node", node, f"http://127.0.0.1:{ports.node_http}/health"),
        ("web", web, f"http://127.0.0.1:{ports.web}/"),
    )
    with ExitStack() as running:
        processes = []
        # All are begun before one is waited for; they end in the opposite order, the archive last.
        for name, command, url in parts:
            processes.append(Process(name, command, url, folder / f"{name}.log"))
            running.callback(processes[-1].stop)
        for process in processes:
            process.wait_until_ready()
        yield Stack(ports, tuple(processes), time.monotonic() - begun)


def nginx(folder: Path, configuration: Path) -> list[str]:
    """Return the command of an nginx with this configuration."""
    # -e: before it reads its configuration, nginx opens the log that was compiled in, which takes
    # root.
    return [path_of("nginx"), "-p", str(folder), "-e", "stderr", "-c", str(configuration)]


def path_of(name: str) -> str:
    """Return where a program lies; the node's is beside this Python."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else program(name)
    if found is None:
        raise Missing(f"{name} is neither beside {sys.executable} nor in the path")
    return found
