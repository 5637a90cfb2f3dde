"""Under what numbers and names a result stands beside its source."""

from importlib.metadata import version
from typing import TypedDict

from pydicom import Dataset

from dicom_node.results.attributes.provenance import LONG_STRING
from dicom_node.results.attributes.segment_description import Algorithm
from dicom_node.results.attributes.uids import ResultUids
from dicom_node.results.objects import ObjectKind

SERIES_NUMBER_OFFSETS = {
    ObjectKind.SEG: 9000,
    ObjectKind.REPORT: 9100,
    ObjectKind.MONTAGE: 9200,
    ObjectKind.RTSTRUCT: 9300,
}
"""Added to the source's Series Number, so that results lie behind the images."""

LARGEST_NUMBER = 2**31 - 1 - max(SERIES_NUMBER_OFFSETS.values())
"""An integer string has 32 bits (PS3.5 table 6.2-1)."""


class Identity(TypedDict):
    """What highdicom asks of every object that it makes."""

    series_instance_uid: str
    series_number: int
    sop_instance_uid: str
    instance_number: int
    manufacturer: str
    manufacturer_model_name: str
    software_versions: str
    device_serial_number: str
    series_description: str


def series_identity(
    kind: ObjectKind, what: str, source: Dataset, algorithm: Algorithm, uids: ResultUids
) -> Identity:
    """Return the identity of the one object of its series, which shows `what` of `source`."""
    return Identity(
        series_instance_uid=uids.series,
        series_number=SERIES_NUMBER_OFFSETS[kind] + _number(source),
        sop_instance_uid=uids.instance,
        instance_number=1,
        manufacturer="Hepar",
        manufacturer_model_name="Hepar",
        software_versions=version("hepar"),
        device_serial_number=algorithm.digest[:LONG_STRING],
        series_description=f"Hepar: {what}",
    )


def _number(source: Dataset) -> int:
    """Return its Series Number, 0 where that is absent, no number or too large to be added to."""
    try:
        number = int(source.get("SeriesNumber") or 0)
    except (ValueError, TypeError):
        return 0
    return number if abs(number) <= LARGEST_NUMBER else 0
