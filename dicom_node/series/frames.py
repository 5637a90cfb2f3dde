"""The slices of a series, whether each is an instance or a frame of one."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import EnhancedCTImageStorage

FUNCTIONAL_GROUPS = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "CTImageFrameTypeSequence": ("FrameType",),
    "FrameContentSequence": ("StackID", "TemporalPositionIndex", "FrameAcquisitionNumber"),
}
"""Where Enhanced CT keeps what the geometry needs (PS3.3 C.7.6.16.2, C.8.15.3)."""

CLASSIC_NAMES = {"FrameType": "ImageType", "FrameAcquisitionNumber": "AcquisitionNumber"}
"""What CT Image Storage calls the same thing."""

OF_THE_INSTANCE = (
    *("SOPClassUID", "SOPInstanceUID", "Modality", "ImageType", "PatientID"),
    *("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns"),
)
"""What all frames of an Enhanced CT instance have in common."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One slice: a frame of an instance."""

    instance: Dataset
    number: int
    """From 1, as Referenced Frame Number (0008,1160) counts; 1 in a single-frame instance."""
    header: Dataset
    """Its attributes under the names of CT Image Storage, without the pixels."""

    @property
    def name(self) -> str:
        """What to call it in a message."""
        uid = self.instance.get("SOPInstanceUID") or "instance without UID"
        return f"{uid} frame {self.number}" if is_multi_frame(self.instance) else str(uid)

    def text(self, keyword: str) -> str:
        """Value of an attribute as text, empty where it is absent."""
        value = self.header.get(keyword)
        return "" if value is None else str(value).strip()

    def words(self, keyword: str) -> tuple[str, ...]:
        """Values of a code string attribute, in capitals."""
        return tuple(str(word).strip().upper() for word in _values(self.header, keyword))

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Values of a numeric attribute; none unless there are `count`, all of them finite."""
        try:
            found = tuple(float(number) for number in _values(self.header, keyword))
        except ValueError:  # a decimal string that is no number
            return None
        return found if len(found) == count and all(map(math.isfinite, found)) else None


def frames_of(instances: Iterable[Dataset]) -> list[Frame]:
    """Return every frame of every instance, in the order they come."""
    return [frame for instance in instances for frame in _frames(instance)]


def is_multi_frame(instance: Dataset) -> bool:
    """Tell whether the attributes of a slice lie in functional groups."""
    return bool(instance.get("SOPClassUID") == EnhancedCTImageStorage)


def _values(header: Dataset, keyword: str) -> list[Any]:
    value = header.get(keyword)
    if isinstance(value, MultiValue | list):
        return list(value)
    return [] if value in (None, "") else [value]


def _frames(instance: Dataset) -> list[Frame]:
    if not is_multi_frame(instance):
        return [Frame(instance, 1, instance)]
    shared = instance.get("SharedFunctionalGroupsSequence") or [Dataset()]
    own = instance.get("PerFrameFunctionalGroupsSequence") or [Dataset()]
    return [
        Frame(instance, number, _classic_header(instance, shared[0], groups))
        for number, groups in enumerate(own, start=1)
    ]


def _classic_header(instance: Dataset, shared: Dataset, own: Dataset) -> Dataset:
    header = Dataset()
    for keyword in OF_THE_INSTANCE:
        if keyword in instance:
            header[keyword] = instance[keyword]
    for sequence, keywords in FUNCTIONAL_GROUPS.items():
        group = (own.get(sequence) or shared.get(sequence) or [Dataset()])[0]
        for keyword in keywords:
            if keyword in group:
                setattr(header, CLASSIC_NAMES.get(keyword, keyword), group[keyword].value)
    return header
