"""One upload, from its intake to its results, as it is shown and kept."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import TypeAdapter

from dicom_node.pipeline.outcome import Outcome


class Stage(StrEnum):
    """Stage of an upload."""

    WAITING = "waiting"
    COMPUTING = "computing"
    DONE = "done"
    FAILED = "failed"

    @property
    def active(self) -> bool:
        """Whether more will happen by itself."""
        return self in (Stage.WAITING, Stage.COMPUTING)


@dataclass(frozen=True)
class View:
    """A volume to scroll through."""

    slices: int
    start: int
    """Slice that is shown first, from 1 at the foot: that of the largest lesion, or with the most
    liver."""
    marked: tuple[int, ...]
    """Slices with a contour."""


@dataclass(frozen=True)
class Scan:
    """One stack of a series, or one NIfTI file, and what came of it."""

    stem: str
    """Beginning of the names of its files."""
    outcome: Outcome
    view: View | None = None
    """None where nothing was segmented."""


@dataclass(frozen=True)
class Tryout:
    """One upload."""

    id: str
    """Random: whoever has it and a login may look."""
    user: str
    created: datetime
    stage: Stage = Stage.WAITING
    at_work: str = ""
    """Part that is computed, such as "series 2 of 3"."""
    slices: tuple[int, int] | None = None
    """Slices computed, and all of them, while it is on the device."""
    error: str = ""
    """Why there is no result; empty otherwise."""
    passed_over: int = 0
    """Files that are no image of a series."""
    scans: tuple[Scan, ...] = ()

    def to_json(self) -> bytes:
        """Return the record as it is kept."""
        return _ADAPTER.dump_json(self, indent=2)

    @classmethod
    def from_json(cls, stored: bytes) -> "Tryout":
        """Return the record that `to_json` wrote."""
        return _ADAPTER.validate_json(stored)


_ADAPTER = TypeAdapter(Tryout)
