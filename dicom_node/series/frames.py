"""The slices of a series, whether each is an instance or a frame of one."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.uid import EnhancedCTImageStorage

from dicom_node.attributes import (
    items_of,
    numbers_of,
    text_of,
    value_of,
    values_of,
    words_of,
)
from dicom_node.errors import UNREADABLE

FUNCTIONAL_GROUPS = {
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "CTImageFrameTypeSequence": ("FrameType",),
    "FrameContentSequence": (
        *("StackID", "TemporalPositionIndex", "FrameAcquisitionNumber"),
        "FrameAcquisitionDateTime",
    ),
    "CTXRayDetailsSequence": ("KVP", "FilterType"),
    "CTExposureSequence": ("ExposureTimeInms", "XRayTubeCurrentInmA", "ExposureInmAs", "CTDIvol"),
    "CTReconstructionSequence": ("ConvolutionKernel",),
    "CardiacSynchronizationSequence": ("NominalPercentageOfCardiacPhase",),
}
"""Functional groups of Enhanced CT that hold what geometry and homogeneity need (PS3.3 C.7.6.16.2,
C.8.15.3)."""

CLASSIC_NAMES = {
    "FrameType": "ImageType",
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "FrameAcquisitionDateTime": "AcquisitionDateTime",
    "ExposureTimeInms": "ExposureTime",
    "XRayTubeCurrentInmA": "XRayTubeCurrent",
    "ExposureInmAs": "Exposure",
}
"""Names of the same attributes in CT Image Storage."""

OF_THE_INSTANCE = (
    *("SOPClassUID", "SOPInstanceUID", "Modality", "ImageType", "SeriesDescription"),
    *("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("SamplesPerPixel", "PhotometricInterpretation", "Rows", "Columns"),
)
"""Attributes that all frames of an Enhanced CT instance share."""

PLACES = {"InStackPositionNumber", "ImagePositionPatient", "SliceLocation", "ImagePositionVolume"}
"""Dimensions along which the slices of one stack differ by their nature."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One slice: a frame of an instance."""

    instance: Dataset
    number: int
    """From 1, as Referenced Frame Number (0008,1160) counts; 1 in a single-frame instance."""
    header: Dataset
    """Its attributes under the names of CT Image Storage, without the pixels."""
    dimensions: Mapping[str, str] = field(default_factory=dict)
    """Keyword of a dimension other than place to the frame's index in it (PS3.3 C.7.6.17)."""
    _read: dict[tuple[str, int], Any] = field(default_factory=dict, repr=False)
    """Values read before: every check asks for some of the same, and pydicom takes 10 us each."""

    @property
    def name(self) -> str:
        """Name of the slice in messages."""
        uid = text_of(self.instance, "SOPInstanceUID") or "instance without UID"
        return f"{uid} frame {self.number}" if is_multi_frame(self.instance) else uid

    def text(self, keyword: str) -> str:
        """Return the value of an attribute as text, empty where there is none."""
        key = keyword, 0
        if key not in self._read:
            self._read[key] = text_of(self.header, keyword)
        return str(self._read[key])

    def words(self, keyword: str) -> tuple[str, ...]:
        """Return the values of a code string attribute, in capitals."""
        return words_of(self.header, keyword)

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Return the values of a numeric attribute; None unless there are `count`, all finite."""
        key = keyword, count
        if key not in self._read:
            self._read[key] = numbers_of(self.header, keyword, count)
        found: tuple[float, ...] | None = self._read[key]
        return found


def frames_of(instances: Iterable[Dataset]) -> list[Frame]:
    """Return every frame of every instance, in the order they come."""
    return [frame for instance in instances for frame in _frames(instance)]


def instances_of(frames: Iterable[Frame]) -> list[Dataset]:
    """Return each instance that has one of the frames, once, in their order."""
    return list({id(frame.instance): frame.instance for frame in frames}.values())


def is_multi_frame(instance: Dataset) -> bool:
    """Return whether the attributes of a slice lie in functional groups."""
    return bool(value_of(instance, "SOPClassUID") == EnhancedCTImageStorage)


def _frames(instance: Dataset) -> list[Frame]:
    if not is_multi_frame(instance):
        return [Frame(instance, 1, instance)]
    shared = items_of(instance, "SharedFunctionalGroupsSequence") or [Dataset()]
    own = items_of(instance, "PerFrameFunctionalGroupsSequence") or [Dataset()]
    pointers = [
        keyword_for_tag(value_of(item, "DimensionIndexPointer") or 0)
        for item in items_of(instance, "DimensionIndexSequence")
    ]
    return [
        Frame(instance, number, _classic_header(instance, shared[0], groups), _index(groups, names))
        for names in [pointers]
        for number, groups in enumerate(own, start=1)
    ]


def _index(groups: Dataset, pointers: list[str]) -> Mapping[str, str]:
    """Return the frame's index in each dimension that is no place."""
    content = (items_of(groups, "FrameContentSequence") or [Dataset()])[0]
    values = values_of(content, "DimensionIndexValues")
    if len(values) != len(pointers):
        return MappingProxyType({})
    pairs = zip(pointers, map(str, values), strict=True)
    return MappingProxyType({name: value for name, value in pairs if name not in PLACES})


def _classic_header(instance: Dataset, shared: Dataset, own: Dataset) -> Dataset:
    header = Dataset()
    for keyword in OF_THE_INSTANCE:
        if value_of(instance, keyword) is not None:
            header[keyword] = instance[keyword]
    for sequence, keywords in FUNCTIONAL_GROUPS.items():
        group = (items_of(own, sequence) or items_of(shared, sequence) or [Dataset()])[0]
        for keyword in keywords:
            value = value_of(group, keyword)
            if value is not None:
                _set(header, CLASSIC_NAMES.get(keyword, keyword), value)
    return header


def _set(header: Dataset, keyword: str, value: object) -> None:
    """Set a value under its classic name; one that its classic VR cannot hold stays absent."""
    try:
        setattr(header, keyword, value)
    except UNREADABLE:
        header.pop(keyword, None)
