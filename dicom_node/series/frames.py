"""The slices of a series, whether each is an instance or a frame of one."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.uid import EnhancedCTImageStorage

from dicom_node.attributes import (
    UNREADABLE,
    items_of,
    numbers_of,
    raw_value,
    text_of,
    value_of,
    values_of,
    words_of,
    written_form,
)

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
    _read_in_series: dict[tuple[object, ...], Any] = field(default_factory=dict, repr=False)
    """Values read in any frame of the series, by how they are written: most are in all frames the
    same."""

    @property
    def name(self) -> str:
        """Name of the slice in messages."""
        uid = text_of(self.instance, "SOPInstanceUID") or "instance without UID"
        return f"{uid} frame {self.number}" if is_multi_frame(self.instance) else uid

    def text(self, keyword: str) -> str:
        """Return the value of an attribute as text, empty where there is none."""
        return str(self._once(keyword, 0, lambda: text_of(self.header, keyword)))

    def words(self, keyword: str) -> tuple[str, ...]:
        """Return the values of a code string attribute, in capitals."""
        found: tuple[str, ...] = self._once(keyword, -1, lambda: words_of(self.header, keyword))
        return found

    def numbers(self, keyword: str, count: int) -> tuple[float, ...] | None:
        """Return the values of a numeric attribute; None unless there are `count`, all finite."""
        found: tuple[float, ...] | None = self._once(
            keyword, count, lambda: numbers_of(self.header, keyword, count)
        )
        return found

    def written(self, keyword: str) -> tuple[object, ...] | None:
        """Return how an attribute is written, the same only for the same value; see `written_form`.

        Text depends on the character set too.
        """
        form = written_form(self.header, keyword)
        return (*form, self._character_set) if form else form

    @cached_property
    def _character_set(self) -> str:
        return str(raw_value(self.header, "SpecificCharacterSet"))

    def _once(self, keyword: str, form: int, read: Callable[[], Any]) -> Any:
        key = keyword, form
        if key not in self._read:
            self._read[key] = self._once_in_series(key, read)
        return self._read[key]

    def _once_in_series(self, key: tuple[str, int], read: Callable[[], Any]) -> Any:
        written = self.written(key[0])
        if not written:
            return read()
        in_series = (*key, *written)
        if in_series not in self._read_in_series:
            self._read_in_series[in_series] = read()
        return self._read_in_series[in_series]


def frames_of(instances: Iterable[Dataset]) -> list[Frame]:
    """Return every frame of every instance, in the order they come."""
    read_in_series: dict[tuple[object, ...], Any] = {}
    return [frame for instance in instances for frame in _frames(instance, read_in_series)]


def written_alike(frames: Sequence[Frame], keyword: str) -> bool:
    """Return whether all frames hold the same bytes of an attribute, or none has it.

    False also where one was converted before.
    """
    first = frames[0].written(keyword)
    return first is not None and all(frame.written(keyword) == first for frame in frames)


def instances_of(frames: Iterable[Frame]) -> list[Dataset]:
    """Return each instance that has one of the frames, once, in their order."""
    # By identity: comparing data sets compares every element.
    return list({id(frame.instance): frame.instance for frame in frames}.values())


def is_multi_frame(instance: Dataset) -> bool:
    """Return whether the attributes of a slice lie in functional groups."""
    # By the class: NumberOfFrames stands in single-frame instances, too.
    return bool(value_of(instance, "SOPClassUID") == EnhancedCTImageStorage)


def _frames(instance: Dataset, read_in_series: dict[tuple[object, ...], Any]) -> list[Frame]:
    if not is_multi_frame(instance):
        return [Frame(instance, 1, instance, _read_in_series=read_in_series)]
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
        # A group is either shared or per frame (PS3.3 C.7.6.16); where both are there the frame's
        # own wins.
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
