"""Series Number of results, and the step that completes an object: UIDs, number, description."""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from typing import TypedDict

import highdicom as hd
from pydicom import Dataset
from pydicom.uid import UID

from dicom_node.results.attributes.making import Making
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
it is taken from the Series Instance UID: results of one kind, by other models or of another series
with the same number, are told apart."""
LARGEST_SOURCE = 1999
WITHOUT_SOURCE = 2_000_000_000
"""Begins the numbers of results whose source has no Series Number, or one beyond `LARGEST_SOURCE`.
An integer string ends at 2 147 483 647 (PS3.5 table 6.2-1)."""
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


def series_identity(what: str, sources: Sequence[Dataset], making: Making) -> Identity:
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
        device_serial_number=making.algorithm.digest[:LONG_STRING],
        series_description=plain(series_description(what, sources, making), LONG_STRING),
    )


def complete(
    result: hd.SOPClass,
    kind: ObjectKind,
    what: str,
    sources: Sequence[Dataset],
    making: Making,
    *,
    document: str = "",
) -> None:
    """State origin and name of an object that has its content, and derive its UIDs from it.

    Args:
        result: the object, changed in place.
        kind: which range its Series Number is from.
        what: what it shows, in a word or two.
        sources: its source series; patient and study are those of the first instance.
        making: the run that it comes of.
        document: text that stands for an Encapsulated Document in the UIDs.
    """
    take_origin(result, sources, making)
    named = series_description(what, sources, making)
    result.SeriesDescription = writable(named, result.get("SpecificCharacterSet"))[:LONG_STRING]
    _set_uids(result, PLACEHOLDERS)  # highdicom names dimensions at random
    uids = content_uids(result, making, document)
    _set_uids(result, uids)
    result.SeriesNumber = series_number(kind, sources[0], uids.series)


def series_number(kind: ObjectKind, source: Dataset, series_uid: str) -> int:
    """Return the Series Number (0020,0011) of a result.

    No result of another kind or of a series with another number has it. Two results of one kind,
    of series with one number or by two models, have the same one in a case of 100,000; a viewer
    tells them by Series Description then.

    Args:
        kind: kind of the result.
        source: any instance of its source series.
        series_uid: Series Instance UID of the result.
    """
    chosen = _chosen(series_uid)
    place = list(ObjectKind).index(kind)
    if (number := _number(source)) is None:
        return WITHOUT_SOURCE + place * WITHOUT_SOURCE_PER_KIND + chosen % WITHOUT_SOURCE_PER_KIND
    first = number * NUMBERS_PER_SERIES + place * NUMBERS_PER_KIND
    return first + chosen % NUMBERS_PER_KIND


def notice_number(series_uid: str) -> int:
    """Return the Series Number of a notice, such as a receipt: behind all results."""
    first = WITHOUT_SOURCE + len(ObjectKind) * WITHOUT_SOURCE_PER_KIND
    return first + _chosen(series_uid) % WITHOUT_SOURCE_PER_KIND


def _chosen(series_uid: str) -> int:
    return int.from_bytes(hashlib.sha256(series_uid.encode()).digest()[:8])


def _set_uids(result: Dataset, uids: ResultUids) -> None:
    result.SeriesInstanceUID = uids.series
    result.SOPInstanceUID = uids.instance
    result.file_meta.MediaStorageSOPInstanceUID = UID(uids.instance)
    for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in result.get(keyword) or []:
            item.DimensionOrganizationUID = uids.dimensions


def _number(source: Dataset) -> int | None:
    """Return a Series Number from 1 to `LARGEST_SOURCE`; None where there is no such."""
    try:
        number = int(source.get("SeriesNumber") or 0)
    except (ValueError, TypeError):
        return None
    return number if 1 <= number <= LARGEST_SOURCE else None
