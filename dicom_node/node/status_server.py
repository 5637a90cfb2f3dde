"""The state of jobs over HTTP, to be read only: for an archive's own page and for health checks.

    GET /health            200 while the node receives; who it is
    GET /jobs?study=UID    the study's jobs, the oldest first

A job is told by UIDs; what was received, where it lies and whose it is are not told.
"""

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from sqlalchemy.exc import SQLAlchemyError

from dicom_node.config.settings import Settings
from dicom_node.errors import AlreadyRunning, UnknownJob
from dicom_node.jobs.ledger import Ledger, open_ledger
from dicom_node.jobs.state import Job
from dicom_node.jobs.viewer_link import viewer_link
from dicom_node.results.attributes.segment_description import Algorithm

NEWEST = 500
"""Jobs among which those of a study are looked for."""

TIMEOUT_S = 10.0

Answer = tuple[HTTPStatus, Any]
Respond = Callable[[str, Mapping[str, list[str]]], Answer]
"""From a path and its query to a status and what is sent as JSON."""


@contextmanager
def serve_status(settings: Settings, algorithm: Algorithm) -> Iterator[tuple[str, int] | None]:
    """Tell the state of jobs while the block lasts, where that is asked for.

    Raises:
        AlreadyRunning: somebody else has the port.
    """
    http = settings.http
    if http.port is None:
        yield None
        return
    identity = {
        "ae_title": settings.node.ae_title,
        "model": algorithm.name,
        "model_version": algorithm.version,
    }
    where = (http.host, http.port)
    with state_served(where, settings.database_url, identity, settings.viewer.url) as address:
        yield address


@contextmanager
def state_served(
    address: tuple[str, int], database_url: str, identity: Mapping[str, str], viewer: str | None
) -> Iterator[tuple[str, int]]:
    """Tell the state of jobs while the block lasts; yields where.

    Args:
        address: port 0 takes a free one.
        database_url: of the workflow store, which must exist.
        identity: what `/health` tells of the node.
        viewer: `ViewerSection.url`, if there is a viewer.

    Raises:
        AlreadyRunning: somebody else has the port.
    """
    with open_ledger(database_url) as ledger:
        try:
            server = ThreadingHTTPServer(address, _handler(_responder(ledger, identity, viewer)))
        except OSError as error:
            raise AlreadyRunning(
                f"cannot tell the state on {address[0]}:{address[1]}: {error.strerror};"
                " set http.port to a free one"
            ) from error
        thread = threading.Thread(target=server.serve_forever, name="state", daemon=True)
        thread.start()
        try:
            host, port = server.server_address[:2]
            yield str(host), int(port)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def _responder(ledger: Ledger, identity: Mapping[str, str], viewer: str | None) -> Respond:
    def respond(path: str, query: Mapping[str, list[str]]) -> Answer:
        if path == "/health":
            return HTTPStatus.OK, identity
        if path != "/jobs":
            return HTTPStatus.NOT_FOUND, {"error": f"no {path}; there are /health and /jobs"}
        if not (studies := query.get("study")):
            return HTTPStatus.BAD_REQUEST, {"error": "which study? ask /jobs?study=UID"}
        jobs = [job for job in ledger.jobs(NEWEST) if job.study_uid in studies]
        return HTTPStatus.OK, [to_public(job, viewer) for job in jobs]

    return respond


def to_public(job: Job, viewer: str | None) -> dict[str, Any]:
    """Return what anybody who knows the study's UID may know of a job."""
    return {
        "job": job.id,
        "state": str(job.state),
        "reason": job.reason,
        "study": job.study_uid,
        "series": job.series_uid,
        "slices": len(job.paths),
        "created": job.created.isoformat(),
        "finished": job.finished.isoformat() if job.finished else None,
        "review": list(job.review),
        "millilitres": dict(job.outcome.millilitres) if job.outcome else {},
        "deliveries": [
            {"peer": each.peer, "item": each.item, "state": str(each.state)}
            for each in job.deliveries
        ],
        "viewer": viewer_link(viewer, job.study_uid, job.outcome),
    }


def _handler(respond: Respond) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = TIMEOUT_S  # a caller that says nothing must not keep a thread

        def do_GET(self) -> None:
            """Answer with JSON."""
            url = urlsplit(self.path)
            try:
                status, content = respond(url.path, parse_qs(url.query))
            except (SQLAlchemyError, UnknownJob):
                status, content = HTTPStatus.SERVICE_UNAVAILABLE, {"error": "the store is away"}
            body = json.dumps(content).encode()
            with suppress(ConnectionError):  # whoever asked has lost patience
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet: somebody asks every second."""

    return Handler
