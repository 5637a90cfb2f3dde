"""A DICOM archive: searched by C-FIND, read by C-GET, or told to send by C-MOVE (PS3.4 C.4)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, ImplicitVRLittleEndian
from pynetdicom import ALL_TRANSFER_SYNTAXES, build_role
from pynetdicom.association import Association as DicomAssociation

from dicom_node.errors import NodeError, PeerRefused, PeerUnavailable
from dicom_node.net.application_entity import ApplicationEntity, accepted
from dicom_node.net.c_find_scu import find
from dicom_node.net.status import error_for_status
from dicom_node.receive.c_store_handler import CStoreHandler
from dicom_node.receive.events import Association
from dicom_node.receive.header import SeriesKey
from dicom_node.receive.spool import Spool
from dicom_node.retrieve.query import FoundSeries, StudyQuery
from dicom_node.sop_classes import STUDY_ROOT_GET, STUDY_ROOT_MOVE

IMAGES = (CTImageStorage, EnhancedCTImageStorage)

PENDING, DESTINATION_UNKNOWN = 0xFF00, 0xA801
"""Statuses of C-MOVE (PS3.4 table C.4-2)."""

BRING_S = 600.0
"""How long an archive may say nothing while it brings a series from where it lies, as a tape; it
need not answer before it is through (PS3.7 9.1.4.1)."""

STUDY_KEYS = ("StudyInstanceUID", "StudyDescription")
SERIES_KEYS = (
    "SeriesInstanceUID",
    "Modality",
    "SeriesDescription",
    "ProtocolName",
    "BodyPartExamined",
    "NumberOfSeriesRelatedInstances",
)
"""What is asked of each study and series: what a rule may look at, and how long it will take."""


@dataclass(frozen=True)
class DimseSource:
    """An archive that speaks DICOM."""

    entity: ApplicationEntity

    @property
    def name(self) -> str:
        """What the configuration calls it."""
        return self.entity.name

    def studies(self, wanted: StudyQuery) -> Iterator[Dataset]:
        """Yield what it tells of each study."""
        keys = dict.fromkeys(STUDY_KEYS, "")
        return find(self.entity, _identifier("STUDY", **{**keys, **wanted.attributes}))

    def series(self, study_uid: str) -> Iterator[Dataset]:
        """Yield what it tells of each series of a study."""
        keys = dict.fromkeys(SERIES_KEYS, "")
        return find(self.entity, _identifier("SERIES", StudyInstanceUID=study_uid, **keys))

    def fetch(self, series: FoundSeries, folder: Path, progress: Callable[[int], None]) -> None:
        """Write every instance of a series below `folder`, by C-GET, each in the encoding it has.

        Raises:
            PeerRefused: it has no C-GET; `hepar pull` does without.
        """
        contexts = [(kind, UID(each)) for kind in IMAGES for each in ALL_TRANSFER_SYNTAXES]
        handlers = CStoreHandler(Spool(folder), Counter(progress)).handlers()
        roles = [build_role(kind, scp_role=True) for kind in IMAGES]
        get = (STUDY_ROOT_GET, ImplicitVRLittleEndian)
        with self.entity.associated([get, *contexts], handlers, roles) as association:
            if get not in accepted(association):
                raise PeerRefused(f"{self.name} has no C-GET; `hepar pull` does without")
            association.dimse_timeout = BRING_S
            self._follow(association, association.send_c_get(_of(series), STUDY_ROOT_GET))

    def move(self, series: FoundSeries, ae_title: str, progress: Callable[[int], None]) -> None:
        """Let the archive send every instance of a series to `ae_title`, by C-MOVE.

        Raises:
            PeerRefused: it does not know that title, or not how to send.
        """
        with self.entity.associated([(STUDY_ROOT_MOVE, ImplicitVRLittleEndian)]) as association:
            association.dimse_timeout = BRING_S
            answers = association.send_c_move(_of(series), ae_title, STUDY_ROOT_MOVE)
            self._follow(association, answers, ae_title, progress)

    def _follow(
        self,
        association: DicomAssociation,
        answers: Iterator[tuple[Dataset, Dataset | None]],
        ae_title: str = "",
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Listen to the end of the answers; raise unless all instances were sent."""
        for status, _ in answers:
            if "Status" not in status:
                raise self.entity.silent(association)
            if status.Status == PENDING:
                progress(int(status.get("NumberOfCompletedSuboperations") or 0))
                continue
            if failed := int(status.get("NumberOfFailedSuboperations") or 0):
                raise PeerUnavailable(
                    f"{self.name} could not send {failed} instances; the logs of both sides say why"
                )
            if status.Status != 0x0000:
                raise self._failure(status, ae_title)

    def _failure(self, status: Dataset, ae_title: str) -> NodeError:
        if status.Status == DESTINATION_UNKNOWN:
            return PeerRefused(
                f"{self.name} does not know {ae_title} as a destination; make its address known"
                " there"
            )
        return error_for_status(self.name, status.Status)


class Counter:
    """Counts what is kept, for whoever listens to the receiver."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self.progress = progress
        self.count = 0

    def instance_kept(self, association: Association, series: SeriesKey) -> None:
        """Count one more."""
        self.count += 1
        self.progress(self.count)

    def association_closed(self, association: Association) -> None:
        """Do nothing."""


def _of(series: FoundSeries) -> Dataset:
    return _identifier(
        "SERIES", StudyInstanceUID=series.study_uid, SeriesInstanceUID=series.series_uid
    )


def _identifier(level: str, **keys: str) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(identifier, keyword, value)
    return identifier
