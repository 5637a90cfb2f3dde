"""An archive that speaks DICOMweb: searched and read, never written to."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any

import requests
from dicomweb_client import DICOMwebClient

from engine.durable_files import write_durably
from trainer.errors import ArchiveFailed

# Without "*" a server may decompress: the default is Explicit VR Little Endian.
AS_IT_IS = (("application/dicom", "*"),)
"""Each instance in the encoding it has."""

TIMEOUT_S = 10.0, 120.0
"""To connect, and between two bytes of an answer."""

TRIES, WAIT_MS = 3, 250
"""Attempts of a request without an answer, and the first pause between them."""

STUDY, SERIES, INSTANCE = "0020000D", "0020000E", "00080018"
MODALITY = "00080060"

Found = Mapping[str, Any]
"""One match of a search, in DICOM's JSON (PS3.18 F.2)."""


@dataclass(frozen=True)
class Series:
    """A series by its UIDs."""

    study_uid: str
    series_uid: str

    def file(self, folder: Path, instance_uid: str) -> Path:
        """Return where one of its instances lies in `folder`.

        Raises:
            ArchiveFailed: a UID is none, and may name a file elsewhere.
        """
        for uid in (self.study_uid, self.series_uid, instance_uid):
            # Digits between dots (PS3.5 9.1): "..", too, is made of its characters.
            if len(uid) > 64 or not re.fullmatch(r"[0-9]+(\.[0-9]+)*", uid):
                raise ArchiveFailed(f"the archive calls something {uid!r}, which is no UID")
        return folder / self.study_uid / self.series_uid / f"{instance_uid}.dcm"


@dataclass(frozen=True)
class Archive:
    """A DICOMweb origin server."""

    url: str
    """The root under which `/studies` lies."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    """Bearer token; goes before user and password."""

    def segmentations(self, filters: Mapping[str, str]) -> list[Series]:
        """Return every series of SEG objects that matches `filters`."""
        client = self._client
        search = {"Modality": "SEG", **filters}
        found = self._all(
            SERIES, lambda offset: client.search_for_series(search_filters=search, offset=offset)
        )
        return [Series(value(each, STUDY), value(each, SERIES)) for each in found]

    def modality(self, series: Series) -> str:
        """Return the modality of a series; nothing where the archive does not have it."""
        search = {"SeriesInstanceUID": series.series_uid}
        with self._errors_told():
            found = self._client.search_for_series(series.study_uid, search_filters=search)
        # Some servers ignore filters that they do not know and send every series.
        ours = [each for each in found if value(each, SERIES) == series.series_uid]
        return value(ours[0], MODALITY) if ours else ""

    def instances(self, series: Series) -> list[str]:
        """Return the UIDs of a series' instances."""
        client = self._client
        found = self._all(
            INSTANCE,
            lambda offset: client.search_for_instances(
                series.study_uid, series.series_uid, offset=offset
            ),
        )
        return [value(each, INSTANCE) for each in found]

    def metadata(self, series: Series) -> list[Found]:
        """Return the headers of a series' instances, in JSON."""
        with self._errors_told():
            return list(self._client.retrieve_series_metadata(series.study_uid, series.series_uid))

    def fetch(self, series: Series, instance_uid: str, path: Path) -> None:
        """Write one instance as a file that is whole, or not there."""
        path.parent.mkdir(parents=True, exist_ok=True)
        # A file of the final name is taken for whole by the next pull, which skips it.
        with self._errors_told():
            instance = self._client.retrieve_instance(
                series.study_uid, series.series_uid, instance_uid, media_types=AS_IT_IS
            )
        buffer = BytesIO()
        instance.save_as(buffer, enforce_file_format=True)
        write_durably(path, buffer.getvalue())

    @cached_property
    def _client(self) -> DICOMwebClient:
        session = requests.Session()
        if self.token:
            session.headers["Authorization"] = f"Bearer {self.token}"
            session.trust_env = False  # or ~/.netrc takes the header's place
        elif self.user:
            session.auth = (self.user, self.password or "")
        # A cached property works in a frozen dataclass: it writes to `__dict__`, not by setattr.
        client = DICOMwebClient(self.url.rstrip("/"), session=session, timeout=TIMEOUT_S)
        client.set_http_retry_params(max_attempts=TRIES, wait_exponential_multiplier=WAIT_MS)
        return client

    def _all(self, tag: str, ask: Callable[[int], list[Any]]) -> Iterator[Found]:
        """Yield the matches of every page of a search, until one has nothing new.

        A server may cut the answer at any length, and Orthanc gives the same page for ever.
        """
        seen: set[str] = set()
        while True:
            with self._errors_told():
                page = {value(each, tag): each for each in ask(len(seen))}
            new = {uid: each for uid, each in page.items() if uid not in seen}
            if not new:
                return
            seen |= set(new)
            yield from new.values()

    @contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except requests.RequestException as error:
            raise ArchiveFailed(
                f"{self.url}: {error}; check the address (/studies is added to it), the "
                "credentials, and that the archive runs; what was pulled is kept"
            ) from error


def value(found: Found, tag: str) -> str:
    """Return the first value of an attribute as text; nothing where it is absent."""
    # DICOM JSON leaves "Value" out where an attribute is empty (PS3.18 F.2.5).
    values = found.get(tag, {}).get("Value") or [""]
    return str(values[0])
