"""Read the files of one series: those that are instances, and the reason for each that is not."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset

from dicom_node.attributes import text_of
from dicom_node.decoding.file_bounds import require_bounded_file
from dicom_node.decoding.stream import BrokenStream
from dicom_node.dicom_file import UNREADABLE_FILE, failure_of, read_file
from dicom_node.errors import UnsupportedSeries
from dicom_node.series.frame_of_reference import (
    derived_frame_of_reference,
    lacks_frame_of_reference,
)
from dicom_node.series.frames import is_multi_frame

PIXEL_TAGS = ["PixelData", "BitsAllocated", "PixelRepresentation", "Rows", "Columns"]
"""Implicit data under an explicit header leave the VR of Pixel Data to the others of these."""


@dataclass(frozen=True, eq=False)
class ReadFiles:
    """Files of one series, read."""

    instances: list[Dataset]
    """Each SOP instance once."""
    unreadable: Mapping[Path, str] = field(default_factory=dict)
    """Files that are no DICOM, or break off, and why; none of them ends the others."""
    copies: tuple[Path, ...] = ()
    """Files that hold an instance which another file holds too, bit by bit the same."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Files that were passed over, in words."""
        damaged = [f"{path.name} passed over: {why}" for path, why in self.unreadable.items()]
        copies = [f"{len(self.copies)} files hold instances twice; each is used once"]
        return (*damaged, *(copies if self.copies else []))


def read_files(
    paths: Iterable[Path], *, derive_frame_of_reference: bool = False, pixels: bool = True
) -> ReadFiles:
    """Read what can be read of the files of one series.

    Args:
        paths: files in DICOM Part 10 format, or data sets without its preamble.
        derive_frame_of_reference: give the instances a frame of reference made from their
            series UID if none of them has one; see `has_derived_frame_of_reference`.
        pixels: all of them now; otherwise `pixels_at_hand` reads those of single-frame instances
            one by one, which takes half of the memory.
    """
    found: dict[str, tuple[Path, Dataset]] = {}
    instances: list[Dataset] = []
    unreadable: dict[Path, str] = {}
    copies: list[Path] = []
    for path in paths:
        try:
            require_bounded_file(path)
            instance = read_file(path) if pixels else _read_header(path)
        except BrokenStream as error:
            unreadable[path] = str(error)
            continue
        except UNREADABLE_FILE as error:
            unreadable[path] = failure_of(error)
            continue
        uid = text_of(instance, "SOPInstanceUID")
        if uid in found and _same(path, found[uid][0]):
            copies.append(path)
            continue
        # Different files under one UID both stay: which of them counts is not ours to guess, and
        # their stack is refused.
        found.setdefault(uid, (path, instance))
        instances.append(instance)
    if derive_frame_of_reference and lacks_frame_of_reference(instances):
        for instance in instances:
            series_uid = text_of(instance, "SeriesInstanceUID")
            instance.FrameOfReferenceUID = derived_frame_of_reference(series_uid)
    return ReadFiles(instances, unreadable, tuple(copies))


def read_series(
    paths: Iterable[Path], *, derive_frame_of_reference: bool = False, pixels: bool = True
) -> list[Dataset]:
    """Read the instances of one series, all of whose files must be whole; see `read_files`.

    Raises:
        UnsupportedSeries: a file is no DICOM, or breaks off within an attribute.
    """
    read = read_files(paths, derive_frame_of_reference=derive_frame_of_reference, pixels=pixels)
    for path, reason in read.unreadable.items():
        raise UnsupportedSeries(f"{path} is no whole DICOM file: {reason}; send the instance again")
    return read.instances


@contextmanager
def pixels_at_hand(instance: Dataset) -> Iterator[None]:
    """Give an instance that was read without its pixels those pixels while the block lasts.

    Raises:
        UnsupportedSeries: the file has become unreadable.
    """
    file = getattr(instance, "filename", None)
    if "PixelData" in instance or not file:
        yield
        return
    try:
        whole = read_file(Path(file), specific_tags=PIXEL_TAGS)
    except UNREADABLE_FILE as error:
        raise UnsupportedSeries(
            f"{file} is no whole DICOM file: {failure_of(error)}; send the instance again"
        ) from error
    if "PixelData" in whole:
        instance["PixelData"] = whole["PixelData"]
    try:
        yield
    finally:
        # Or the pixels of the whole series would stay in memory.
        instance.pop("PixelData", None)


def _read_header(path: Path) -> Dataset:
    header = read_file(path, stop_before_pixels=True)
    # One file holds all frames: reading it once per frame would take minutes.
    return read_file(path) if is_multi_frame(header) else header


def _same(path: Path, other: Path) -> bool:
    return path.stat().st_size == other.stat().st_size and path.read_bytes() == other.read_bytes()
