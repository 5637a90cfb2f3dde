"""The node under many senders, and under connections that send nothing that is DICOM."""

import contextlib
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from pynetdicom import AE

from dicom_node.sop_classes import VERIFICATION
from tests.benchmarks.marks import Mark, at_most
from tests.benchmarks.phantoms import phantom_files
from tests.system.servers import ENVIRONMENT, HeparNode, system_program

SENDERS, SERIES, SLICES = 40, 3, 10
HOSTILE = 200
SETTLE_S = 5.0
"""A node that starts no thread for so long has all of its own."""
ECHOES = 40
"""C-ECHO requests beside the hostile connections."""
PHASE_S = 30.0
"""In which a connection must have sent its association request."""


def measure(folder: Path) -> Iterator[Mark]:
    """Measure how fast a caller is served beside others, and what the node then holds."""
    files = phantom_files(folder, 60)[:SLICES]
    with _many_associations(), HeparNode(_made(folder / "load"), "", quiet_s=3600) as node:
        before = _settled_threads(node)
        yield from _beside_hostile(node)
        # Senders come later: each of up to 64 leaves a thread, which waits for the next instance.
        more = _status(node)["Threads"] - before
        yield at_most("load: threads that hostile connections leave", 0, more, "")
        yield from _beside_senders(node, files)
        yield at_most("load: peak memory of the node", 1500, _status(node)["VmHWM"] / 1024, "MB")
    shutil.rmtree(folder / "load")


def _beside_hostile(node: HeparNode) -> Iterator[Mark]:
    """Open idle, garbled and dripping connections; a caller is served, and all are ended."""
    with contextlib.ExitStack() as stack:
        connections = []
        for _ in range(HOSTILE):
            connections.append(
                stack.enter_context(socket.create_connection(("127.0.0.1", node.port)))
            )
        for garbled in connections[::3]:
            garbled.sendall(b"GET / HTTP/1.1\r\nHost: node\r\n\r\n")
        stopping = threading.Event()
        dripping = threading.Thread(target=_drip, args=(connections[1::3], stopping))
        dripping.start()
        opened = time.monotonic()
        times = [_echo_s(node) for _ in range(ECHOES)]
        yield at_most("load: slowest C-ECHO beside 200 hostile connections", 1, max(times), "s")
        while time.monotonic() - opened < PHASE_S + 5:
            time.sleep(1)
        left = sum(not _ended(each) for each in connections)
        stopping.set()
        dripping.join()
    yield at_most("load: hostile connections that outlive their phase", 0, left, "")


def _beside_senders(node: HeparNode, files: list[Path]) -> Iterator[Mark]:
    """Send from many senders at a time, and ask meanwhile."""
    program = system_program("storescu")
    assert program is not None
    invent = ["--invent-series", str(SLICES), "--repeat", str(SERIES)]
    command = [program, *invent, "-aec", "HEPAR", "127.0.0.1", str(node.port), *map(str, files)]
    sending = [subprocess.Popen(command, env=ENVIRONMENT) for _ in range(SENDERS)]
    times = []
    while any(each.poll() is None for each in sending):
        times.append(_echo_s(node))
        time.sleep(0.05)
    failed = sum(each.returncode != 0 for each in sending)
    yield at_most("load: senders of 40 that were refused", 0, failed, "")
    slow = 1000 * float(np.percentile(times, 99))
    detail = f"({len(times)} of them, median {1000 * float(np.median(times)):.0f} ms)"
    yield at_most("load: C-ECHO beside 40 senders, 99th percentile", 200, slow, "ms", detail)


def _echo_s(node: HeparNode) -> float:
    """Return the seconds of an association with one C-ECHO."""
    caller = AE("KNOWN")
    caller.add_requested_context(VERIFICATION)
    begun = time.perf_counter()
    association = caller.associate("127.0.0.1", node.port)
    assert association.is_established, "a caller was kept out"
    assert association.send_c_echo().Status == 0x0000
    took = time.perf_counter() - begun
    association.release()
    return took


def _drip(connections: list[socket.socket], stopping: threading.Event) -> None:
    """Send a byte a second, of what might become an association request."""
    while not stopping.wait(1.0):
        for each in connections:
            with contextlib.suppress(OSError):
                each.sendall(b"\x01")


def _ended(connection: socket.socket) -> bool:
    connection.settimeout(0.1)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def _status(node: HeparNode) -> dict[str, int]:
    """Return threads, and memory in kB, of the node's process."""
    assert node.process is not None
    lines = Path(f"/proc/{node.process.pid}/status").read_text().splitlines()
    wanted = ("Threads", "VmHWM")
    return {key: int(line.split()[1]) for line in lines for key in wanted if line.startswith(key)}


def _settled_threads(node: HeparNode) -> int:
    """Return how many threads a started node has: DBOS begins some only after the start."""
    counted = -1
    while (now := _status(node)["Threads"]) != counted:
        counted = now
        time.sleep(SETTLE_S)
    return counted


@contextlib.contextmanager
def _many_associations() -> Iterator[None]:
    """Let the node have room for all senders of one host, and for who asks."""
    key = "HEPAR_RECEIVE__MAX_ASSOCIATIONS"
    ENVIRONMENT[key] = "64"
    try:
        yield
    finally:
        del ENVIRONMENT[key]


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder
