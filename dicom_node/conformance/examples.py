"""Result objects made from computer-drawn series; the statement lists their attributes.

The series differ in all that a scanner decides: one is as complete as a scanner writes, one as bare
as the standard allows and without tumours, one went through lossy compression.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from io import BytesIO

from pydicom import Dataset, dcmread

from dicom_node.results.attributes.number_register import NumbersOfRun
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.make import SeriesResult, encode_verified, make_others, make_seg
from dicom_node.results.notices.receipt import to_receipt
from dicom_node.results.notices.rejection import to_rejections
from dicom_node.results.objects import Encoding, ObjectKind, ResultObject, SegForm
from dicom_node.results.phantom import to_instances
from dicom_node.series.volume import to_volume
from engine.findings.contours import draw_contours
from engine.findings.domain import Outside
from engine.findings.measure import measure
from engine.findings.quality import Concern, Quality
from engine.manifest import Feature, Range
from engine.phantom import make_phantom


def _order(number: int) -> Dataset:
    order = Dataset()
    order.RequestedProcedureID = f"RP{number}"
    order.ScheduledProcedureStepID = f"SPS{number}"
    order.RequestedProcedureDescription = f"CT of region {number}"
    return order


COMPLETE = {
    "SpecificCharacterSet": "ISO_IR 192",
    "PatientName": "Müller^Änne",
    "PatientID": "P1",
    "PatientBirthDate": "19500102",
    "PatientSex": "F",
    "StudyID": "7",
    "AccessionNumber": "A1",
    "ReferringPhysicianName": "Doe^J",
    "StudyDate": "20260203",
    "StudyTime": "101112",
    "ContentDate": "20260203",
    "ContentTime": "111213",
    "StudyDescription": "Abdomen",
    "SeriesNumber": 4,
    "DeviceSerialNumber": "S1",
    "InstitutionName": "Hospital",
    "StationName": "CT1",
    "TimezoneOffsetFromUTC": "+0100",
    "IssuerOfPatientID": "HOSPITAL",
    "RequestAttributesSequence": [_order(1)],
}
"""Attributes that a scanner may write and the phantom lacks."""

SIZE, SPACING_MM = (12, 40, 48), (20.0, 9.0, 8.0)
"""Of the first series; each further one has one more of each."""


@dataclass(frozen=True)
class Drawn:
    """Parameters of one of the computer-drawn series."""

    name: str
    attributes: dict[str, object]
    tumours: int
    absent: tuple[str, ...] = ()
    quality: Quality = field(default_factory=Quality)
    per_lesion: bool = False


DRAWN = (
    Drawn("complete", COMPLETE, 3, per_lesion=True),
    Drawn(
        "bare",
        dict.fromkeys(("PatientName", "PatientID", "StudyID", "StudyDate", "StudyTime"), ""),
        0,
        (
            *("Manufacturer", "StudyDescription", "SeriesNumber"),
            *("PatientIdentityRemoved", "DeidentificationMethod"),
        ),
        Quality((Concern.SMALL,)),
    ),
    Drawn(
        "lossy",
        {
            "PatientName": "Roe^J",
            "PatientID": "P2",
            "PatientBirthDate": "19600304",
            "PatientSex": "M",
            "DeidentificationMethod": "Another",
            "InstitutionName": "Practice",
            "StationName": "CT2",
            "LossyImageCompression": "01",
            "RequestAttributesSequence": [_order(2)],
            "LossyImageCompressionMethod": "ISO_10918_1",
            "LossyImageCompressionRatio": "8.5",
        },
        2,
        quality=Quality(
            (Concern.LAST_SLICE, Concern.TUMOUR_DISPUTED, Concern.OTHER_NOISE),
            (Outside(Feature.NOISE, 45.0, Range(low=0.0, high=17.8)),),
        ),
    ),
)


@dataclass(frozen=True, eq=False)
class Example:
    """A series and one object that was made of it."""

    source: Dataset
    made: Dataset


def examples(kind: ObjectKind, encoding: Encoding = Encoding.BINARY) -> list[Example]:
    """Return one example of an object from each of the series."""
    return [_example(number, kind, encoding) for number in range(len(DRAWN))]


def _example(number: int, kind: ObjectKind, encoding: Encoding) -> Example:
    findings, form = _findings(number), SegForm(encoding, DRAWN[number].per_lesion)
    seg = make_seg(findings)
    if kind is ObjectKind.SEG and form == SegForm():
        return Example(findings.sources[0], _read(encode_verified(seg, findings)))
    wanted = ResultObject(kind, form)
    made = dict(make_others({wanted, ResultObject(ObjectKind.SEG, form)}, findings, seg))
    return Example(findings.sources[0], _read(made[wanted]))


def notice_examples() -> dict[str, list[Example]]:
    """Return examples of the receipt and of the rejection note, one from each of the series."""
    made: dict[str, list[Example]] = {"receipt": [], "rejection": []}
    for number in range(len(DRAWN)):
        findings = _findings(number)
        source, at, register = findings.sources[0], findings.made_at, NumbersOfRun()
        words = ["refused", "failed", ""][number], f"reason {number}", f"digest {number}"
        receipt = _read(to_receipt(source, *words, register, made_at=at))
        (note,) = to_rejections([make_seg(findings)], register, made_at=at)
        made["receipt"].append(Example(source, receipt))
        made["rejection"].append(Example(source, _read(note)))
    return made


def _read(file: bytes) -> Dataset:
    return dcmread(BytesIO(file))


@cache
def _findings(number: int) -> SeriesResult:
    drawn = DRAWN[number]
    (slices, rows, columns), (slices_mm, rows_mm, columns_mm) = SIZE, SPACING_MM
    phantom = make_phantom(
        number,
        shape=(slices + number, rows + number, columns + number),
        spacing_mm=(slices_mm + number, rows_mm + number, columns_mm + number),
        tumours=drawn.tumours,
    )
    sources = list(_sources(to_instances(phantom, drawn.name), drawn))
    volume = to_volume(sources)
    return SeriesResult(
        sources,
        Algorithm(f"model {number}", f"{number}.0", f"{number}f" * 32, f"device {number}"),
        phantom.truth,
        measure(volume, phantom.truth),
        drawn.quality,
        draw_contours(volume, phantom.truth),
        ["A remark."] if number else [],
        made_at=datetime(2026, 1, 1 + number, 10 + number, 11, 12),
    )


def _sources(instances: Iterator[Dataset], drawn: Drawn) -> Iterator[Dataset]:
    for instance in instances:
        for keyword, value in drawn.attributes.items():
            setattr(instance, keyword, value)
        for keyword in drawn.absent:
            delattr(instance, keyword)
        yield instance
