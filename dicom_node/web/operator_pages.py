"""Pages for the operator."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from pydicom import dcmread
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.templating import Jinja2Templates

from dicom_node.corrections.agreement import agreement, falls
from dicom_node.corrections.correction import newest_of_each_result
from dicom_node.corrections.side_by_side import side_by_side
from dicom_node.data_folder import DataFolder
from dicom_node.deliver.peer_interface import Peer
from dicom_node.errors import BadConfiguration, NodeError, UnknownJob
from dicom_node.jobs.ledger import Ledger
from dicom_node.jobs.state import Job, State
from dicom_node.jobs.viewer_link import viewer_link
from dicom_node.results.objects import ObjectKind, ResultObject
from dicom_node.web.access import Caller
from dicom_node.web.health import Health
from dicom_node.web.job_buttons import JobButtons
from dicom_node.web.job_view import Filter, last_day, peer_rows
from dicom_node.web.probe import Finding, Probe
from dicom_node.web.study_header import StudyHeader, may_see_study, study_header
from dicom_node.web.view import NodeView
from engine.errors import EngineError

logger = logging.getLogger(__name__)

NEWEST = 500
"""Newest jobs that the page searches."""
REACH_S = 60.0
"""Seconds after which a peer is called again, while somebody looks."""
SHOWN = 100
"""Rows of the table of jobs."""
ROWS = 50
"""Rows of the table of corrected results."""
PAIRS = 3
"""Newest pairs of a serving and a shadow model."""
UNCOUNTED = 5
"""Newest corrections that could not be compared, which the page names."""

RETRIABLE = {*State} - {State.WAITING, State.SEGMENTING, State.DONE, State.SUPERSEDED}
"""States in which something may be tried again at once; a delivery that pauses is one."""

REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'"
)
"""Of a report: styles and pictures lie in the page itself, and nothing else may load or run."""


TEMPLATES = Jinja2Templates(Path(__file__).with_name("templates"))


def render(
    node: NodeView,
    request: Request,
    template: str,
    context: Mapping[str, Any],
    status: HTTPStatus = HTTPStatus.OK,
) -> Response:
    """Return a page, or a part of one, with what all of them show of the node and the caller."""
    settings = node.settings
    shared = {
        "caller": request.scope["caller"],
        "ae_title": settings.node.ae_title,
        "algorithm": node.algorithm,
        "login": bool(settings.http.token or settings.http.user_header),
        "tries": node.desk is not None,
    }
    return TEMPLATES.TemplateResponse(request, template, {**shared, **context}, status)


def require_login(request: Request, reason: str) -> Caller:
    """Return the caller, who logged in.

    Raises:
        HTTPException: nobody did.
    """
    caller: Caller = request.scope["caller"]
    if not caller.may_change:
        challenge = {"WWW-Authenticate": 'Basic realm="Hepar", charset="UTF-8"'}
        raise HTTPException(HTTPStatus.UNAUTHORIZED, reason, challenge)
    return caller


class Pages:
    """The pages of one node."""

    def __init__(self, node: NodeView, ledger: Ledger, health: Health) -> None:
        self._node = node
        self._ledger = ledger
        self._health = health
        self._buttons = JobButtons(node, ledger)
        self._reach = {
            name: Probe(name, partial(_reached, peer), REACH_S) for name, peer in node.peers.items()
        }

    def now(self, request: Request) -> Response:
        """Show what the node is doing; htmx asks for the changing part alone."""
        part = request.headers.get("hx-request") == "true"
        return self._render(request, "_now.html" if part else "now.html", self._state(request))

    def job(self, request: Request) -> Response:
        """Show one job."""
        job, settings = self._find(request), self._node.settings
        part = request.headers.get("hx-request") == "true"
        return self._render(
            request,
            "_job.html" if part else "job.html",
            {
                "job": job,
                "progress": self._node.progress.of(job.id),
                "refusals": {
                    each.id: self._ledger.last_refusal(each)
                    for each in job.deliveries
                    if each.state.active
                },
                "due": {each.id: self._ledger.next_attempt(each) for each in job.deliveries},
                "link_to": partial(viewer_link, settings.viewer.url, job.study_uid),
                "correct_at": partial(viewer_link, settings.viewer.correct_url, job.study_uid),
                "pictures": len(self._pictures(job)),
                "reports": len(self._reports(job)),
                "corrections": (corrections := self._node.corrections.of(job.id)),
                "shadows": self._node.shadow_work(job.id),
                "counting": newest_of_each_result(corrections),
                "last_action": self._buttons.last(job),
                "may_retry": job.state in RETRIABLE,
                "may_redo": not job.state.active,
                "may_send": sorted(settings.destinations) if _has_result(job) else [],
                "may_urge": job.state in (State.HELD, State.WAITING) and not job.urgent,
                "may_remove": not job.state.active,
            },
        )

    def montage(self, request: Request) -> Response:
        """Return the picture of the contours of one of a job's stacks as PNG."""
        pictures = self._pictures(self._find(request))
        number = request.path_params.get("number", 1)
        if not 1 <= number <= len(pictures):
            return Response("this job has no such picture", HTTPStatus.NOT_FOUND)
        file = pictures[number - 1]
        if file.suffix == ".png":
            return Response(file.read_bytes(), media_type="image/png")
        png = BytesIO()
        Image.fromarray(dcmread(file).pixel_array).save(png, "PNG")
        return Response(png.getvalue(), media_type="image/png")

    def report(self, request: Request) -> Response:
        """Return one of a job's reports as a page; it names the patient, so only after a login."""
        require_login(
            request, "the report names the patient; log in with the node's token to read it"
        )
        reports, number = self._reports(self._find(request)), request.path_params["number"]
        if not 1 <= number <= len(reports):
            return Response("this job has no such report", HTTPStatus.NOT_FOUND)
        headers = {"Content-Security-Policy": REPORT_POLICY}
        return HTMLResponse(reports[number - 1].read_bytes(), headers=headers)

    def change(self, request: Request) -> Response:
        """Do what a button of a job's page asks for."""
        return self._buttons.press(self._find(request), request.path_params["action"], request)

    def send(self, request: Request) -> Response:
        """Send the results of a job to one peer."""
        return self._buttons.send(self._find(request), request.path_params["peer"], request)

    def drain(self, request: Request) -> Response:
        """Let a process of the cluster take nothing new, or take work again."""
        name, action = request.path_params["name"], request.path_params["action"]
        if self._node.drain is None or action not in ("drain", "undo"):
            raise HTTPException(HTTPStatus.NOT_FOUND)
        try:
            self._node.drain(name, action == "undo")
        except BadConfiguration as error:
            raise HTTPException(HTTPStatus.CONFLICT, str(error)) from error
        caller: Caller = request.scope["caller"]
        logger.info("%s %s by %s", action, name, caller.user, extra={"action": "operator"})
        # 303: the browser follows with a GET, so that reloading the page does not press again.
        return RedirectResponse("/", HTTPStatus.SEE_OTHER)

    def _state(self, request: Request) -> dict[str, Any]:
        query = request.query_params
        chosen = Filter(**{name: query.get(name, "") for name in Filter.__dataclass_fields__})
        jobs = self._ledger.jobs(NEWEST)
        study = self._study_of(request)
        active = [job for job in jobs if job.state.active]
        corrections = self._node.corrections.all()
        return {
            "arriving": self._node.arriving(),
            "processes": self._node.processes(),
            "active": active,
            "progress": {job.id: self._node.progress.of(job.id) for job in active},
            "day": last_day(jobs),
            "peers": peer_rows(self._node.settings.destinations, jobs, self._ledger.next_attempt),
            "reach": {name: probe.latest() for name, probe in self._reach.items()},
            "findings": self._health.ready(),
            "jobs": chosen.chosen(reversed(jobs), lambda job: study(job).accession)[:SHOWN],
            "chosen": chosen,
            "states": list(State),
            "modalities": sorted({job.modality for job in jobs} - {""}),
            "agreement": agreement(corrections)[:ROWS],
            "falls": falls(corrections),
            "shadow": self._node.shadow(),
            "side_by_side": side_by_side(corrections)[:PAIRS],
            "not_compared": [each for each in reversed(corrections) if each.reason][:UNCOUNTED],
            "serving": self._serving(),
            "backlog_model": self._node.backlog_model,
            "plans": self._node.plans(),
        }

    def _study_of(self, request: Request) -> Callable[[Job], StudyHeader]:
        """Return how a job's study is read; for who may not see it, it is empty."""
        if may_see_study(request.scope["caller"], self._node.settings.http):
            return study_header
        return lambda job: StudyHeader()

    def _serving(self) -> str:
        """Return the device that computes the next series."""
        if self._node.device is None:
            return "the workers' devices"
        try:
            return self._node.device()
        except EngineError:
            return "none"  # the health check names the reason

    def _render(self, request: Request, template: str, context: dict[str, Any]) -> Response:
        study = {
            "see_study": may_see_study(request.scope["caller"], self._node.settings.http),
            "study_of": self._study_of(request),
        }
        return render(self._node, request, template, {**study, **context})

    def _find(self, request: Request) -> Job:
        name = request.path_params["job"]
        job = self._ledger.find(name)
        # `find` takes a beginning too, as the commands do; here every job has one address.
        if job.id != name:
            raise UnknownJob(f"no job is called {name!r}; see the list of jobs")
        return job

    def _reports(self, job: Job) -> list[Path]:
        """Return the pages that were made with the PDFs of a job, one for each stack."""
        data, folder = self._kept(job)
        return [each for each in data.results_of(job.id, folder) if each.suffix == ".html"]

    def _pictures(self, job: Job) -> list[Path]:
        """Return the pictures of a job; those of older versions are in an object alone."""
        data, folder = self._kept(job)
        made = ResultObject(ObjectKind.MONTAGE).file_beside(folder / f"{job.id}.dcm")
        found = data.pictures_of(job.id, folder)
        return found or [each for each in [made] if each.exists()]

    def _kept(self, job: Job) -> tuple[DataFolder, Path]:
        """Return where the results of a job lie: in a cluster, those of the run that counts."""
        data = self._node.kept_of(job)
        folder = job.outcome.folder if job.outcome else None
        return data, data.located(folder) if folder else data.results


def _reached(peer: Peer) -> Finding:
    """Call a peer."""
    try:
        peer.echo()
    except NodeError as error:
        return Finding(peer.name, False, str(error))
    return Finding(peer.name, True, "")


def _has_result(job: Job) -> bool:
    return bool(job.outcome and job.outcome.seg_uid)
