"""Find the series in a folder, and name the files that belong to none."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset
from pydicom.uid import UID, MediaStorageDirectoryStorage

from dicom_node.attributes import text_of, value_of
from dicom_node.dicom_file import UNREADABLE_FILE, failure_of, read_file

TAGS = ["SOPClassUID", "SeriesInstanceUID", "Modality", "Rows", "DirectoryRecordSequence"]


@dataclass(frozen=True)
class Discovery:
    """The series of a folder, and the rest of its files."""

    series: Mapping[str, tuple[Path, ...]]
    """Series Instance UID to its instances; files without one are grouped by folder, under its
    name."""
    others: Mapping[Path, str]
    """Files that belong to no series, with the reason."""


def discover(folder: Path) -> Discovery:
    """Look at every file in `folder` and the folders in it; no damaged one ends the others."""
    series: dict[str, list[Path]] = defaultdict(list)
    others: dict[Path, str] = {}
    # Sorted: messages and the order of jobs must not depend on the file system.
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            header = read_file(path, stop_before_pixels=True, specific_tags=TAGS)
        except UNREADABLE_FILE as error:
            others[path] = failure_of(error)
            continue
        uid = text_of(header, "SeriesInstanceUID")
        if reason := _no_image(header, uid):
            others[path] = reason
        else:
            series[uid or str(path.parent)].append(path)
    return Discovery({uid: tuple(paths) for uid, paths in series.items()}, others)


def _no_image(header: Dataset, series_uid: str) -> str:
    """Return why a data set is part of no series; empty if it is."""
    meta = getattr(header, "file_meta", Dataset())
    sop_class = text_of(header, "SOPClassUID") or text_of(meta, "MediaStorageSOPClassUID")
    if sop_class == MediaStorageDirectoryStorage or "DirectoryRecordSequence" in header:
        return "a DICOMDIR: the table of contents of a disc, not an image"
    if not series_uid and value_of(header, "Rows") is None:
        syntax = UID(text_of(meta, "TransferSyntaxUID"))
        read_as = f" as {syntax.name}" if syntax.is_transfer_syntax else ""
        return f"damaged, or no image: neither a SeriesInstanceUID nor Rows can be read{read_as}"
    return ""
