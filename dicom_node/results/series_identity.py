"""Series Number of results, and the step that completes an object: UIDs, number, description."""

import hashlib
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import TypedDict

import highdicom as hd
from pydicom import Dataset
from pydicom.uid import UID

from dicom_node.attributes import UNREADABLE, value_of
from dicom_node.results.attributes.model_run import ModelRun
from dicom_node.results.attributes.number_register import NumberRegister
from dicom_node.results.attributes.provenance import take_origin
from dicom_node.results.attributes.result_uids import PLACEHOLDERS, ResultUids, content_uids
from dicom_node.results.attributes.series_description import series_description
from dicom_node.results.attributes.values import LONG_STRING, plain, writable
from dicom_node.results.objects import ObjectKind

NUMBERS_PER_SERIES = 1_000_000
"""The digits above it are the source's Series Number, so that results lie behind the images and
one sees of which series they are: 5 gives 5 000 000 to 5 999 999."""
NUMBERS_PER_KIND = 100_000
"""Within those, each kind of object has a range of its own, in the order of `ObjectKind`. Where in
it is taken from the Series Instance UID; should another series of the study have that number, the
next free one is taken (`number_register`)."""
# 1 999 999 999 is the last number below `WITHOUT_SOURCE`.
LARGEST_SOURCE = 1999
WITHOUT_SOURCE = 2_000_000_000
"""Begins the numbers of results whose source has no Series Number, or one beyond `LARGEST_SOURCE`.
An integer string ends at 2 147 483 647 (PS3.5 table 6.2-1)."""
# Room for ten kinds, notices among them, below the end of an integer string.
WITHOUT_SOURCE_PER_KIND = 14_000_000


class Identity(TypedDict):
    """Arguments that highdicom requires for every object that it makes."""

    series_instance_uid: str
    series_number: int
    sop_instance_uid: str
    instance_number: int
    manufacturer: str
    manufacturer_model_name: str
    software_versions: str
    device_serial_number: str
    series_description: str


def series_identity(what: str, sources: Sequence[Dataset], run: ModelRun) -> Identity:
    """Return the identity of the one object of its series, which shows `what` of its sources.

    UIDs and Series Number are placeholders until `complete` derives them from the content.
    """
    return Identity(
        series_instance_uid=PLACEHOLDERS.series,
        series_number=1,
        sop_instance_uid=PLACEHOLDERS.instance,
        instance_number=1,
        manufacturer="Hepar",
        manufacturer_model_name="Hepar",
        software_versions=version("hepar"),
        device_serial_number=run.algorithm.digest[:LONG_STRING],
        # ASCII: highdicom checks it before the object has a character set; `complete` writes the
        # whole.
        series_description=plain(series_description(what, sources, run), LONG_STRING),
    )


def complete(
    result: hd.SOPClass,
    kind: ObjectKind,
    what: str,
    sources: Sequence[Dataset],
    run: ModelRun,
    *,
    document: str = "",
) -> None:
    """State origin and name of an object that has its content, and derive its UIDs from it.

    Args:
        result: the object, changed in place.
        kind: which range its Series Number is from.
        what: what it shows, in a word or two.
        sources: its source series; patient and study are those of the first instance.
        run: the run that it comes of.
        document: text that stands for an Encapsulated Document in the UIDs.
    """
    # First: the character set that it copies decides what the description may contain.
    take_origin(result, sources, run)
    named = series_description(what, sources, run)
    result.SeriesDescription = writable(named, result.get("SpecificCharacterSet"))[:LONG_STRING]
    _set_uids(result, PLACEHOLDERS)  # highdicom names dimensions at random
    uids = content_uids(result, run, document)
    _set_uids(result, uids)
    # Last: it comes from the UIDs, and is no content for that reason.
    result.SeriesNumber = series_number(kind, sources[0], uids.series, run.numbers)


def series_number(
    kind: ObjectKind, source: Dataset, series_uid: str, register: NumberRegister
) -> int:
    """Return the Series Number (0020,0011) of a result.

    Nothing else that the register holds of the study has it: no result, and no source series,
    whose own number is registered where it could be that of a result.

    Args:
        kind: kind of the result.
        source: any instance of its source series.
        series_uid: Series Instance UID of the result.
        register: numbers that are in use.
    """
    study, number = str(source.StudyInstanceUID), _written_number(source)
    if number is not None and number > LARGEST_SOURCE:
        register.take(study, str(source.SeriesInstanceUID), [number])
    place = list(ObjectKind).index(kind)
    if number is None or not 1 <= number <= LARGEST_SOURCE:
        first, count = WITHOUT_SOURCE + place * WITHOUT_SOURCE_PER_KIND, WITHOUT_SOURCE_PER_KIND
    else:
        first, count = number * NUMBERS_PER_SERIES + place * NUMBERS_PER_KIND, NUMBERS_PER_KIND
    return register.take(study, series_uid, _numbers(first, count, series_uid))


def notice_number(study_uid: str, series_uid: str, register: NumberRegister) -> int:
    """Return the Series Number of a notice, such as a receipt: behind all results."""
    first = WITHOUT_SOURCE + len(ObjectKind) * WITHOUT_SOURCE_PER_KIND
    numbers = _numbers(first, WITHOUT_SOURCE_PER_KIND, series_uid)
    return register.take(study_uid, series_uid, numbers)


def _numbers(first: int, count: int, series_uid: str) -> Iterator[int]:
    """Yield the numbers of a range, from the one that a UID chooses on, round to it."""
    chosen = first + int.from_bytes(hashlib.sha256(series_uid.encode()).digest()[:8]) % count
    yield from range(chosen, first + count)
    yield from range(first, chosen)


def _set_uids(result: Dataset, uids: ResultUids) -> None:
    result.SeriesInstanceUID = uids.series
    result.SOPInstanceUID = uids.instance
    result.file_meta.MediaStorageSOPInstanceUID = UID(uids.instance)
    for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in result.get(keyword) or []:
            item.DimensionOrganizationUID = uids.dimensions


def _written_number(source: Dataset) -> int | None:
    """Return the Series Number of a source; None where there is none that can be read."""
    try:
        return int(value_of(source, "SeriesNumber") or 0) or None
    except UNREADABLE:
        return None
