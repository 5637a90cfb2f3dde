"""The protocol of archives that series are pulled from."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from pydicom import Dataset

from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.deliver.dicomweb import DicomWebPeer
from dicom_node.deliver.peer_interface import Peer
from dicom_node.errors import BadConfiguration
from dicom_node.receive.header import SeriesKey
from dicom_node.retrieve.dicomweb import DicomWebSource
from dicom_node.retrieve.dimse import DimseSource
from dicom_node.retrieve.query import FoundSeries, StudyQuery

Progress = Callable[[int], None]
"""Called with the number of instances of a series that have arrived."""


class Source(Protocol):
    """An archive that can be searched and read.

    Every method raises PeerUnavailable if the archive may answer later, PeerRefused if it will not.
    """

    @property
    def name(self) -> str:
        """Name in the configuration."""

    def studies(self, wanted: StudyQuery) -> Iterator[Dataset]:
        """Yield the attributes of each study."""

    def series(self, study_uid: str, series_uid: str = "") -> Iterator[Dataset]:
        """Yield the attributes of each series of a study, or of one of them."""

    def fetch(self, series: FoundSeries, folder: Path, progress: Progress) -> None:
        """Write every instance of a series below `folder`."""


def find(source: Source, wanted: StudyQuery) -> list[FoundSeries]:
    """Return every series of the studies that match.

    Studies and series that were not asked for are left out, should the archive return some.

    Raises:
        PeerUnavailable, PeerRefused: the archive cannot be searched.
    """
    found = []
    for study in list(source.studies(wanted)):  # ends one query before the next begins
        if not (study.get("StudyInstanceUID") and wanted.matches(study)):
            continue
        for series in source.series(study.StudyInstanceUID):
            # Absent is allowed: the study was given, and some archives do not repeat it.
            of_study = series.get("StudyInstanceUID") in (None, "", study.StudyInstanceUID)
            if not (of_study and series.get("SeriesInstanceUID")):
                continue
            header = Dataset()
            header.update(study)
            # After the study's: its own values win.
            header.update(series)
            found.append(
                FoundSeries(str(study.StudyInstanceUID), str(series.SeriesInstanceUID), header)
            )
    return found


def count_instances(source: Source, series: SeriesKey) -> int | None:
    """Return the number of instances that an archive has of a series; None if it does not say.

    Raises:
        PeerUnavailable, PeerRefused: the archive cannot be searched.
    """
    for header in list(source.series(series.study_uid, series.series_uid)):
        if str(header.get("SeriesInstanceUID")) == series.series_uid:
            return FoundSeries(series.study_uid, series.series_uid, header).instances
    return None


def to_source(peer: Peer) -> Source:
    """Return the archive behind a peer that results go to.

    Raises:
        BadConfiguration: the peer is a folder.
    """
    if isinstance(peer, StorePeer):
        return DimseSource(peer)
    if isinstance(peer, DicomWebPeer):
        return DicomWebSource(peer)
    raise BadConfiguration(
        f"{peer.name} is a folder; name an archive, or run `hepar segment` on it"
    )
