"""Search a folder for CT series that have a SEG beside them."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, SegmentationStorage

from dicom_node.annotations.description import drawn_on
from dicom_node.attributes import UNREADABLE
from dicom_node.sop_classes import LABEL_MAP_SEGMENTATION

IMAGES = {CTImageStorage, EnhancedCTImageStorage}
SEGMENTATIONS = {SegmentationStorage, LABEL_MAP_SEGMENTATION}

TAGS = [
    *("SOPClassUID", "SeriesInstanceUID", "StudyInstanceUID", "PatientID"),
    "ReferencedSeriesSequence",
]


@dataclass(frozen=True)
class AnnotatedSeries:
    """A CT series, and the SEGs that refer to it."""

    series_uid: str
    study_uid: str
    patient_id: str
    """Empty where it is missing."""
    images: tuple[Path, ...]
    """Empty where the series does not lie in the folder."""
    segmentations: tuple[Path, ...]


def find_annotated(files: Iterable[Path]) -> list[AnnotatedSeries]:
    """Return every series that a SEG among `files` refers to; no pixel is read."""
    images: dict[str, list[Path]] = defaultdict(list)
    drawings: dict[str, list[tuple[Path, Dataset]]] = defaultdict(list)
    for path in files:
        header = _header(path)
        if header.get("SOPClassUID") in IMAGES:
            images[str(header.get("SeriesInstanceUID"))].append(path)
        elif header.get("SOPClassUID") in SEGMENTATIONS:
            # "" collects SEGs that name no series; it has no images, and the reader reports them.
            drawings[drawn_on(header)].append((path, header))
    return [_series(uid, images[uid], each) for uid, each in drawings.items()]


def _series(
    uid: str, images: Sequence[Path], drawings: Sequence[tuple[Path, Dataset]]
) -> AnnotatedSeries:
    _, header = drawings[0]
    return AnnotatedSeries(
        series_uid=uid,
        study_uid=str(header.get("StudyInstanceUID") or ""),
        patient_id=str(header.get("PatientID") or ""),
        images=tuple(images),
        segmentations=tuple(path for path, _ in drawings),
    )


def _header(path: Path) -> Dataset:
    """Return the identifying attributes of a file; none of them if it is not DICOM."""
    try:
        return dcmread(path, stop_before_pixels=True, specific_tags=TAGS)
    except (InvalidDicomError, OSError, *UNREADABLE):
        return Dataset()
