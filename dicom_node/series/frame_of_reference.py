"""A frame of reference for series that come without one, when someone asks for it."""

from collections.abc import Sequence
from uuid import UUID, uuid5

from pydicom import Dataset

NAMESPACE = UUID("bca83183-3f0b-4f7c-9a9b-8a6d0a1b6e5c")
"""Keeps UIDs derived here apart from those that others derive from the same series."""


def derived_frame_of_reference(series_uid: str) -> str:
    """The UID that stands for the frame of reference of a series without one (PS3.5 B.2)."""
    return f"2.25.{uuid5(NAMESPACE, series_uid).int}"


def lacks_frame_of_reference(instances: Sequence[Dataset]) -> bool:
    """Return whether no instance names its frame of reference."""
    return not any(instance.get("FrameOfReferenceUID") for instance in instances)


def has_derived_frame_of_reference(instances: Sequence[Dataset]) -> bool:
    """Return whether the frame of reference was derived here; results must state it."""
    return any(
        instance.get("FrameOfReferenceUID")
        == derived_frame_of_reference(str(instance.get("SeriesInstanceUID")))
        for instance in instances
    )
