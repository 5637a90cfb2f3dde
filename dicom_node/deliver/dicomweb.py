"""A DICOMweb server as a peer: stored by STOW-RS, confirmed by QIDO-RS (PS3.18 10.5, 10.6)."""

from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4
from warnings import catch_warnings, simplefilter

import requests
from dicomweb_client import DICOMwebClient
from pydicom import Dataset
from pydicom.errors import InvalidDicomError

from dicom_node.attributes import UNREADABLE
from dicom_node.deliver.confirmation import Confirmation
from dicom_node.deliver.sop_reference import SopReference, read_reference
from dicom_node.deliver.stow_answer import (
    ALREADY_THERE,
    Stored,
    instance_uids,
    is_page,
    named_instances,
    read_answer,
)
from dicom_node.deliver.web_session import WebSession, status_phrase
from dicom_node.errors import NotFoundYet, PeerRefused, ServiceRefused
from dicom_node.net.status import error_for_status

NO_DELETION = {400, 404, 405, 406, 415, 501}
"""Statuses of a server that does not delete, or has no such object."""

DELETED = {200, 204, 404}

NO_SEARCH = {400, 405, 406, 415, 501}
"""Statuses of a server that does not search, or not in this way."""


@dataclass(frozen=True)
class DicomWebPeer(WebSession):
    """A DICOMweb origin server."""

    search: bool = True
    """Confirm each object by QIDO-RS."""
    # A dict, since the peer is frozen and shared by the threads that deliver; the last answer
    # counts.
    moved: dict[str, str] = field(default_factory=dict, repr=False, compare=False)
    """Where a redirect leads: the root in use at the moment, under the key "root"."""

    def send(self, path: Path) -> str:
        """Store one object.

        An answer that reveals nothing of the object counts as success: `confirm` looks for it.
        """
        wanted, content = read_reference(path), path.read_bytes()
        answer = self._store(content)
        seen = read_answer(answer, wanted.instance_uid)
        match seen.stored:
            case Stored.NO:
                raise error_for_status(self.name, seen.reason, seen.comment)
            case Stored.ALREADY:
                self._require_present(wanted, seen.reason)
            case Stored.UNKNOWN:
                if not answer.ok:
                    raise self.failure(answer, len(content))
                if is_page(answer) and not self.search:
                    raise self.unreadable()
            case Stored.CHANGED:
                return f"warning 0x{seen.reason:04X}: some values were replaced"
        return ""

    def confirm(self, path: Path) -> Confirmation:
        """Return once a search by QIDO-RS lists the object."""
        if not self.search:
            return Confirmation.WORD
        wanted = read_reference(path)
        if not self._lists(wanted):
            raise NotFoundYet(f"a search in {self.name} does not show {wanted.instance_uid}")
        return Confirmation.LISTED

    def echo(self) -> None:
        """Return if the server answers a search as a DICOMweb server would."""
        # The smallest search: without a limit, some servers would list every study.
        answer = self.get(f"{self.root}/studies", {"limit": "1"})
        if not answer.ok:
            raise self.failure(answer)
        self._uids(answer)

    def retrieve(self, wanted: SopReference) -> Dataset:
        """Return an object as the server has it, by WADO-RS (PS3.18 10.4).

        Raises:
            PeerUnavailable, PeerRefused: the server does not return it, or something else.
        """
        with self.translated_errors(), catch_warnings():
            simplefilter("ignore")  # dicomweb-client warns of a part without its multipart
            try:
                return self.client().retrieve_instance(
                    wanted.study_uid,
                    wanted.series_uid,
                    wanted.instance_uid,
                    # As it is stored: a server that had to transcode would return other bytes than
                    # it was sent.
                    media_types=(("application/dicom", "*"),),
                )
            except (InvalidDicomError, *UNREADABLE) as error:
                raise self.unreadable() from error

    def delete(self, wanted: SopReference) -> None:
        """Delete an object: as Google and dcm4chee offer it, or by Orthanc's own interface.

        DICOM has no such service; a server with neither refuses.
        """
        answer = self._delete(self._address(self.root, wanted))
        if answer.ok:
            return
        if answer.status_code not in NO_DELETION:
            raise self.failure(answer)
        # One that is not there counts as deleted, even if the server deletes nothing.
        if not self._delete_from_orthanc(wanted.instance_uid) and self._lists(wanted):
            raise ServiceRefused(
                f"{self.name}: {self.url} answered a deletion with"
                f" {status_phrase(answer.status_code)}; allow it there, or set its superseded to"
                ' "reject" or "keep"'
            )

    def _delete(self, url: str) -> requests.Response:
        with self.translated_errors(), self.open() as session:
            return session.delete(url, timeout=self.timeout)

    def _delete_from_orthanc(self, instance_uid: str) -> bool:
        """Return whether the server is an Orthanc, and deleted the object or has none such."""
        # Orthanc's own interface lies above the root of its DICOMweb plugin, "/dicom-web".
        server = self.root.rpartition("/")[0]
        answer = self.post(f"{server}/tools/lookup", instance_uid.encode(), "text/plain")
        found = named_instances(answer)
        # An empty list is an Orthanc's too: it has no such object, so there is nothing to delete.
        return found is not None and all(
            self._delete(f"{server}/instances/{each}").status_code in DELETED for each in found
        )

    def client(self) -> DICOMwebClient:
        """Return a client for searching and reading, with the credentials for the server."""
        client = DICOMwebClient(
            self.root,
            session=self.open(),
            callback=_plain_content_type,
            timeout=(self.connect_s, self.answer_s),
        )
        client.set_http_retry_params(retry=False)  # the job pauses and tries again
        return client

    def _store(self, content: bytes) -> requests.Response:
        boundary = f"hepar-{uuid4().hex}"  # must not occur in the object (RFC 2046 5.1.1)
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        tail = f"\r\n--{boundary}--\r\n".encode()
        kind = f'multipart/related; type="application/dicom"; boundary="{boundary}"'
        answer = self.post(f"{self.root}/studies", head + content + tail, kind)
        # The object may be listed only where it was stored; a search at the old root would miss it.
        self.moved["root"] = answer.url.partition("?")[0].removesuffix("/studies")
        return answer

    def _require_present(self, wanted: SopReference, reason: int) -> None:
        """Look for an object that the server refused as a duplicate, if `confirm` will not.

        Raises:
            PeerRefused: a conflict without a reason, and the object is not there.
        """
        if self.search or reason in ALREADY_THERE or self._lists(wanted):
            return
        raise PeerRefused(
            f"{self.name}: {self.url} answered 409 Conflict, and a search does not show"
            f" {wanted.instance_uid}; see the server's log"
        )

    def _lists(self, wanted: SopReference) -> bool:
        """Return whether the server lists the object, also where a redirect led.

        Each answer is compared: a server may ignore the filter and list the whole series.
        """
        roots = dict.fromkeys([self.root, self.moved.get("root", self.root)])
        return any(wanted.instance_uid in self._search(root, wanted) for root in roots)

    def _address(self, root: str, wanted: SopReference) -> str:
        series = f"{root}/studies/{wanted.study_uid}/series/{wanted.series_uid}"
        return f"{series}/instances/{wanted.instance_uid}"

    def _search(self, root: str, wanted: SopReference) -> set[str]:
        path = self._address(root, wanted).rpartition("/")[0]
        answer = self.get(path, {"SOPInstanceUID": wanted.instance_uid})
        if answer.status_code == 404:  # no such study or series, until it is indexed
            return set()
        if answer.status_code in NO_SEARCH:
            status = status_phrase(answer.status_code)
            raise ServiceRefused(
                f"{self.name}: {self.url} answered a search with {status};"
                ' allow it there, or set its confirm to "none"'
            )
        if not answer.ok:
            raise self.failure(answer)
        return self._uids(answer)

    def _uids(self, answer: requests.Response) -> set[str]:
        try:
            return instance_uids(answer)
        except ValueError as error:
            raise self.unreadable() from error


def _plain_content_type(answer: requests.Response, *_: object, **__: object) -> requests.Response:
    """Remove "; charset=utf-8": dicomweb-client would ignore the content of such an answer."""
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "multipart/related":  # whose parameter is the boundary
        answer.headers["Content-Type"] = kind
    return answer
