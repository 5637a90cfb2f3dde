"""What the buttons on the page of a job do; each needs a login and is recorded."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from tempfile import TemporaryDirectory

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dicom_node.counted import counted
from dicom_node.errors import BadConfiguration
from dicom_node.job_actions import actions
from dicom_node.jobs.ledger import Ledger
from dicom_node.jobs.state import Job
from dicom_node.web.access import Caller
from dicom_node.web.view import NodeView

logger = logging.getLogger(__name__)

REMEMBERED = 100
"""Jobs whose last action the pages show; the log has all of them."""


@dataclass(frozen=True)
class Action:
    """An action on a job that a person asked for."""

    name: str
    user: str
    at: datetime
    done: str
    """What came of it."""


class JobButtons:
    """The actions of one node."""

    def __init__(self, node: NodeView, ledger: Ledger) -> None:
        self._node = node
        self._ledger = ledger
        self._last: dict[str, Action] = {}
        self._actions: Mapping[str, Callable[[Job], str]] = {
            "retry": self._retry,
            "redo": lambda job: actions.redo(job, ledger, node.data),
            "urge": lambda job: actions.urge(job, ledger),
            "remove": lambda job: actions.remove(job, ledger, node.spool, node.data),
        }

    def last(self, job: Job) -> Action | None:
        """Return the last action on a job since the node started, if there was one."""
        return self._last.get(job.id)

    def press(self, job: Job, name: str, request: Request) -> Response:
        """Do what a button asks for."""
        if name == "bundle":
            return self._bundle(job, request)
        if name not in self._actions:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        self._record(name, job, request, self._actions[name](job))
        gone = name == "remove" and not job.state.active
        # 303: the browser follows with a GET, so that reloading the page does not press again.
        return RedirectResponse("/" if gone else f"/jobs/{job.id}", HTTPStatus.SEE_OTHER)

    def send(self, job: Job, peer: str, request: Request) -> Response:
        """Send the results of a job to one peer, again or for the first time."""
        peers = self._node.settings.destinations
        if peer not in peers:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        done = actions.send(job, {peer: peers[peer].profile}, self._ledger, self._node.data)
        self._record(f"send to {peer}", job, request, done)
        return RedirectResponse(f"/jobs/{job.id}", HTTPStatus.SEE_OTHER)

    def _retry(self, job: Job) -> str:
        done = actions.retry(job, self._ledger, now=True)
        return ", ".join(done) or actions.nothing_to_do(job)

    def _bundle(self, job: Job, request: Request) -> Response:
        from dicom_node.job_actions.job_bundle import write_bundle  # imports a phantom

        with TemporaryDirectory(prefix="hepar-") as folder:
            target = Path(folder) / "bundle.zip"
            try:
                count = write_bundle(job, target, pixels=False)
            except BadConfiguration as error:
                self._record("bundle", job, request, str(error))
                return RedirectResponse(f"/jobs/{job.id}", HTTPStatus.SEE_OTHER)
            content = target.read_bytes()
        self._record("bundle", job, request, counted(count, "instance"))
        # A job's identifier has no quotes or line breaks; nothing from outside is in it.
        named = {"Content-Disposition": f'attachment; filename="{job.id}.zip"'}
        return Response(content, media_type="application/zip", headers=named)

    def _record(self, name: str, job: Job, request: Request, done: str) -> None:
        caller: Caller = request.scope["caller"]
        extra = {"action": "operator", "job": job.id, "series": job.series_uid}
        logger.info("%s by %s: %s", name, caller.user, done, extra=extra)
        # Taken out first, so that it goes to the end: the oldest action is dropped.
        self._last.pop(job.id, None)
        self._last[job.id] = Action(name, caller.user, datetime.now(UTC), done)
        while len(self._last) > REMEMBERED:
            self._last.pop(next(iter(self._last)), None)
