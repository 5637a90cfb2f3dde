"""HTTP at a gateway: lends what it holds to the processes of the cluster, takes results back.

GET /series/STUDY/SERIES            the instances of a series as JSON
GET /series/STUDY/SERIES/NAME       one of them
GET /results/JOB                    the files of a job's result as JSON
GET /results/JOB/NAME               one of them
PUT /results/JOB/NAME?executor=…    take one, whose digest is in Content-Digest, from the process
                                    that works on the job

Each path asks for the cluster's token. A file has its SHA-256 as ETag and in Repr-Digest (RFC
9530), and may be asked for in part (Range, If-Range: RFC 9110 14).
"""

import hashlib
import hmac
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from dicom_node.cluster.fenced_worker import TakenOver
from dicom_node.cluster.ownership import Owned
from dicom_node.config.cluster_section import ClusterSection
from dicom_node.fetched.transfer.digest import digest_of, from_header, to_header
from dicom_node.fetched.transfer.held_files import MODIFIED, HeldFiles
from dicom_node.net.http.serving import serving
from dicom_node.receive.header import SeriesKey
from engine.durable_files import PART, sync_folder

logger = logging.getLogger(__name__)


class LentFile(FileResponse):
    """A file that is read in few pieces, each of which costs the change to a thread and back."""

    chunk_size = 1 << 20


class TokenRequired:
    """ASGI middleware that answers 401 to every request without the cluster's token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http":
            given = Headers(scope=scope).get("authorization", "").encode()
            if not hmac.compare_digest(given, self._expected):  # in constant time
                headers = {"WWW-Authenticate": "Bearer"}
                answer = _error(HTTPStatus.UNAUTHORIZED, "the token is not the cluster's", headers)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


@contextmanager
def lending(section: ClusterSection, held: HeldFiles, owned: Owned) -> Iterator[tuple[str, int]]:
    """Serve what a gateway holds while the block lasts; yields host and port.

    Args:
        section: where, and who may ask.
        held: what it holds.
        owned: keeps a job with the process that brings a result of it.

    Raises:
        AlreadyRunning: the port is taken.
    """
    address = section.host, section.port
    certificate = section.cert_file, section.key_file
    with serving(
        to_app(held, section.secret, owned), address, "cluster", *certificate
    ) as listening:
        yield listening


def to_app(held: HeldFiles, token: str, owned: Owned) -> ASGIApp:
    """Return the application that lends these files to callers with this token."""
    # The first three run in threads: they read whole files for their digests.

    def instances(request: Request) -> Response:
        return JSONResponse([each.to_json() for each in held.instances(_series(request))])

    def instance(request: Request) -> Response:
        return _lent(held.instance(_series(request), request.path_params["name"]), request)

    def results(request: Request) -> Response:
        found = held.results(request.path_params["job"])
        return JSONResponse([each.to_json() for each in found])

    def result(request: Request) -> Response:
        names = request.path_params
        return _lent(held.result(names["job"], names["name"]), request)

    async def take(request: Request) -> Response:
        names = request.path_params
        job, executor = names["job"], request.query_params.get("executor", "")
        mine = partial(owned, job, executor)
        return await _taken(held.place_of_result(job, names["name"]), request, mine)

    return TokenRequired(
        Starlette(
            routes=[
                Route("/series/{study}/{series}", instances),
                Route("/series/{study}/{series}/{name}", instance),
                Route("/results/{job}", results),
                Route("/results/{job}/{name}", result),
                Route("/results/{job}/{name}", take, methods=["PUT"]),
            ]
        ),
        token,
    )


def _series(request: Request) -> SeriesKey:
    return SeriesKey(request.path_params["study"], request.path_params["series"])


def _lent(path: Path | None, request: Request) -> Response:
    """Return a file, or the part of it that was asked for."""
    try:
        if path is None:
            raise FileNotFoundError
        # Before the digest: of a file that is replaced in between the digest does not fit, and the
        # caller asks again.
        stat = path.stat()
        digest = digest_of(path)
    except FileNotFoundError:
        return _error(HTTPStatus.NOT_FOUND, "no such file is held here")
    headers = {
        "ETag": f'"{digest}"',
        "Repr-Digest": to_header(digest),
        "Cache-Control": "no-store",
        MODIFIED: str(stat.st_mtime_ns),
    }
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    media = "application/octet-stream"
    return LentFile(path, headers=headers, media_type=media, stat_result=stat)


async def _taken(
    path: Path | None, request: Request, mine: Callable[[], AbstractContextManager[None]]
) -> Response:
    """Keep the file in the body of a request; once it is answered, the file outlives a crash.

    Args:
        path: where it is to lie; None: it has no place.
        request: with the file.
        mine: keeps the job with the caller while a block lasts. Only then the file takes its place:
            a worker may have been stopped since its own look, for however long.
    """
    if path is None:
        return _error(HTTPStatus.NOT_FOUND, "a result has no file of this name")
    wanted = from_header(request.headers.get("content-digest", ""))
    if not wanted:
        return _error(HTTPStatus.BAD_REQUEST, "Content-Digest with a sha-256 is missing")
    handle, name = tempfile.mkstemp(PART, f"{path.name}.", path.parent)
    part = Path(name)
    try:
        digest = hashlib.sha256()
        with os.fdopen(handle, "wb") as file:
            async for piece in request.stream():
                digest.update(piece)
                file.write(piece)
            if digest.hexdigest() != wanted:
                return _error(HTTPStatus.BAD_REQUEST, "the bytes are not those of the digest")
            file.flush()
            await run_in_threadpool(os.fsync, file.fileno())
        await run_in_threadpool(_put_in_place, part, path, mine)
    except TakenOver:
        return _error(HTTPStatus.CONFLICT, "the job is not this process's any more")
    except SQLAlchemyError as error:
        logger.warning("result not kept: %s", type(error).__name__, extra={"action": "lend"})
        return _error(HTTPStatus.SERVICE_UNAVAILABLE, "the job store is away")
    except ClientDisconnect:
        return Response(status_code=HTTPStatus.BAD_REQUEST)
    except OSError as error:
        logger.warning("result not kept: %s", error.strerror, extra={"action": "lend"})
        free = shutil.disk_usage(path.parent).free >> 20
        words = f"{error.strerror}; the disk has {free} MB free"
        return _error(HTTPStatus.INSUFFICIENT_STORAGE, words)
    finally:
        part.unlink(missing_ok=True)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _put_in_place(part: Path, path: Path, mine: Callable[[], AbstractContextManager[None]]) -> None:
    with mine():
        part.replace(path)
        sync_folder(path.parent)


def _error(status: HTTPStatus, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": message}, status, headers)
