"""A case that lies in a folder and has not been read yet."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer.datasets.case import Case


@dataclass(frozen=True)
class Found:
    """A case that lies in a folder and has not been read yet."""

    source: str
    """The data set it belongs to."""
    name: str
    """What a person would call it."""
    place: Path
    """Folder, file or archive that a person would look at."""
    read: Callable[[], Case]
    """Reads it, or raises `BadCase` and says why it cannot be used."""
