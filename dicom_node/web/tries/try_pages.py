"""Pages of uploads: each needs a login, for they show a patient's images."""

import asyncio
import logging
from http import HTTPStatus
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from dicom_node.counted import counted
from dicom_node.errors import BadUpload, NoRoomForUpload, TooLargeUpload, UnknownTryout
from dicom_node.pipeline.scan_file import SUFFIX, read_slice
from dicom_node.tryout.bounds import MB
from dicom_node.tryout.desk import Desk
from dicom_node.tryout.pictures import contours_png, grey_jpeg, shown_size
from dicom_node.tryout.tryout import Scan, Tryout
from dicom_node.web.operator_pages import render, require_login
from dicom_node.web.tries.files import files_of
from dicom_node.web.tries.intake import read_form
from dicom_node.web.view import NodeView

logger = logging.getLogger(__name__)

UPLOADS_AT_ONCE = 2
"""That come in; each holds a connection and writes to the disk."""
UNPACKED = 2
"""Times its size that an upload takes at most while it is computed."""
LOG_IN = "uploads show a patient's images; log in with any user name, and the token as the password"
PICTURES = {"grey": (grey_jpeg, "image/jpeg"), "contours": (contours_png, "image/png")}


class TryPages:
    """The pages of one node's desk."""

    def __init__(self, node: NodeView, desk: Desk) -> None:
        self._node = node
        self._desk = desk
        self._slots = asyncio.Semaphore(UPLOADS_AT_ONCE)

    @property
    def routes(self) -> list[Route]:
        """The addresses of the pages; none holds anything of a patient."""
        one = "/try/{name}"
        return [
            Route("/try", self.form),
            Route("/try", self.take, methods=["POST"]),
            Route(one, self.show),
            Route(f"{one}/remove", self.remove, methods=["POST"]),
            Route(f"{one}/{{scan:int}}/slices/{{slice:int}}/{{picture}}", self.picture),
            Route(f"{one}/{{scan:int}}/files/{{kind}}", self.file),
        ]

    def form(self, request: Request) -> Response:
        """Show where files are dropped, and the caller's kept uploads."""
        http = self._node.settings.http
        if http.token or http.user_header:
            require_login(request, LOG_IN)
        return self._form(request)

    def show(self, request: Request) -> Response:
        """Show one upload; htmx asks for the changing part alone, and for the whole at its end."""
        tryout = self._find(request)
        part = request.headers.get("hx-request") == "true"
        context = {
            "tryout": tryout,
            "until": self._desk.shelf.until(tryout),
            "files_of": lambda scan: files_of(self._desk.shelf, tryout, scan.stem),
        }
        page = "_tryout.html" if part else "tryout.html"
        answer = render(self._node, request, page, context)
        if part and not tryout.stage.active:
            answer.headers["HX-Refresh"] = "true"
        return answer

    def picture(self, request: Request) -> Response:
        """Return the grey values or the contours of one slice."""
        tryout, scan = self._scan(request)
        number, wanted = request.path_params["slice"], request.path_params["picture"]
        if scan.view is None or not 1 <= number <= scan.view.slices or wanted not in PICTURES:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        found = scan.outcome.summary
        assert found is not None  # whoever has a view has figures
        size = shown_size(found.rows * found.spacing_mm[1], found.columns * found.spacing_mm[2])
        file = self._desk.shelf.result(tryout.id, scan.stem + SUFFIX)
        draw, media_type = PICTURES[wanted]
        return Response(draw(read_slice(file, number - 1), size), media_type=media_type)

    def file(self, request: Request) -> Response:
        """Return one of the results as a file."""
        tryout, scan = self._scan(request)
        kind = files_of(self._desk.shelf, tryout, scan.stem).get(request.path_params["kind"])
        if kind is None or not scan.stem:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        content = kind.read(self._desk.shelf.result(tryout.id, scan.stem + kind.kept_as))
        name = f"hepar-{scan.stem}{kind.given_as}"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type=kind.media_type, headers=headers)

    def remove(self, request: Request) -> Response:
        """Remove an upload and its results before their time."""
        tryout = self._find(request)
        self._desk.remove(tryout.id)
        _record(request, tryout.id, "removed")
        return RedirectResponse("/try", HTTPStatus.SEE_OTHER)

    async def take(self, request: Request) -> Response:
        """Take an upload; the answer is its address, or why it cannot be tried."""
        if self._slots.locked():
            busy = f"{UPLOADS_AT_ONCE} uploads come in already; try again in a minute"
            return self._refuse(request, NoRoomForUpload(busy))
        async with self._slots:
            try:
                return await self._taken(request)
            except BadUpload as error:
                return self._refuse(request, error)
            except ClientDisconnect:
                return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody reads it

    async def _taken(self, request: Request) -> Response:
        desk, caller = self._desk, require_login(request, LOG_IN)
        length = int(request.headers.get("content-length", "0"))
        desk.bounds.require_size(length)
        desk.bounds.require_room(desk.shelf.folder, length * UNPACKED)
        tryout, upload = desk.open_upload(caller.user)
        try:
            await read_form(request, upload)
            await run_in_threadpool(desk.submit, tryout)
        except BaseException:  # also of a task that is cancelled: nothing may stay behind
            upload.close()
            desk.remove(tryout.id)
            raise
        _record(request, tryout.id, f"{counted(len(upload.files()), 'file')}, {length // MB} MB")
        at = f"/try/{tryout.id}"
        if _wants_json(request):
            return JSONResponse({"at": at}, HTTPStatus.CREATED)
        return RedirectResponse(at, HTTPStatus.SEE_OTHER)

    def _refuse(self, request: Request, error: BadUpload) -> Response:
        status = _status(error)
        if _wants_json(request):
            return JSONResponse({"error": str(error)}, status)
        return self._form(request, str(error), status)

    def _form(
        self, request: Request, error: str = "", status: HTTPStatus = HTTPStatus.OK
    ) -> Response:
        user = request.scope["caller"].user
        context: dict[str, Any] = {
            "error": error,
            "mine": self._desk.of(user) if user else [],
            "most_mb": self._node.settings.http.try_mb,
            "keep_h": self._node.settings.http.try_keep_h,
        }
        return render(self._node, request, "try.html", context, status)

    def _find(self, request: Request) -> Tryout:
        require_login(request, LOG_IN)
        try:
            return self._desk.find(request.path_params["name"])
        except UnknownTryout as error:
            raise HTTPException(HTTPStatus.NOT_FOUND, str(error)) from error

    def _scan(self, request: Request) -> tuple[Tryout, Scan]:
        tryout, number = self._find(request), request.path_params["scan"]
        if not 1 <= number <= len(tryout.scans):
            raise HTTPException(HTTPStatus.NOT_FOUND)
        return tryout, tryout.scans[number - 1]


def _wants_json(request: Request) -> bool:
    return "application/json" in request.headers.get("accept", "")


def _status(error: BadUpload) -> HTTPStatus:
    if isinstance(error, TooLargeUpload):
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    if isinstance(error, NoRoomForUpload):
        return HTTPStatus.INSUFFICIENT_STORAGE
    return HTTPStatus.BAD_REQUEST


def _record(request: Request, name: str, done: str) -> None:
    extra = {"action": "operator", "job": name}
    logger.info("try by %s: %s", request.scope["caller"].user, done, extra=extra)
