"""Read-only status server: jobs and health over HTTP, for archives' pages and health checks.

    GET /health            200 while the node receives; its AE title and model
    GET /jobs?study=UID    the study's jobs, the oldest first

Jobs are shown by UIDs; files, their folders and patients are not shown.
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
"""Newest jobs that are searched for those of a study."""

TIMEOUT_S = 10.0

AWAY = "the job store cannot be read; try again"

Answer = tuple[HTTPStatus, Any]
Respond = Callable[[str, Mapping[str, list[str]]], Answer]
"""Returns the status and the JSON content for a path and its query."""


@contextmanager
def serve_status(settings: Settings, algorithm: Algorithm) -> Iterator[tuple[str, int] | None]:
    """Serve the state of jobs while the block lasts, if the configuration names a port.

    Raises:
        AlreadyRunning: the port is taken.
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
    """Serve the state of jobs while the block lasts; yields host and port.

    Args:
        address: port 0 takes a free one.
        database_url: of the workflow store, which must exist.
        identity: content of `/health`.
        viewer: `ViewerSection.url`, if there is a viewer.

    Raises:
        AlreadyRunning: the port is taken.
    """
    with open_ledger(database_url) as ledger:
        try:
            server = ThreadingHTTPServer(address, _handler(_responder(ledger, identity, viewer)))
        except OSError as error:
            raise AlreadyRunning(
                f"cannot serve the state of jobs on {address[0]}:{address[1]}: {error.strerror};"
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
            return HTTPStatus.NOT_FOUND, {"error": f"unknown path {path}; use /health or /jobs"}
        if not (studies := query.get("study")):
            return HTTPStatus.BAD_REQUEST, {"error": "no study named; use /jobs?study=UID"}
        jobs = [job for job in ledger.jobs(NEWEST) if job.study_uid in studies]
        return HTTPStatus.OK, [to_public(job, viewer) for job in jobs]

    return respond


def to_public(job: Job, viewer: str | None) -> dict[str, Any]:
    """Return the part of a job that may be shown to anybody who has the study's UID."""
    return {
        "job": job.id,
        "state": str(job.state),
        "ending": str(job.ending),
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
        "seg": _seg(job),
        "viewer": viewer_link(viewer, job.study_uid, job.outcome),
    }


def _seg(job: Job) -> dict[str, str] | None:
    """Return where the SEG is in the patient's tree, if there is one."""
    if not job.outcome or not job.outcome.seg_uid:
        return None
    return {"series": job.outcome.seg_series_uid, "instance": job.outcome.seg_uid}


def _handler(respond: Respond) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = TIMEOUT_S  # a silent caller must not keep a thread

        def do_GET(self) -> None:
            """Answer with JSON."""
            url = urlsplit(self.path)
            try:
                status, content = respond(url.path, parse_qs(url.query))
            except (SQLAlchemyError, UnknownJob):
                status, content = (
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    {"error": AWAY},
                )
            body = json.dumps(content).encode()
            with suppress(ConnectionError):  # the caller has hung up
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing: health checks come every second."""

    return Handler
