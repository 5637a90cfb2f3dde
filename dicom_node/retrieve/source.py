"""Where series are pulled from: archives that are searched by C-FIND or QIDO-RS."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from pydicom import Dataset

from dicom_node.deliver.c_store_scu import StorePeer
from dicom_node.deliver.dicomweb import DicomWebPeer
from dicom_node.deliver.peer_interface import Peer
from dicom_node.errors import BadConfiguration
from dicom_node.retrieve.dicomweb import DicomWebSource
from dicom_node.retrieve.dimse import DimseSource
from dicom_node.retrieve.query import FoundSeries, StudyQuery

Progress = Callable[[int], None]
"""Called with how many instances of a series have come."""


class Source(Protocol):
    """An archive that can be searched and read.

    Every method raises PeerUnavailable where the archive may answer later, PeerRefused where it
    will not.
    """

    @property
    def name(self) -> str:
        """What the configuration calls it."""

    def studies(self, wanted: StudyQuery) -> Iterator[Dataset]:
        """Yield what it tells of each study."""

    def series(self, study_uid: str) -> Iterator[Dataset]:
        """Yield what it tells of each series of a study."""

    def fetch(self, series: FoundSeries, folder: Path, progress: Progress) -> None:
        """Write every instance of a series below `folder`."""


def find(source: Source, wanted: StudyQuery) -> list[FoundSeries]:
    """Return every series of the studies that are wanted.

    Raises:
        PeerUnavailable, PeerRefused: the archive cannot be searched.
    """
    found = []
    for study in list(source.studies(wanted)):  # one question at a time
        for series in source.series(study.StudyInstanceUID):
            header = Dataset()
            header.update(study)
            header.update(series)
            found.append(
                FoundSeries(str(study.StudyInstanceUID), str(series.SeriesInstanceUID), header)
            )
    return found


def to_source(peer: Peer) -> Source:
    """Return the archive behind a peer that results go to.

    Raises:
        BadConfiguration: the peer is a folder.
    """
    if isinstance(peer, StorePeer):
        return DimseSource(peer)
    if isinstance(peer, DicomWebPeer):
        return DicomWebSource(peer)
    raise BadConfiguration(f"{peer.name} is a folder; name an archive, or `hepar segment` it")
