"""A DICOM archive: searched by C-FIND, read by C-GET or C-MOVE (PS3.4 C.4)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, ImplicitVRLittleEndian
from pynetdicom import ALL_TRANSFER_SYNTAXES, build_role
from pynetdicom.association import Association as DicomAssociation

from dicom_node.errors import NodeError, PeerRefused, PeerUnavailable, ServiceRefused
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
"""Longest silence of an archive that fetches a series from slow storage, such as tape; it need not
answer before it has finished (PS3.7 9.1.4.1)."""

STUDY_KEYS = ("StudyInstanceUID", "StudyDescription")
SERIES_KEYS = (
    "SeriesInstanceUID",
    "Modality",
    "SeriesDescription",
    "ProtocolName",
    "BodyPartExamined",
    "NumberOfSeriesRelatedInstances",
)
"""Attributes that are requested: for the selection rules, and to show progress."""


@dataclass(frozen=True)
class DimseSource:
    """A DICOM node as an archive."""

    entity: ApplicationEntity

    @property
    def name(self) -> str:
        """Name in the configuration."""
        return self.entity.name

    def studies(self, wanted: StudyQuery) -> Iterator[Dataset]:
        """Yield the attributes of each study."""
        # An empty key matches everything and asks for the value (PS3.4 C.2.2.2.3).
        keys = dict.fromkeys(STUDY_KEYS, "")
        return find(self.entity, _identifier("STUDY", **{**keys, **wanted.attributes}))

    def series(self, study_uid: str, series_uid: str = "") -> Iterator[Dataset]:
        """Yield the attributes of each series of a study, or of one of them."""
        keys = {**dict.fromkeys(SERIES_KEYS, ""), "SeriesInstanceUID": series_uid}
        return find(self.entity, _identifier("SERIES", StudyInstanceUID=study_uid, **keys))

    def fetch(self, series: FoundSeries, folder: Path, progress: Callable[[int], None]) -> None:
        """Write every instance of a series below `folder`, by C-GET, in the archive's encoding.

        Raises:
            PeerUnavailable: fewer instances came than the archive announced.
            PeerRefused: it does not offer C-GET, or sent another series.
        """
        # A context for each syntax: of one with several the archive would choose one for all
        # instances, and send the others decoded, or not at all.
        contexts = [(kind, UID(each)) for kind in IMAGES for each in ALL_TRANSFER_SYNTAXES]
        counter = Counter(series.series_uid, progress)
        handlers = CStoreHandler(Spool(folder), counter).handlers()
        # C-GET: this node calls, and receives as an SCP on the same association (PS3.4 C.4.3).
        roles = [build_role(kind, scp_role=True) for kind in IMAGES]
        get = (STUDY_ROOT_GET, ImplicitVRLittleEndian)
        with self.entity.associated([get, *contexts], handlers, roles) as association:
            if get not in accepted(association):
                raise ServiceRefused(
                    f"{self.name} does not offer C-GET; `hepar pull` works without it"
                )
            association.dimse_timeout = BRING_S
            self._follow(association, association.send_c_get(_of(series), STUDY_ROOT_GET))
        # After the end: in the middle, an abort would look like a broken network.
        if counter.foreign:
            raise PeerRefused(
                f"{self.name} sent instances of another series than {series.series_uid}; see the"
                " archive's log"
            )
        if counter.count < (series.instances or 0):
            raise PeerUnavailable(
                f"{self.name} sent {counter.count} of {series.instances} instances; see its log"
            )

    def move(self, series: FoundSeries, ae_title: str, progress: Callable[[int], None]) -> None:
        """Make the archive send every instance of a series to `ae_title`, by C-MOVE.

        Raises:
            PeerRefused: that title is not registered there, or it does not offer C-MOVE.
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
        """Read the answers to the end; raise unless all instances were sent."""
        for status, _ in answers:
            if "Status" not in status:
                raise self.entity.silent(association)
            if status.Status == PENDING:
                progress(int(status.get("NumberOfCompletedSuboperations") or 0))
                continue
            # Before the status: archives answer success or a warning although instances failed.
            if failed := int(status.get("NumberOfFailedSuboperations") or 0):
                raise PeerUnavailable(
                    f"{self.name} could not send {failed} instances; see the logs of both sides"
                )
            if status.Status != 0x0000:
                raise self._failure(status, ae_title)

    def _failure(self, status: Dataset, ae_title: str) -> NodeError:
        if status.Status == DESTINATION_UNKNOWN:
            return PeerRefused(
                f"{self.name} does not know {ae_title} as a destination; register its address there"
            )
        return error_for_status(self.name, status.Status, str(status.get("ErrorComment", "")))


class Counter:
    """Counts the instances of one series, as a listener of the receiver."""

    def __init__(self, series_uid: str, progress: Callable[[int], None]) -> None:
        self.series_uid, self.progress = series_uid, progress
        self.count, self.foreign = 0, 0

    def instance_kept(self, association: Association, series: SeriesKey) -> None:
        """Count one more."""
        if series.series_uid != self.series_uid:
            self.foreign += 1
            return
        self.count += 1
        self.progress(self.count)

    def association_closed(self, association: Association) -> None:
        """Ignore it."""


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
