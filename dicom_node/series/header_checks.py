"""What the headers of a series say against segmenting it, before any slice is placed."""

from collections.abc import Callable, Sequence

import numpy as np
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage

from dicom_node.series.frames import Frame, is_multi_frame
from dicom_node.series.kinds import Classification, SeriesKind

UIDS = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")
NUMBERS = {
    "ImagePositionPatient": 3,
    "ImageOrientationPatient": 6,
    "PixelSpacing": 2,
    "Rows": 1,
    "Columns": 1,
    "RescaleSlope": 1,
    "RescaleIntercept": 1,
}
"""What a slice cannot do without, and how many values it has."""

WHOLE_NUMBERS = ("NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
"""What may be absent, but is one whole number where it is there."""

ONE_PER_SERIES = ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID", "PatientID")
REFORMATTED_WORDS = ("MPR", "REFORMAT", "MIP", "MINIP")
COSINE_TOLERANCE = 1e-3
"""How far direction cosines may be from unit length and from a right angle."""
SPACING_TOLERANCE_MM = 1e-4
"""How far pixel spacings of one series may differ: 0.05 mm over 512 pixels."""


def screen(frames: Sequence[Frame]) -> Classification | None:
    """Return the kind of a series that its headers alone give away, or None."""
    checks = (_not_ct, _localizer, _not_hounsfield, _derived, _nameless, _incomplete, _mixed)
    return next(filter(None, (check(frames) for check in checks)), None)


def _not_ct(frames: Sequence[Frame]) -> Classification | None:
    if not frames:
        return Classification(SeriesKind.NOT_CT, 0.0, "there is no instance")
    modalities = {frame.text("Modality") or "absent" for frame in frames} - {"CT"}
    if modalities:
        return Classification(SeriesKind.NOT_CT, 0.0, f"Modality is {_listed(modalities)}")
    allowed = {CTImageStorage, EnhancedCTImageStorage, ""}  # blank: reported as incomplete
    classes = {frame.text("SOPClassUID") for frame in frames} - allowed
    if classes:
        return Classification(SeriesKind.NOT_CT, 0.0, f"SOPClassUID is {_listed(classes)}")
    return None


def _localizer(frames: Sequence[Frame]) -> Classification | None:
    """ImageType value 3 of a localizer (PS3.3 C.8.2.1.1.1)."""
    found = _count(frames, lambda frame: "LOCALIZER" in frame.words("ImageType"))
    if found == len(frames):
        return Classification(SeriesKind.LOCALIZER, 0.0, f"{found} projection image(s)")
    detail = f"{found} of {len(frames)} slices are localizers"
    return Classification(SeriesKind.SEVERAL_STACKS, 0.0, detail) if found else None


def _not_hounsfield(frames: Sequence[Frame]) -> Classification | None:
    colours = {frame.text("PhotometricInterpretation") for frame in frames}
    colours -= {"MONOCHROME1", "MONOCHROME2", ""}
    if colours or any(frame.numbers("SamplesPerPixel", 1) not in (None, (1,)) for frame in frames):
        detail = f"pixels are colours ({_listed(colours or {'several samples'})}), not densities"
        return Classification(SeriesKind.DERIVED, 0.0, detail)
    units = {frame.text("RescaleType").upper() for frame in frames} - {"HU", ""}
    if units:  # PS3.3 C.11.1.1.2: US is "unspecified"; ED, Z_EFF and the like are no densities
        detail = f"RescaleType is {_listed(units)}, so the values are not Hounsfield units"
        return Classification(SeriesKind.DERIVED, 0.0, detail)
    return None


def _derived(frames: Sequence[Frame]) -> Classification | None:
    types = {
        frame.words("ImageType")
        for frame in frames
        if frame.words("ImageType")[:1] == ("DERIVED",) and not _only_compressed(frame)
    }
    if not types:
        return None
    written = _listed({"\\".join(words) for words in types})
    words = " ".join(word for words in types for word in words)
    reformatted = any(word in words for word in REFORMATTED_WORDS)
    kind = SeriesKind.REFORMATTED if reformatted else SeriesKind.DERIVED
    return Classification(kind, 0.0, f"ImageType is {written}")


def _only_compressed(frame: Frame) -> bool:
    """Lossy compression alone also makes an image DERIVED (PS3.3 C.7.6.1.1.2)."""
    lossy = frame.instance.get("LossyImageCompression") == "01"
    return lossy and frame.words("ImageType")[1:3] in (("PRIMARY",), ("PRIMARY", "AXIAL"))


def _nameless(frames: Sequence[Frame]) -> Classification | None:
    for keyword in UIDS:
        if count := _count(frames, lambda frame: not frame.text(keyword)):  # noqa: B023
            detail = f"{keyword} is blank in {count} of {len(frames)} slices"
            return Classification(SeriesKind.INCOMPLETE, 0.0, detail)
    return None


def _incomplete(frames: Sequence[Frame]) -> Classification | None:
    for frame in frames:
        if fault := _fault(frame):
            return Classification(SeriesKind.INCOMPLETE, 0.0, f"{fault} in {frame.name}")
    return None


def _fault(frame: Frame) -> str | None:
    for keyword, count in NUMBERS.items():
        if frame.numbers(keyword, count) is None:
            purpose = ", so the values are no Hounsfield units" if "Rescale" in keyword else ""
            return f"{keyword} is missing or not {count} number(s){purpose}"
    for keyword in ("PixelSpacing", "Rows", "Columns"):
        if min(frame.numbers(keyword, NUMBERS[keyword]) or ()) <= 0:
            return f"{keyword} is not positive"
    if frame.numbers("RescaleSlope", 1) == (0.0,):
        return "RescaleSlope is 0"
    along = np.reshape(frame.numbers("ImageOrientationPatient", 6) or (), (2, 3))
    if not np.allclose(along @ along.T, np.eye(2), rtol=0, atol=COSINE_TOLERANCE):
        return "ImageOrientationPatient is not two unit vectors at a right angle"
    for keyword in WHOLE_NUMBERS:
        if not _is_whole(frame, keyword):
            return f"{keyword} is not one whole number"
    declared = int(frame.instance.get("NumberOfFrames") or 1)
    described = len(frame.instance.get("PerFrameFunctionalGroupsSequence") or [None])
    if declared != (described if is_multi_frame(frame.instance) else 1):
        return f"NumberOfFrames is {declared}, which the functional groups do not describe"
    return None


def _is_whole(frame: Frame, keyword: str) -> bool:
    try:
        value = frame.instance.get(keyword)
        return value in (None, "") or int(value) == value
    except (TypeError, ValueError):
        return False


def _mixed(frames: Sequence[Frame]) -> Classification | None:
    for keyword in ONE_PER_SERIES:
        if (count := len({frame.text(keyword) for frame in frames})) > 1:
            return Classification(SeriesKind.MIXED, 0.0, f"{count} different {keyword}")
    sizes = {(*frame.numbers("Rows", 1), *frame.numbers("Columns", 1)) for frame in frames}  # type: ignore[misc]
    if len(sizes) > 1:
        written = {f"{rows:.0f}x{columns:.0f}" for rows, columns in sizes}
        return Classification(SeriesKind.MIXED, 0.0, f"slices of {_listed(written)} pixels")
    spacings = np.array([frame.numbers("PixelSpacing", 2) for frame in frames])
    if np.ptp(spacings, axis=0).max() > SPACING_TOLERANCE_MM:
        low, high = spacings.min(), spacings.max()
        return Classification(SeriesKind.MIXED, 0.0, f"PixelSpacing from {low:g} to {high:g} mm")
    return None


def _count(frames: Sequence[Frame], holds: Callable[[Frame], bool]) -> int:
    return sum(map(holds, frames))


def _listed(values: set[str]) -> str:
    return ", ".join(sorted(values))
