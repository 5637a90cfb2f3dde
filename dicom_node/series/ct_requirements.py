"""Requirements on the headers of CT, which are checked before any slice is placed."""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence

import numpy as np
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage

from dicom_node.attributes import (
    UNREADABLE,
    identifying_text,
    items_of,
    raw_number_text,
    raw_value,
    text_of,
    value_of,
)
from dicom_node.series.frames import Frame, is_multi_frame
from dicom_node.series.kinds import Classification, SeriesKind
from dicom_node.series.pixel_format import pixel_format_fault
from dicom_node.tolerances import UNIT_COSINES

CT_IMAGES = {CTImageStorage, EnhancedCTImageStorage, ""}
"""A blank SOP Class UID is reported as incomplete."""

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
"""Attributes that a slice cannot do without, and how many values each has."""

WHOLE_NUMBERS = ("NumberOfFrames", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
"""Attributes that may be absent, but are one whole number where they are there."""

ALIKE_IN_MOST = (*(each for each in NUMBERS if each != "ImagePositionPatient"), *WHOLE_NUMBERS)
"""Attributes that the slices of a series share, as a rule: checked once for all written alike."""

ONE_PER_SERIES = ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")
OF_THE_SUBJECT = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
)
"""Attributes that a result takes over and that are compared with every source before it leaves
(`verify.seg`): compared here first, so that nothing is computed in vain."""

# Vendors' own words in ImageType, at any place in it.
REFORMATTED_WORDS = ("MPR", "REFORMAT", "MIP", "MINIP")


def image_kinds(
    frames: Sequence[Frame], *, derived_axial: bool = False
) -> list[Classification | None]:
    """Return for each frame why it is no axial CT image by its header alone; None if it is one."""
    return [_image_kind(frame, derived_axial=derived_axial) for frame in frames]


def screen_series(frames: Sequence[Frame]) -> Classification | None:
    """Return why these frames are not of one series, one study and one patient, or None."""
    for keyword in (*ONE_PER_SERIES, *OF_THE_SUBJECT):
        if detail := _differing(keyword, frames):
            return Classification(SeriesKind.MIXED, 0.0, detail)
    return None


def screen_images(frames: Sequence[Frame]) -> Classification | None:
    """Return what the headers of CT images lack for being placed and rescaled, or None."""
    modalities = {frame.text("Modality") or "absent" for frame in frames} - {"CT"}
    if modalities:
        return Classification(SeriesKind.NOT_CT, 0.0, f"Modality is {_listed(modalities)}")
    return _nameless(frames) or _incomplete(frames)


def rescale_note(frames: Sequence[Frame]) -> str:
    """Return a sentence on slices that are rescaled unlike one another; empty if all are alike.

    Slope and intercept are attributes of an image, not of a series (PS3.3 C.11.1).
    """
    used = Counter(
        (frame.numbers("RescaleSlope", 1), frame.numbers("RescaleIntercept", 1)) for frame in frames
    )
    if len(used) < 2:
        return ""
    pairs = ", ".join(
        f"{(slope or (1.0,))[0]:g} and {(intercept or (0.0,))[0]:g} in {count}"
        for (slope, intercept), count in used.most_common(4)
    )
    return f"Rescale slope and intercept differ between slices: {pairs}; each has its own."


def _image_kind(frame: Frame, *, derived_axial: bool) -> Classification | None:
    sop_class = frame.text("SOPClassUID")
    if sop_class not in CT_IMAGES:
        return Classification(SeriesKind.NOT_CT, 0.0, f"SOPClassUID is {UID(sop_class).name}")
    if "LOCALIZER" in frame.words("ImageType"):  # value 3 of a localizer (PS3.3 C.8.2.1.1.1)
        return Classification(SeriesKind.LOCALIZER, 0.0, "projection image")
    return _not_hounsfield(frame) or _derived(frame, derived_axial=derived_axial)


def _not_hounsfield(frame: Frame) -> Classification | None:
    colour = frame.text("PhotometricInterpretation")
    # MONOCHROME1 only tells a display to invert (PS3.3 C.7.6.3.1.2); stored values and Hounsfield
    # units stay.
    if colour in ("MONOCHROME1", "MONOCHROME2", ""):
        colour = ""
        if frame.numbers("SamplesPerPixel", 1) in (None, (1,)):
            return _other_unit(frame)
    detail = f"pixels are colours ({colour or 'several samples'}), not densities"
    return Classification(SeriesKind.DERIVED, 0.0, detail)


def _other_unit(frame: Frame) -> Classification | None:
    """PS3.3 C.11.1.1.2: US is "unspecified"; ED, Z_EFF and the like are no densities."""
    unit = frame.text("RescaleType").upper()
    if unit in ("HU", ""):
        return None
    detail = f"RescaleType is {unit}, so the values are not Hounsfield units"
    return Classification(SeriesKind.DERIVED, 0.0, detail)


def _derived(frame: Frame, *, derived_axial: bool) -> Classification | None:
    words = frame.words("ImageType")
    # Whatever else ImageType has, ORIGINAL is axial enough to be tried; its geometry decides.
    if words[:1] != ("DERIVED",) or _only_compressed(frame):
        return None
    if any(word in " ".join(words) for word in REFORMATTED_WORDS):
        return Classification(SeriesKind.REFORMATTED, 0.0, f"ImageType is {_joined(words)}")
    if derived_axial and words[2:3] in (("AXIAL",), ("VOLUME",)):
        return None
    return Classification(SeriesKind.DERIVED, 0.0, f"ImageType is {_joined(words)}")


