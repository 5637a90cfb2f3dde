"""A case that lies in a folder and has not been read yet; and which files may belong to one."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer.datasets.cases.case import Case


def is_visible(path: Path) -> bool:
    """Return whether a path is a file, and not one that a desktop leaves behind."""
    return not path.name.startswith(".") and "__MACOSX" not in path.parts and path.is_file()


@dataclass(frozen=True)
class Found:
    """A case that lies in a folder and has not been read yet."""

    source: str
    """The data set it belongs to."""
    name: str
    """Name for people."""
    place: Path
    """Folder, file or archive that a person would look at."""
    read: Callable[[], Case]
    """Reads it, or raises `BadCase` with the reason."""
