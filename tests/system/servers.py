"""Real neighbours on loopback: an Orthanc, DCMTK's sender, and the node as a process of its own."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.waiting import GENEROUS_S, wait_until

BIN = Path(sys.executable).parent
"""Folder of `hepar`, `dciodvfy` and `segimage2itkimage`."""

DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")

ENVIRONMENT = {**os.environ, "TCP_NODELAY": "1"}
"""Without TCP_NODELAY every DCMTK-based program, Orthanc too, waits 40 ms per object."""


def system_program(name: str) -> str | None:
    """Find a program outside the environment, where pynetdicom puts a `storescu` of its own."""
    places = [p for p in os.get_exec_path() if Path(p) != BIN] + ["/usr/sbin"]
    return shutil.which(name, path=os.pathsep.join(places))


def missing_programs() -> list[str]:
    """What the system tests need and this machine lacks, as Debian names it."""
    missing = [
        name
        for name, program in {"orthanc": "Orthanc", "dcmtk": "dcmdump"}.items()
        if system_program(program) is None
    ]
    return missing if DICOMWEB_PLUGIN.exists() else [*missing, "orthanc-dicomweb"]


def free_port() -> int:
    """A loopback port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_hepar(*arguments: str | Path) -> str:
    """Run a command to its end and return what it printed, in wide lines.

    Raises:
        AssertionError: it failed.
    """
    run = subprocess.run(
        [BIN / "hepar", *arguments],
        capture_output=True,
        text=True,
        env=ENVIRONMENT | {"COLUMNS": "200"},
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def storescu(port: int, files: Iterable[Path], *options: str, called: str = "ANY-SCP") -> None:
    """Send files with DCMTK over one association.

    Raises:
        subprocess.CalledProcessError: not every file was answered with success.
    """
    program = system_program("storescu")
    assert program is not None, "DCMTK is not installed"
    command = [program, *options, "-aec", called, "127.0.0.1", str(port), *map(str, files)]
    run = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True)
    if run.returncode:
        error = subprocess.CalledProcessError(run.returncode, command[0])
        error.add_note(run.stdout + run.stderr)
        raise error


def echoes(port: int, called: str = "ANY-SCP") -> bool:
    """Whether a C-ECHO on loopback is answered; DCMTK asks, so that nothing of ours is trusted."""
    program = system_program("echoscu")
    assert program is not None, "DCMTK is not installed"
    command = [program, "-q", "-to", "2", "-aec", called, "127.0.0.1", str(port)]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True).returncode == 0


class Server:
    """A process that is started and stopped by its pid; its output goes to a log file."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.log = folder / f"{name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.environment: Mapping[str, str] = ENVIRONMENT
        folder.mkdir(parents=True, exist_ok=True)

    def command(self) -> list[str]:
        """The command line that runs the server in the foreground."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether the server can be used now."""
        raise NotImplementedError

    def start(self) -> Self:
        """Start the process and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(),
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            wait_until(self._answers_or_died, what=f"{self.log.stem} answers")
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Ask the process to end and wait until it has gone."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the process and its children with kill -9."""
        self._end(signal.SIGKILL)

    def tail(self) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])

    def _answers_or_died(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{self.log.stem} ended at once:\n{self.tail()}"
        return self.answers()

    def _end(self, how: signal.Signals) -> None:
        if self.process is None:
            return
        if self.process.poll() is None:
            os.killpg(self.process.pid, how)
        try:
            self.process.wait(GENEROUS_S)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            raise
        finally:
            self.process = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


class Orthanc(Server):
    """An archive of its own, in `folder` and on free ports; stop and start it at will."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "orthanc")
        self.dicom_port, self.http_port = free_port(), free_port()
        self.configuration = folder / "orthanc.json"
        self.modalities: dict[str, list[Any]] = {}
        self.know()

    def know(self, **modalities: tuple[str, int]) -> None:
        """Let these AE titles on loopback query it and be called back, from its next start on."""
        for name, (ae_title, port) in modalities.items():
            self.modalities[name] = [ae_title, "127.0.0.1", port]
        self.configuration.write_text(json.dumps(self._settings()))

    def _settings(self) -> dict[str, Any]:
        return {
            "Name": "Archive under test",
            "StorageDirectory": str(self.folder / "storage"),
            "IndexDirectory": str(self.folder / "storage"),
            "DicomAet": "ORTHANC",
            "DicomPort": self.dicom_port,
            "HttpPort": self.http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "UnknownSopClassAccepted": True,
            "DicomModalities": self.modalities,
            "Plugins": [str(DICOMWEB_PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }

    @property
    def dicomweb(self) -> str:
        """Root of the DICOMweb services."""
        return f"http://127.0.0.1:{self.http_port}/dicom-web"

    def command(self) -> list[str]:
        return [system_program("Orthanc") or "Orthanc", str(self.configuration)]

    def answers(self) -> bool:
        try:
            self.get("system")
        except (urllib.error.URLError, ConnectionError):
            return False
        return echoes(self.dicom_port)

    def get(self, path: str) -> Any:
        """The JSON that Orthanc's own REST interface answers."""
        return json.loads(self.fetch(path))

    def fetch(self, path: str) -> bytes:
        """The bytes that Orthanc's own REST interface answers."""
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.http_port}/{path}", timeout=60
        ) as reply:
            return bytes(reply.read())

    def delete(self, instance: str) -> None:
        """Forget one instance."""
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.http_port}/instances/{instance}", method="DELETE"
        )
        urllib.request.urlopen(request, timeout=60).close()

    def peer(self, kind: str, name: str = "archive") -> str:
        """The table of a node's configuration that names this archive as a peer."""
        if kind == "stow":
            return f'[peers.{name}]\nkind = "stow"\nurl = "{self.dicomweb}"\n'
        return (
            f'[peers.{name}]\nkind = "store"\nae_title = "ORTHANC"\n'
            f'host = "127.0.0.1"\nport = {self.dicom_port}\n'
        )

    def segmentations(self) -> list[str]:
        """Orthanc's identifiers of every SEG instance it keeps."""
        found: list[str] = []
        for series in self.get("series?expand"):
            if series["MainDicomTags"].get("Modality") == "SEG":
                found += series["Instances"]
        return found

    def download(self, instance: str, folder: Path) -> Path:
        """Write one instance into `folder` as Part 10 and return its path."""
        path = folder / f"{instance}.dcm"
        path.write_bytes(self.fetch(f"instances/{instance}/file"))
        return path


