"""One run of a model on one series: model, input and time, as every object of it states them."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from pydicom import Dataset

from dicom_node.results.attributes.number_register import NumberRegister, NumbersOfRun
from dicom_node.results.attributes.segment_description import Algorithm


@dataclass(frozen=True)
class Predecessor:
    """An older result that a new one takes the place of."""

    study_uid: str
    series_uid: str
    sop_class_uid: str
    instance_uid: str


def now() -> datetime:
    """Return the present time, aware of the time zone."""
    return datetime.now().astimezone()


@dataclass(frozen=True)
class ModelRun:
    """One run of a model on one series."""

    algorithm: Algorithm
    at: datetime = field(default_factory=now)
    """When the run began; aware of its time zone."""
    source_digest: str = ""
    """Of the headers and pixels that the run read, in hexadecimal; empty where nobody took it."""
    stack: str = ""
    """Which stack of a series that holds several, such as "2 of 3"; empty for an only one."""
    predecessors: tuple[Predecessor, ...] = ()
    """Older results of the same series."""
    numbers: NumberRegister = field(default_factory=NumbersOfRun, compare=False)
    """Series Numbers that are in use; part of no UID."""


def local_time(at: datetime, source: Dataset) -> datetime:
    """Return a time of a run in the time zone that the object's other times are in.

    Timezone Offset From UTC (0008,0201) holds for every time of an object, so where the source
    states one, the time of the run is expressed in it too (PS3.3 C.12.1.1.8).
    """
    offset = utc_offset(source)
    return at if offset is None else at.astimezone(offset)


def utc_offset(source: Dataset) -> timezone | None:
    """Return the time zone that a source states, None where it states none or an invalid one."""
    text = str(source.get("TimezoneOffsetFromUTC") or "").strip()
    # `isdigit` alone would take digits of other scripts, which no time zone of DICOM has.
    if len(text) != 5 or text[0] not in "+-" or not text[1:].isascii() or not text[1:].isdigit():
        return None
    hours, minutes = int(text[1:3]), int(text[3:])
    if hours > 14 or minutes > 59:  # PS3.5 6.2: -1200 to +1400
        return None
    east = timedelta(hours=hours, minutes=minutes)
    return timezone(east if text[0] == "+" else -east)
