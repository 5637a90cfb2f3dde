"""Series Description of results: what they show, of which series, by which model."""

from collections.abc import Sequence

from pydicom import Dataset

from dicom_node.attributes import UNREADABLE, value_of
from dicom_node.results.attributes.model_run import ModelRun
from dicom_node.results.attributes.values import LONG_STRING


def series_description(what: str, sources: Sequence[Dataset], run: ModelRun) -> str:
    """Return Series Description (0008,103E): what, of which series, of how much of it, by what.

    Such as "Hepar liver+tumours · 5 Portal 1.5 mm · 300 sl, 1.2.0". The source's description is
    cut where 64 characters do not hold all; slices and version distinguish results of a part of the
    series, or of another model, from the newest.
    """
    # Cut, since a version is free text: with the longest words for "what", 7 of 64 characters are
    # left for the source's description.
    made_of = f"{_slices(sources)} sl, {run.algorithm.version}"[:24]
    if run.stack:
        made_of = f"stack {run.stack}, {made_of}"[:32]
    of = " ".join(filter(None, (_number_text(sources[0]), _description(sources[0]))))
    room = LONG_STRING - len(f"Hepar {what} ·  · {made_of}")
    if len(of) > room:
        of = f"{of[: room - 1].rstrip()}…"
    return " · ".join(filter(None, (f"Hepar {what}", of, made_of)))


def _number_text(source: Dataset) -> str:
    try:
        return str(int(value_of(source, "SeriesNumber")))
    except UNREADABLE:
        return ""


def _description(source: Dataset) -> str:
    """Return Series Description; a backslash would make two values of it."""
    found = source.get("SeriesDescription") or ""
    text = found if isinstance(found, str) else "/".join(map(str, found))
    return " ".join(text.replace("\\", "/").split())


def _slices(sources: Sequence[Dataset]) -> int:
    return sum(int(source.get("NumberOfFrames") or 1) for source in sources)