def _only_compressed(frame: Frame) -> bool:
    """Lossy compression alone also makes an image DERIVED (PS3.3 C.7.6.1.1.2)."""
    lossy = text_of(frame.instance, "LossyImageCompression") == "01"
    return lossy and frame.words("ImageType")[1:3] in (("PRIMARY",), ("PRIMARY", "AXIAL"))


def _differing(keyword: str, frames: Sequence[Frame]) -> str:
    """Say how the values differ in kind, and never what they are: they may name the patient."""
    raw = [
        # With the character set, as one and the same bytes may be two names.
        str((raw_value(frame.instance, keyword), raw_value(frame.instance, "SpecificCharacterSet")))
        for frame in frames
    ]
    some = dict(zip(raw, frames, strict=True))  # decoded once for all that are written alike
    if len(some) < 2:
        return ""
    meaning = {each: identifying_text(frame.instance, keyword) for each, frame in some.items()}
    counts = Counter(meaning[each] for each in raw)
    # Written differently, such as with other padding, and meant alike.
    if len(counts) < 2:
        return ""
    # Counted apart, and last: the others are values that contradict each other.
    blank = counts.pop("", 0)
    ranked = [count for _, count in counts.most_common()]
    kinds = [f"one value in {ranked[0]} slices"]
    kinds += [f"another in {count}" for count in ranked[1:4]]
    kinds += [f"{len(ranked) - 4} more values"] if len(ranked) > 4 else []
    kinds += [f"blank in {blank}"] if blank else []
    return f"{len(ranked) + bool(blank)} different {keyword}: {', '.join(kinds)}"


def _nameless(frames: Sequence[Frame]) -> Classification | None:
    for keyword in UIDS:
        # The lambda is called within this round, so it sees the right keyword.
        if count := _count(frames, lambda frame: not frame.text(keyword)):  # noqa: B023
            detail = f"{keyword} is blank in {count} of {len(frames)} slices"
            return Classification(SeriesKind.INCOMPLETE, 0.0, detail)
    return None


def _incomplete(frames: Sequence[Frame]) -> Classification | None:
    sound: set[Hashable] = set()
    for frame in frames:
        written = _written_but_place(frame)
        # Written as a slice that was found sound: 1000 slices are judged as fast as one.
        if written in sound and frame.numbers("ImagePositionPatient", 3) is not None:
            continue
        if fault := _fault(frame):
            return Classification(SeriesKind.INCOMPLETE, 0.0, f"{fault} in {frame.name}")
        if written is not None:
            sound.add(written)
    return None


def _written_but_place(frame: Frame) -> Hashable | None:
    """Return how all is written that `_fault` reads but the position, if nothing else decides."""
    if frame.header is not frame.instance:  # functional groups have a say
        return None
    written = tuple(frame.written(keyword) for keyword in ALIKE_IN_MOST)
    return None if None in written else written


def _fault(frame: Frame) -> str | None:
    for keyword, count in NUMBERS.items():
        if frame.numbers(keyword, count) is None:
            purpose = ", so the values are no Hounsfield units" if "Rescale" in keyword else ""
            written = raw_number_text(frame.header, keyword)
            shown = f" but {written!r}" if written else ""
            return f"{keyword} is missing or not {count} number(s){shown}{purpose}"
    for keyword in ("PixelSpacing", "Rows", "Columns"):
        # Never the empty tuple, of which `min` would raise: the loop above found the numbers.
        if min(frame.numbers(keyword, NUMBERS[keyword]) or ()) <= 0:
            return f"{keyword} is not positive"
    if frame.numbers("RescaleSlope", 1) == (0.0,):
        return "RescaleSlope is 0"
    along = np.reshape(frame.numbers("ImageOrientationPatient", 6) or (), (2, 3))
    # The product of the two rows with each other: lengths on the diagonal, the angle beside it.
    if not np.allclose(along @ along.T, np.eye(2), rtol=0, atol=UNIT_COSINES):
        return "ImageOrientationPatient is not two unit vectors at a right angle"
    for keyword in WHOLE_NUMBERS:
        if not _is_whole(frame, keyword):
            return f"{keyword} is not one whole number"
    return _frame_count_fault(frame) or pixel_format_fault(frame.instance)


def _frame_count_fault(frame: Frame) -> str | None:
    declared = int(value_of(frame.instance, "NumberOfFrames") or 1)
    if not is_multi_frame(frame.instance):
        described = 1
    else:
        described = len(items_of(frame.instance, "PerFrameFunctionalGroupsSequence")) or 1
    if declared != described:
        return f"NumberOfFrames is {declared}, which the functional groups do not describe"
    return None


def _is_whole(frame: Frame, keyword: str) -> bool:
    if keyword not in frame.instance:
        return True
    try:
        value = frame.instance.get(keyword)
        # An absent value is not for this check: some of these attributes may be empty.
        return value in (None, "") or int(value) == value
    except UNREADABLE:
        return False


def _count(frames: Sequence[Frame], holds: Callable[[Frame], bool]) -> int:
    return sum(map(holds, frames))


def _listed(values: set[str]) -> str:
    return ", ".join(sorted(values))


def _joined(words: Sequence[str]) -> str:
    return "\\".join(words)
