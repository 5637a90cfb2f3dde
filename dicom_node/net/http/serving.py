"""Serve an ASGI application by uvicorn, in a thread of its own."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from dicom_node.errors import AlreadyRunning

CONNECTIONS = 64
"""Connections at the same time; one more is answered 503."""

IDLE_S = 5
"""Seconds after which an idle connection is closed."""


@contextmanager
def serving(
    app: ASGIApp,
    address: tuple[str, int],
    section: str,
    cert_file: Path | None = None,
    key_file: Path | None = None,
) -> Iterator[tuple[str, int]]:
    """Serve an application while the block lasts; yields host and port.

    Args:
        app: the application.
        address: host and port to listen on; port 0 takes a free one.
        section: of the configuration, for the message that the port is taken.
        cert_file: certificate with its chain, as PEM; without it there is no TLS.
        key_file: its private key, unless `cert_file` holds both.

    Raises:
        AlreadyRunning: the port is taken.
    """
    with _bound(address, section) as listener:
        config = uvicorn.Config(
            app,
            # The node's own logging stays as it is; uvicorn would set up handlers of its own.
            log_config=None,
            access_log=False,  # health checks come every second
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=IDLE_S,
            # A page or an upload under way holds up the end no longer; senders repeat what has no
            # answer.
            timeout_graceful_shutdown=1,
            lifespan="off",
            ws="none",
            ssl_certfile=cert_file,
            ssl_keyfile=key_file,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(
            target=lambda: asyncio.run(server.serve([listener])), name=section, daemon=True
        )
        thread.start()
        try:
            host, port = listener.getsockname()[:2]
            yield str(host), int(port)
        finally:
            # uvicorn looks at it ten times a second.
            server.should_exit = True
            thread.join()


@contextmanager
def _bound(address: tuple[str, int], section: str) -> Iterator[socket.socket]:
    host, port = address
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        # Bound here, not by uvicorn, which would end the whole process over a port that is taken.
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise AlreadyRunning(
            f"cannot serve HTTP on {host}:{port}: {error.strerror}; set {section}.port to a free"
            " one"
        ) from error
    with listener:
        yield listener
