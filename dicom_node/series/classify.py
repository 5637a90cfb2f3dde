"""The geometry contract: what a series is, and the one answer to it."""

from collections.abc import Iterable

from pydicom import Dataset

from dicom_node.series.frames import Frame, frames_of
from dicom_node.series.header_checks import screen
from dicom_node.series.kinds import Classification, Handling, SeriesKind
from dicom_node.series.slice_positions import TOLERANCE_MM, place_slices

__all__ = [
    "TOLERANCE_MM",
    "Classification",
    "Handling",
    "SeriesKind",
    "classify",
    "classify_frames",
]


def classify(instances: Iterable[Dataset]) -> Classification:
    """Return what the instances of one series form, in any order; their pixels are not read."""
    return classify_frames(frames_of(instances))


def classify_frames(frames: list[Frame]) -> Classification:
    """Return what the frames of one series form."""
    found = screen(frames) or place_slices(frames)
    segmented = found.kind.answer is not Handling.REFUSE
    if segmented and not frames[0].text("FrameOfReferenceUID"):  # one for all, or it were mixed
        detail = f"FrameOfReferenceUID is blank in {found.detail}"
        return Classification(SeriesKind.NO_FRAME_OF_REFERENCE, found.residual_mm, detail)
    return found
