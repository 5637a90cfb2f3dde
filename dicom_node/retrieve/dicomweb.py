"""A DICOMweb archive, searched by QIDO-RS and read by WADO-RS (PS3.18 10.6, 10.4)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmwrite
from pydicom.errors import InvalidDicomError

from dicom_node.deliver.dicomweb import DicomWebPeer
from dicom_node.errors import PeerRefused, PeerUnavailable, RejectedInstance
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.spool import Spool
from dicom_node.retrieve.query import FoundSeries, StudyQuery

AS_IT_IS = (("application/dicom", "*"),)
"""Each instance in the encoding that the archive has."""

SERIES_FIELDS = ("ProtocolName", "BodyPartExamined")
"""Attributes for the selection rules that QIDO-RS returns only on request (PS3.18 10.6.3)."""


@dataclass(frozen=True)
class DicomWebSource:
    """A DICOMweb server as an archive."""

    server: DicomWebPeer

    @property
    def name(self) -> str:
        """Name in the configuration."""
        return self.server.name

    def studies(self, wanted: StudyQuery) -> Iterator[Dataset]:
        """Yield the attributes of each study."""
        client = self.server.client()
        return self._all(
            "StudyInstanceUID",
            lambda offset: client.search_for_studies(
                search_filters=wanted.attributes, fields=["StudyDescription"], offset=offset
            ),
        )

    def series(self, study_uid: str, series_uid: str = "") -> Iterator[Dataset]:
        """Yield the attributes of each series of a study, or of one of them."""
        client = self.server.client()
        wanted = {"SeriesInstanceUID": series_uid} if series_uid else {}
        return self._all(
            "SeriesInstanceUID",
            lambda offset: client.search_for_series(
                study_uid, search_filters=wanted, fields=list(SERIES_FIELDS), offset=offset
            ),
        )

    def fetch(self, series: FoundSeries, folder: Path, progress: Callable[[int], None]) -> None:
        """Write every instance of a series below `folder`, in the encoding of the archive."""
        spool, count = Spool(folder), 0
        key = SeriesKey(series.study_uid, series.series_uid)
        try:
            for count, instance in enumerate(self._instances(series), start=1):
                self._require_of(series, instance)
                # The spool refuses a UID that is none, which could lead out of the folder.
                spool.put(key, str(instance.get("SOPInstanceUID")), _part10(instance))
                progress(count)
        except (InvalidDicomError, RejectedInstance) as error:
            raise PeerRefused(
                f"{self.name} sent an instance that cannot be stored: {error}"
            ) from error
        # More is no fault: the count may be older than the last instances.
        if series.instances is not None and count < series.instances:
            raise PeerUnavailable(
                f"{self.name} sent {count} of {series.instances} instances; its log says why"
            )

    def _all(self, keyword: str, ask: Callable[[int], list[Any]]) -> Iterator[Dataset]:
        """Yield the matches of every page of a search, until a page has no new ones.

        A server may cut the answer at any length, and Orthanc returns the same page for ever.
        """
        seen: set[str] = set()
        while True:
            with self.server.translated_errors():
                answer = ask(len(seen))
            # By UID, so that a match that comes twice on one page counts once.
            new = {str(each[keyword].value): each for each in self._read(answer, keyword)}
            new = {uid: each for uid, each in new.items() if uid not in seen}
            if not new:
                return
            seen |= set(new)
            yield from new.values()

    def _read(self, answer: Any, keyword: str) -> Iterator[Dataset]:
        """Yield the matches in an answer.

        Raises:
            PeerUnavailable: the answer is not DICOM JSON.
        """
        try:
            if not isinstance(answer, list):
                raise TypeError("no array")
            page = [Dataset.from_json(each) for each in answer]
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise self.server.unreadable() from error
        yield from (each for each in page if keyword in each)

    def _require_of(self, series: FoundSeries, instance: Dataset) -> None:
        """Raise unless an instance belongs to the series that was asked for."""
        if str(instance.get("SeriesInstanceUID")) != series.series_uid:
            raise PeerRefused(
                f"{self.name} sent an instance of another series than {series.series_uid}; see the"
                " server's log"
            )

    def _instances(self, series: FoundSeries) -> Iterator[Dataset]:
        with self.server.translated_errors():
            yield from self.server.client().iter_series(
                series.study_uid, series.series_uid, media_types=AS_IT_IS
            )


def _part10(instance: Dataset) -> bytes:
    file = BytesIO()
    dcmwrite(file, instance, enforce_file_format=True)
    return file.getvalue()
