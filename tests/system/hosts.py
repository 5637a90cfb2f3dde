"""Network namespaces as hosts on one switch; a test pulls their cables.

What is sent over a cable that was pulled is lost without an answer, as between machines.
"""

import ctypes
import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

CLONE_NEWNET = 0x40000000
"""<sched.h>"""

NUMBERS = itertools.count(1)


@dataclass(frozen=True)
class Host:
    """A network namespace with two cables: one to the switch, one to whoever sends series."""

    name: str
    address: str
    """On the switch, to which the other hosts are connected."""
    sender_address: str
    """Where the test reaches it, whatever becomes of the switch."""
    switch: str

    def cut(self) -> None:
        """Pull the cable to the switch."""
        _ip("link", "set", self.name, "nomaster")

    def mend(self) -> None:
        """Put it back."""
        _ip("link", "set", self.name, "master", self.switch)

    @contextmanager
    def cut_off(self) -> Iterator[None]:
        """Pull the cable while the block lasts."""
        self.cut()
        try:
            yield
        finally:
            self.mend()

    def enter(self) -> None:
        """Move this process, which must have one thread only, to the host."""
        libc = ctypes.CDLL(None, use_errno=True)
        with Path("/run/netns", self.name).open() as namespace:
            if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"cannot enter the network namespace {self.name}")

    @property
    def command(self) -> list[str]:
        """What a command begins with that runs there."""
        return ["ip", "netns", "exec", self.name]


class Switch:
    """A switch, and the hosts that are connected to it, while a `with` block lasts."""

    def __init__(self) -> None:
        self._name = f"hs{os.getpid()}x{next(NUMBERS)}"
        # Of a range that is for tests (RFC 2544), apart from other switches of this machine.
        self._net = f"198.18.{os.getpid() % 250}"
        self._lan = f"198.19.{os.getpid() % 250}"
        self._count = itertools.count(1)
        self._made = ExitStack()

    def __enter__(self) -> "Switch":
        _ip("link", "add", self._name, "type", "bridge")
        self._made.callback(_drop, "link", "del", self._name)
        _ip("link", "set", self._name, "up")
        return self

    def __exit__(self, *error: object) -> None:
        self._made.close()

    def host(self) -> Host:
        """Connect a further host."""
        number = next(self._count)
        name = f"{self._name}h{number}"[-15:]
        ours, theirs = (f"{self._lan}.{number * 4 + each}" for each in (1, 2))
        host = Host(name, f"{self._net}.{number}", theirs, self._name)
        _ip("netns", "add", name)
        self._made.callback(_drop, "netns", "del", name)
        _ip("link", "add", name, "type", "veth", "peer", "name", "switch", "netns", name)
        lan = f"l{name}"[-15:]
        _ip("link", "add", lan, "type", "veth", "peer", "name", "lan", "netns", name)
        _ip("addr", "add", f"{ours}/30", "dev", lan)
        for each in (name, lan):
            _ip("link", "set", each, "up")
        inside = {"switch": f"{host.address}/24", "lan": f"{theirs}/30", "lo": ""}
        for device, address in inside.items():
            if address:
                _ip("-n", name, "addr", "add", address, "dev", device)
            _ip("-n", name, "link", "set", device, "up")
        host.mend()
        return host


def why_not() -> str:
    """Return why there can be no hosts here; empty if there can."""
    try:
        with Switch() as switch:
            switch.host()
    except FileNotFoundError:
        return "needs Debian's iproute2"
    except subprocess.CalledProcessError as error:
        return f"needs the right to make network namespaces: {error.stderr.strip()}"
    return ""


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


def _drop(*arguments: str) -> None:
    with suppress(subprocess.CalledProcessError):
        _ip(*arguments)
