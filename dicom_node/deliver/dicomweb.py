"""A DICOMweb server that takes objects by STOW-RS (PS3.18 10.5)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

import requests
from dicomweb_client import DICOMwebClient
from pydicom import Dataset, dcmread

from dicom_node.deliver.confirmation import Confirmation
from dicom_node.deliver.sop_reference import SopReference, read_reference
from dicom_node.errors import NodeError, NotFoundYet, PeerRefused, PeerUnavailable
from dicom_node.net.status import error_for_status

TRY_LATER = {408, 425, 429}
"""Client errors that are about the moment; every server error is too."""

CHUNK_BYTES = 10**6
"""Larger requests go out in chunks of this size."""


@dataclass(frozen=True)
class DicomWebPeer:
    """A DICOMweb origin server."""

    name: str
    url: str
    """The root under which `/studies` lies."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    """Bearer token; goes before user and password."""
    search: bool = True
    """Confirm each object by QIDO-RS (PS3.18 10.6)."""
    connect_s: float = 10
    answer_s: float = 60
    """Time between two bytes of the answer."""

    def send(self, path: Path) -> str:
        """Store one object; it counts as stored only if the answer names no failure."""
        with self.errors_told():
            answer = self.client().store_instances([dcmread(path)])
        if failed := self._failed(answer):
            raise failed
        return ""

    def confirm(self, path: Path) -> Confirmation:
        """Ask by QIDO-RS whether the server lists an object that it took."""
        if not self.search:
            return Confirmation.WORD
        wanted = read_reference(path)
        if wanted.instance_uid not in self._listed(wanted):
            raise NotFoundYet(f"a search in {self.name} does not show {wanted.instance_uid}")
        return Confirmation.LISTED

    def echo(self) -> None:
        """Return if the server answers a search as a DICOMweb server would."""
        with self.errors_told():
            answer = self._session().get(
                f"{self.url.rstrip('/')}/studies",
                params={"limit": "1"},
                timeout=(self.connect_s, self.answer_s),
            )
        if not answer.ok:
            raise self._http_failure(answer)

    def _listed(self, wanted: SopReference) -> set[str]:
        """Return the SOP Instance UIDs that the server lists for one object."""
        with self.errors_told():
            found = self.client().search_for_instances(
                wanted.study_uid,
                wanted.series_uid,
                search_filters={"SOPInstanceUID": wanted.instance_uid},
            )
        return {str(Dataset.from_json(match).get("SOPInstanceUID")) for match in found}

    @contextmanager
    def errors_told(self) -> Iterator[None]:
        """Turn what `requests` raises into what it means for the job."""
        try:
            yield
        except requests.exceptions.InvalidHeader:
            raise PeerRefused(  # whose own message would show it
                f"{self.name}: the password or token holds characters that no HTTP header may"
            ) from None
        except requests.RequestException as error:
            if error.response is not None and not error.response.ok:
                raise self._http_failure(error.response) from error
            raise self._unreachable(error) from error

    def client(self) -> DICOMwebClient:
        """Return a client of the server, with the credentials for it."""
        client = DICOMwebClient(
            self.url.rstrip("/"),
            session=self._session(),
            chunk_size=CHUNK_BYTES,
            callback=_plain_content_type,
            timeout=(self.connect_s, self.answer_s),
        )
        client.set_http_retry_params(retry=False)  # the job pauses and tries again
        return client

    def _session(self) -> requests.Session:
        session = requests.Session()
        session.headers["Accept"] = "application/dicom+json"
        if self.token:
            session.headers["Authorization"] = f"Bearer {self.token}"
            session.trust_env = False  # or ~/.netrc takes the header's place
        elif self.user:
            session.auth = (self.user, self.password or "")
        return session

    def _http_failure(self, answer: requests.Response) -> NodeError:
        said = f"{self.name}: {self.url} answered {_meaning(answer.status_code)}"
        if answer.status_code >= 500 or answer.status_code in TRY_LATER:
            return PeerUnavailable(said)
        if failed := self._failed(_dataset(answer)):
            return failed
        if answer.status_code in (401, 403):
            return PeerRefused(f"{said}; check user, password or token")
        return PeerRefused(f"{said}; check the address: /studies is added to it")

    def _failed(self, answer: Dataset) -> NodeError | None:
        """Return the error of the first instance that the answer says was not stored."""
        for item in answer.get("FailedSOPSequence", []):
            return error_for_status(self.name, int(item.get("FailureReason", 0)))
        return None

    def _unreachable(self, error: Exception) -> PeerUnavailable:
        return PeerUnavailable(
            f"{self.name}: {self.url} gave no answer that can be read: {error}; check that it runs,"
            " and the address"
        )


def _meaning(status: int) -> str:
    """Return a status as RFC 9110 calls it; what the server itself writes there is not repeated."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _dataset(answer: requests.Response) -> Dataset:
    try:
        return Dataset.from_json(answer.json())
    except (ValueError, TypeError, KeyError):  # a page for people, not a data set
        return Dataset()


def _plain_content_type(answer: requests.Response, *_: object, **__: object) -> requests.Response:
    """Take "; charset=utf-8" off: the client would pass over the failures in such an answer."""
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind != "multipart/related":  # whose parameter is the boundary
        answer.headers["Content-Type"] = kind
    return answer
