"""Ports of the parts of the stack, and the paths of their programs."""

import os
import shutil
import socket
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from deploy.stack.errors import Missing

PLUGINS = Path("/usr/share/orthanc/plugins")

NEEDED: dict[str, str | Path] = {
    "orthanc": "Orthanc",
    "nginx": "nginx",
    "orthanc-dicomweb": PLUGINS / "libOrthancDicomWeb.so",
    "orthanc-python": PLUGINS / "libOrthancPython.so",
}
"""Debian's packages, and the program or file by which each is known."""


def missing_packages() -> list[str]:
    """Return which of Debian's packages are not installed."""
    return [
        package
        for package, sign in NEEDED.items()
        if not (sign.exists() if isinstance(sign, Path) else program(sign))
    ]


def program(name: str) -> str | None:
    """Find a program, also where only root's path leads."""
    return shutil.which(name, path=os.pathsep.join([*os.get_exec_path(), "/usr/sbin"]))


def require_packages() -> None:
    """Raise `Missing` with the command that installs what is not here."""
    if missing := missing_packages():
        raise Missing(
            f"not installed: {', '.join(missing)}; sudo apt-get install {' '.join(missing)}"
        )


@dataclass(frozen=True)
class Ports:
    """Ports of the parts, on 127.0.0.1."""

    web: int = 8080
    """nginx: the viewer, DICOMweb and Orthanc's page."""
    archive_http: int = 8042
    archive_dicom: int = 4242
    node_http: int = 11180
    node_dicom: int = 11112

    @classmethod
    def usual(cls) -> Self:
        """Return the usual ports; another one where a port is taken."""
        return _all_free(cls, vars(cls()))

    @classmethod
    def free(cls) -> Self:
        """Return ports that are free now."""
        return _all_free(cls, dict.fromkeys(vars(cls()), 0))


AnyPorts = TypeVar("AnyPorts", bound=Ports)


def _all_free(kind: type[AnyPorts], wanted: dict[str, int]) -> AnyPorts:
    """Return these ports, or others where one is taken; each is held until all are chosen."""
    with ExitStack() as held:
        return kind(
            **{name: _bound(held.enter_context(socket.socket()), p) for name, p in wanted.items()}
        )


def _bound(probe: socket.socket, port: int) -> int:
    """Bind `port` if it is free, or any other one, and return it."""
    # A port on which connections ended a moment ago is free.
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("0.0.0.0", port))  # Orthanc listens on every address
    except OSError:
        probe.bind(("0.0.0.0", 0))
    probe.listen()  # a port that is only bound may be bound once more
    return int(probe.getsockname()[1])
