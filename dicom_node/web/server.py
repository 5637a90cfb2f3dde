"""The web server of a running node: Starlette on uvicorn, in a thread of its own.

GET  /                       operator's page
GET  /jobs/JOB               one job
GET  /jobs/JOB/reports/N     a report as a page; names the patient, needs a login
POST /jobs/JOB/ACTION        retry, redo, urge, remove or bundle; needs a login
POST /jobs/JOB/send/PEER     send the results to a peer; needs a login
POST /processes/NAME/ACTION  drain or undo, for a process of a cluster; needs a login
POST /dicom-web/studies      STOW-RS (`stow`)
GET  /jobs?study=UID         a study's jobs as JSON, the oldest first
GET  /try                    drop a scan (`tries`); needs a login, as all below it
POST /try                    take an upload
GET  /try/NAME               an upload and its results
GET  /healthz, /health       200 while the node works, 503 and the failed checks otherwise
GET  /readyz                 200 while it would receive and finish a series, 503 otherwise
GET  /metrics                for Prometheus
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from dicom_node.errors import UnknownJob
from dicom_node.jobs.ledger import Ledger, open_ledger
from dicom_node.jobs.store import lacks_rights
from dicom_node.net.http.serving import serving
from dicom_node.web.access import Access
from dicom_node.web.health import Health
from dicom_node.web.job_view import to_public
from dicom_node.web.metrics import Metrics
from dicom_node.web.operator_pages import NEWEST, Pages
from dicom_node.web.probe import Finding
from dicom_node.web.stow import StowDoor
from dicom_node.web.tries.try_pages import TryPages
from dicom_node.web.view import NodeView

STOW_PATHS = "/dicom-web/studies", "/dicom-web/studies/{study}"


@contextmanager
def serve_web(node: NodeView) -> Iterator[tuple[str, int]]:
    """Serve the page, health and metrics while the block lasts; yields host and port.

    Raises:
        AlreadyRunning: the port is taken.
    """
    http = node.settings.http
    with (
        open_ledger(node.settings.database_url) as ledger,
        serving(application(node, ledger), (http.host, http.port or 0), "http") as address,
    ):
        yield address


def application(node: NodeView, ledger: Ledger) -> Starlette:
    """Return the web application of a node."""
    health = Health(node, ledger)
    pages, metrics = Pages(node, ledger, health), Metrics(node, ledger, health)
    tries = TryPages(node, node.desk).routes if node.desk else []
    door = StowDoor(node.settings, node.spool, node.listener, node.closed)
    doors = STOW_PATHS if node.dicom else ()
    viewer = node.settings.viewer.url
    identity = {
        "ae_title": node.settings.node.ae_title,
        "model": node.algorithm.name,
        "model_version": node.algorithm.version,
    }

    def alive(request: Request) -> Response:
        return _answer(health.alive(), identity)

    def ready(request: Request) -> Response:
        return _answer(health.ready(), identity)

    def jobs(request: Request) -> Response:
        studies = request.query_params.getlist("study")
        if not studies:
            error = {"error": "no study named; use /jobs?study=UID"}
            return JSONResponse(error, HTTPStatus.BAD_REQUEST)
        found = [job for job in ledger.jobs(NEWEST) if job.study_uid in studies]
        return JSONResponse([to_public(job, viewer, node.corrections.of(job.id)) for job in found])

    def exposition(request: Request) -> Response:
        return Response(metrics.exposition(), media_type="text/plain; version=0.0.4")

    return Starlette(
        routes=[
            Route("/", pages.now, name="now"),
            Route("/health", alive),
            Route("/healthz", alive),
            Route("/readyz", ready),
            Route("/metrics", exposition),
            Route("/jobs", jobs),
            Route("/jobs/{job}", pages.job, name="job"),
            Route("/jobs/{job}/montage.png", pages.montage),
            Route("/jobs/{job}/pictures/{number:int}.png", pages.montage),
            Route("/jobs/{job}/reports/{number:int}", pages.report),
            Route("/jobs/{job}/{action}", pages.change, methods=["POST"]),
            Route("/jobs/{job}/send/{peer}", pages.send, methods=["POST"]),
            Route("/processes/{name}/{action}", pages.drain, methods=["POST"]),
            *tries,
            *(Route(path, door.store, methods=["POST"]) for path in doors),
            Mount("/static", StaticFiles(directory=Path(__file__).with_name("static"))),
        ],
        middleware=[Middleware(Access, http=node.settings.http)],
        exception_handlers={
            UnknownJob: _unknown_job,
            SQLAlchemyError: _store_failed,
            HTTPStatus.NOT_FOUND: _unknown_path,
        },
    )


def _answer(findings: Sequence[Finding], identity: dict[str, str]) -> Response:
    content = {
        **identity,
        "ok": all(finding.ok for finding in findings),
        "checks": {
            finding.check: {"ok": finding.ok, "detail": finding.detail} for finding in findings
        },
    }
    status = HTTPStatus.OK if content["ok"] else HTTPStatus.SERVICE_UNAVAILABLE
    return JSONResponse(content, status)


def _unknown_job(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, HTTPStatus.NOT_FOUND)


def _store_failed(request: Request, error: Exception) -> Response:
    if lacks_rights(error):
        words = "the page's role in PostgreSQL may not change jobs; use `hepar jobs` with another"
        return JSONResponse({"error": words}, HTTPStatus.FORBIDDEN)
    away = {"error": "the job store cannot be read; try again"}
    return JSONResponse(away, HTTPStatus.SERVICE_UNAVAILABLE)


def _unknown_path(request: Request, error: Exception) -> Response:
    known = {"error": f"unknown path {request.url.path}; the page is at /"}
    return JSONResponse(known, HTTPStatus.NOT_FOUND)
