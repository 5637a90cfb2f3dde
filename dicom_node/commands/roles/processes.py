"""Gateways in several processes on one port: their parent starts, watches and stops them.

Each is a member of the cluster of its own. Linux spreads associations among them, by the sender's
address and port.
"""

import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing.connection import Connection

from dicom_node.command_line import run_program
from dicom_node.commands.roles.running import run_role
from dicom_node.commands.roles.supervision import Place, Started, supervise
from dicom_node.config.settings import Settings
from dicom_node.errors import AlreadyRunning, BadConfiguration
from dicom_node.logs import start_logging
from dicom_node.node.joining import Joined, require_postgres
from dicom_node.node.receiving import Reception
from dicom_node.node.stop_signals import stop_signals

LAST_PORT = 65535


def run_processes(settings: Settings) -> int:
    """Run `receive.processes` gateways until SIGINT or SIGTERM; return the exit status.

    Raises:
        BadConfiguration, AlreadyRunning: they cannot share the port; the message names the remedy.
    """
    require_postgres(settings, "receive")
    require_port_sharing(settings)
    start_logging()
    node, count = settings.node, settings.receive.processes
    with reserved_port(node.host, node.port) as port, stop_signals() as stop:
        fixed = settings.model_copy(update={"node": node.model_copy(update={"port": port})})
        places = [Place(partial(_start, _nth(fixed, number))) for number in range(count)]
        return supervise(places, stop)


def require_port_sharing(settings: Settings) -> None:
    """Return if the processes can share their port, and have HTTP ports of their own.

    Raises:
        BadConfiguration: they cannot.
    """
    count = settings.receive.processes
    # macOS and BSD have the option, too, and give all connections to one of the processes.
    if sys.platform != "linux" or not hasattr(socket, "SO_REUSEPORT"):
        raise BadConfiguration(
            f"receive.processes is {count}, and only Linux spreads connections among processes on"
            " one port; set it to 1, and start more gateways on ports of their own behind a TCP"
            " balancer"
        )
    if (settings.http.port or 0) + count - 1 > LAST_PORT:
        raise BadConfiguration(
            f"receive.processes is {count}, and there are not so many ports from http.port"
            f" {settings.http.port} on; set http.port to {LAST_PORT - count + 1} or less"
        )


@contextmanager
def reserved_port(host: str, port: int) -> Iterator[int]:
    """Keep a port for processes that share it while the block lasts; yields its number.

    The socket does not listen, so no connection comes to it. Nobody else can take the port while a
    process starts again.

    Raises:
        AlreadyRunning: another program listens on it.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        try:
            # First without the option: a second command would take a share of the callers.
            with socket.socket(family) as alone:
                alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                alone.bind((host, port))
            kept.bind((host, port))
        except OSError as error:
            raise AlreadyRunning(
                f"cannot listen on {host}:{port}: {error.strerror}; set node.port to a free one,"
                " and node.host to an address of this machine"
            ) from error
        yield int(kept.getsockname()[1])


def _nth(settings: Settings, number: int) -> Settings:
    """Return the settings of one of the processes: its HTTP port is its own."""
    http = settings.http
    if http.port:
        http = http.model_copy(update={"port": http.port + number})
    return settings.model_copy(update={"http": http})


def _start(settings: Settings) -> Started:
    # Not forked: libraries that the parent has loaded may have threads.
    context = multiprocessing.get_context("spawn")
    reader, writer = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(settings, writer))
    process.start()
    writer.close()  # the child has its own: only its end closes the pipe
    return Started(process, reader)


def _run(settings: Settings, listens: Connection) -> None:
    """Run one gateway; the process ends with it."""
    # Ctrl-C reaches the whole process group, and the parent passes it on as SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()
    run_program(lambda: run_role("receive", settings, partial(_gateway, listens)))


@contextmanager
def _gateway(listens: Connection, joined: Joined) -> Iterator[Reception]:
    """Run a gateway, and report once that it listens."""
    from dicom_node.node.roles import gateway

    with gateway(joined) as reception:
        listens.send_bytes(b"1")
        listens.close()
        yield reception


def _end_with_parent() -> None:
    """Stop this process when its parent has died: nobody else would."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
