"""Store Instances over the Web (STOW-RS, PS3.18 10.5): the same intake as C-STORE.

POST /dicom-web/studies[/STUDY]   multipart/related; type="application/dicom"

Each instance is in the spool, synced, before it is listed as stored. It is checked as one that
comes by C-STORE is, and refused with the same statuses. Where [[callers]] are named, the user who
logged in counts as calling AE title; one who must show a certificate is not known by that. With
[tls], only a proxy of `http.proxies` may hand over.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from io import BytesIO
from typing import Any

from pydicom import Dataset
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from dicom_node.audit.audit_event import refused
from dicom_node.audit.trail import record
from dicom_node.config.settings import Settings
from dicom_node.errors import RejectedInstance, StoreStatus
from dicom_node.net.callers import Caller, CallerIdentity, Service, find_caller
from dicom_node.net.connection import MESSAGE_BYTES
from dicom_node.net.data_set_file import DataSetBytes, LargeDataSets, content
from dicom_node.receive.events import ReceiveEvents
from dicom_node.receive.header import InstanceIdentifiers
from dicom_node.receive.pace import Paces
from dicom_node.receive.part10_intake import to_instance
from dicom_node.receive.spool import Spool, not_kept
from dicom_node.web.access import Caller as WebCaller
from dicom_node.web.access import is_proxy
from dicom_node.web.multipart_stream import (
    SILENCE_S,
    BadMultipart,
    MultipartStream,
    TooMuch,
    boundary_of,
    chunks_of,
)

logger = logging.getLogger(__name__)

JSON = "application/dicom+json"
RETRY_S = 30
"""Seconds after which a sender may try again, where there is no room or no slot."""
AE_TITLE_BYTES = 16
OTHER_STUDY = StoreStatus.DATA_SET_DOES_NOT_MATCH_SOP_CLASS
"""A9xx: the data set does not match (PS3.18 I.2.2)."""


class HttpAssociation:
    """A request that sends instances, as the assembler sees it."""

    def __init__(self) -> None:
        self._open = True

    def is_alive(self) -> bool:
        """Return whether more instances may come."""
        return self._open

    def close(self) -> None:
        """Note that no more come."""
        self._open = False


class Part:
    """One instance while it comes; a sink of the multipart body."""

    def __init__(
        self, complete: list["Part"], headers: Mapping[str, str], large: LargeDataSets
    ) -> None:
        self._complete = complete
        self._headers = headers
        self._large = large
        self._bytes = BytesIO()
        self._size = 0

    @property
    def is_dicom(self) -> bool:
        """Whether the part states that it is an instance, or states nothing."""
        kind = self._headers.get("content-type", "application/dicom")
        return kind.partition(";")[0].strip().lower() == "application/dicom"

    def write(self, piece: bytes) -> None:
        """Take some more bytes."""
        self._size += len(piece)
        if self._size > MESSAGE_BYTES:
            raise TooMuch(f"an instance has more than {MESSAGE_BYTES >> 20} MB; send it by C-STORE")
        self._bytes.write(piece)
        self._bytes = self._large.moved(self._bytes)

    def end(self) -> None:
        """Offer the part."""
        self._complete.append(self)

    def content(self) -> DataSetBytes:
        """Return all bytes.

        Raises:
            OSError: they could not be kept.
        """
        return content(self._bytes)


@dataclass
class Stored:
    """Outcome of the instances of a request."""

    stored: list[InstanceIdentifiers] = field(default_factory=list)
    failed: list[tuple[InstanceIdentifiers | None, StoreStatus]] = field(default_factory=list)

    @property
    def status(self) -> HTTPStatus:
        """The status of the answer (PS3.18 table 10.5.3-1)."""
        if not self.failed:
            return HTTPStatus.OK if self.stored else HTTPStatus.BAD_REQUEST
        if self.stored:
            return HTTPStatus.ACCEPTED
        if {status for _, status in self.failed} == {StoreStatus.OUT_OF_RESOURCES}:
            return HTTPStatus.SERVICE_UNAVAILABLE
        return HTTPStatus.CONFLICT

    def to_json(self) -> dict[str, Any]:
        """Return the Store Instances Response Module (PS3.18 I.1) as DICOM JSON.

        Its Retrieve URL is empty: instances cannot be retrieved here.
        """
        answer = Dataset()
        answer.RetrieveURL = ""
        answer.ReferencedSOPSequence = [_referenced(each) for each in self.stored]
        # Two sequences: an item of the first must name an instance; what could not be read has none
        # (PS3.18 table I.1-1).
        named = [(which, status) for which, status in self.failed if which is not None]
        answer.FailedSOPSequence = [_failed(status, which) for which, status in named]
        answer.OtherFailuresSequence = [
            _failed(status) for which, status in self.failed if which is None
        ]
        for keyword in ("ReferencedSOPSequence", "FailedSOPSequence", "OtherFailuresSequence"):
            if not answer[keyword].value:
                delattr(answer, keyword)
        return answer.to_json_dict()


class StowDoor:
    """The intake of one node."""

    def __init__(
        self,
        settings: Settings,
        spool: Spool,
        listener: ReceiveEvents,
        closed: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._closed = closed
        self._spool = spool
        self._listener = listener
        self._callers = [Caller(**each.model_dump()) for each in settings.callers]
        self._paces = Paces(self._callers)
        # A quarter of the associations' number: uploads share the web server's threads.
        self._slots = threading.BoundedSemaphore(max(1, settings.receive.max_associations // 4))

    async def store(self, request: Request) -> Response:
        """Keep the instances of a request, and list what became of each."""
        host = request.client.host if request.client else ""
        asking = CallerIdentity(_ae_title(request), self._settings.node.ae_title, host)
        caller = find_caller(self._callers, asking)
        if caller is None or Service.STORE not in caller.may:
            return _unknown(asking)
        if refusal := self._refusal(request, host):
            return refusal
        if self._closed():
            return _later("this gateway is draining; send to another one")
        # Never waiting: this runs on the event loop, which serves health and pages too.
        if not self._slots.acquire(blocking=False):
            return _later("too many uploads at the same time")
        try:
            return await self._answer(request, asking.calling, caller)
        finally:
            self._slots.release()

    def _refusal(self, request: Request, host: str) -> Response | None:
        if self._settings.tls.files and not is_proxy(host, self._settings.http):
            return _refuse(HTTPStatus.FORBIDDEN, "[tls] is set: send through a proxy with TLS")
        if not _accepts_json(request.headers.get("accept", "")):
            return _refuse(HTTPStatus.NOT_ACCEPTABLE, f"answers are {JSON}")
        if request.headers.get("content-encoding", "identity") != "identity":
            return _refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "compressed bodies are not read")
        return None

    async def _answer(self, request: Request, sender: str, caller: Caller) -> Response:
        boundary = boundary_of(
            request.headers.get("content-type", ""), "multipart/related", "application/dicom"
        )
        if boundary is None:
            return _refuse(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                'send multipart/related; type="application/dicom"; boundary=…',
            )
        try:
            done = await self._read(request, boundary, sender, caller)
        except BadMultipart as error:
            return _refuse(HTTPStatus.BAD_REQUEST, str(error))
        except TooMuch as error:
            return _refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, str(error))
        except TimeoutError:
            return _refuse(HTTPStatus.REQUEST_TIMEOUT, f"silent for {SILENCE_S:g} s")
        except ClientDisconnect:
            return Response(status_code=HTTPStatus.BAD_REQUEST)  # nobody reads it
        if done.status is HTTPStatus.BAD_REQUEST:
            return _refuse(HTTPStatus.BAD_REQUEST, "the body has no parts")
        full = done.status is HTTPStatus.SERVICE_UNAVAILABLE
        headers = {"Retry-After": str(RETRY_S)} if full else None
        return JSONResponse(done.to_json(), done.status, headers, media_type=JSON)

    async def _read(self, request: Request, boundary: bytes, sender: str, caller: Caller) -> Stored:
        """Keep each instance as soon as it is complete, no faster than its caller may send."""
        done, complete = Stored(), list[Part]()
        large = LargeDataSets(self._spool.folder, self._spool.keep_free_bytes)
        stream = MultipartStream(boundary, lambda headers: Part(complete, headers, large))
        with self._association() as association:
            async for chunk in chunks_of(request):
                stream.write(chunk)
                for part in complete:
                    study = request.path_params.get("study", "")
                    # In a thread: it parses, and waits for the disk to sync.
                    await run_in_threadpool(self._keep, part, sender, study, association, done)
                    await asyncio.sleep(self._paces.turn(caller))
                complete.clear()
        # After the instances: what was complete before a body broke off is kept, as on an
        # association that aborts.
        stream.finish()
        return done

    def _keep(
        self, part: Part, sender: str, study: str, association: HttpAssociation, done: Stored
    ) -> None:
        identifiers = None
        try:
            if not part.is_dicom:
                raise RejectedInstance("no application/dicom", StoreStatus.CANNOT_UNDERSTAND)
            instance = to_instance(_content(part), sender)
            identifiers = instance.checked_header()
            if study not in ("", identifiers.series.study_uid):
                raise RejectedInstance("not of the study in the address", OTHER_STUDY)
            self._spool.put(identifiers.series, instance.uid, instance.to_part10())
        except RejectedInstance as error:
            logger.warning("store refused: %s", error, extra={"action": "store_refused"})
            done.failed.append((identifiers, error.status))
        else:
            # After the sync: the assembler may complete the series at once.
            self._listener.instance_kept(association, identifiers.series)
            done.stored.append(identifiers)

    @contextmanager
    def _association(self) -> Iterator[HttpAssociation]:
        association = HttpAssociation()
        try:
            yield association
        finally:
            association.close()
            # Also after an error: the series would else wait for the rest of it, up to its longest.
            self._listener.association_closed(association)


def _content(part: Part) -> DataSetBytes:
    try:
        return part.content()
    except OSError as error:
        raise not_kept("an instance", error) from error


def _referenced(which: InstanceIdentifiers) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = which.sop_class_uid
    item.ReferencedSOPInstanceUID = which.instance_uid
    item.RetrieveURL = ""
    return item


def _failed(status: StoreStatus, which: InstanceIdentifiers | None = None) -> Dataset:
    item = Dataset()
    if which is not None:
        item.ReferencedSOPClassUID = which.sop_class_uid
        item.ReferencedSOPInstanceUID = which.instance_uid
    item.FailureReason = int(status)
    return item


def _ae_title(request: Request) -> str:
    """Return the user who logged in, where that is an AE title; empty otherwise."""
    caller: WebCaller = request.scope["caller"]
    user = caller.user.strip()
    # What VR AE takes (PS3.5 6.2); the title goes into files' headers and the log.
    fits = 0 < len(user) <= AE_TITLE_BYTES and user.isascii() and "\\" not in user
    return user if fits else ""


def _accepts_json(accept: str) -> bool:
    kinds = [each.partition(";")[0].strip().lower() for each in accept.split(",")]
    return any(kind in ("", "*/*", "application/*", JSON, "application/json") for kind in kinds)


def _unknown(asking: CallerIdentity) -> Response:
    logger.warning(
        "upload rejected: %s at %s is not among the callers",
        *(asking.calling or "nobody", asking.host),
        extra={"action": "association_rejected"},
    )
    record(lambda: refused(asking.calling, asking.host))
    return _refuse(HTTPStatus.FORBIDDEN, "not among the [[callers]] that may store; log in as one")


def _later(reason: str) -> Response:
    headers = {"Retry-After": str(RETRY_S)}
    return JSONResponse({"error": reason}, HTTPStatus.SERVICE_UNAVAILABLE, headers)


def _refuse(status: HTTPStatus, reason: str) -> Response:
    return JSONResponse({"error": reason}, status)