class Dcmqrscp(Server):
    """DCMTK's archive: it can be searched and read, and knows no storage commitment."""

    def __init__(self, folder: Path, **knows: tuple[str, int]) -> None:
        super().__init__(folder, "dcmqrscp")
        self.dicom_port = free_port()
        (folder / "db").mkdir()
        hosts = [f"{name} = ({ae}, 127.0.0.1, {port})" for name, (ae, port) in knows.items()]
        lines = [
            f"NetworkTCPPort = {self.dicom_port}",
            "MaxPDUSize = 131072",
            "MaxAssociations = 16",
            *("HostTable BEGIN", *hosts, "HostTable END"),
            *("VendorTable BEGIN", "VendorTable END"),
            *("AETable BEGIN", f"DCMQRSCP {folder / 'db'} RW (99, 1024mb) ANY", "AETable END"),
        ]
        self.configuration = folder / "dcmqrscp.cfg"
        self.configuration.write_text("\n".join(lines) + "\n")

    def command(self) -> list[str]:
        return [system_program("dcmqrscp") or "dcmqrscp", "-c", str(self.configuration)]

    def answers(self) -> bool:
        return echoes(self.dicom_port, "DCMQRSCP")

    def peer(self, name: str = "archive") -> str:
        """The table of a node's configuration that names this archive as a peer."""
        return (
            f'[peers.{name}]\nkind = "store"\nae_title = "DCMQRSCP"\n'
            f'host = "127.0.0.1"\nport = {self.dicom_port}\n'
        )


class Storescp(Server):
    """DCMTK's receiver: it takes objects, and can be asked for nothing."""

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder, "storescp")
        self.dicom_port, self.options = free_port(), options

    def command(self) -> list[str]:
        program = system_program("storescp") or "storescp"
        return [program, *self.options, "-od", str(self.folder), str(self.dicom_port)]

    def answers(self) -> bool:
        return echoes(self.dicom_port)

    def peer(self, name: str = "archive") -> str:
        """The table of a node's configuration that names this receiver as a peer."""
        return (
            f'[peers.{name}]\nkind = "store"\nae_title = "STORESCP"\n'
            f'host = "127.0.0.1"\nport = {self.dicom_port}\n'
        )


class HeparNode(Server):
    """`hepar serve` with the peers it is given; its state and its log live in `folder`."""

    def __init__(
        self,
        folder: Path,
        peers: str,
        *,
        model: Path | None = None,
        quiet_s: float = 1.0,
        port: int | None = None,
    ) -> None:
        super().__init__(folder, "node")
        self.port = port or free_port()
        self.data = folder / "data"
        self.configuration = folder / "hepar.toml"
        self.configuration.write_text(
            f"[node]\nport = {self.port}\ndata = {str(self.data)!r}\n"
            f"[receive]\nquiet_s = {quiet_s}\nresend_s = 10\nkeep_free_mb = 100\n"
            f"[jobs]\nfirst_pause_s = 0.5\nlongest_pause_s = 2.0\n"
            + (f"[engine]\nmodel = {str(model)!r}\n" if model else "")
            + peers
        )

    def command(self) -> list[str]:
        return [str(BIN / "hepar"), "serve", "--config", str(self.configuration)]

    def answers(self) -> bool:
        return echoes(self.port)
