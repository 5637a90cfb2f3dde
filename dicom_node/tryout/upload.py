"""Files of one upload while they come in; each gets a number, whatever the sender calls it.

A name may be the patient's, or lead out of the folder; neither is used.
"""

from collections.abc import Mapping
from pathlib import Path

from dicom_node.errors import TooLargeUpload
from dicom_node.tryout.bounds import MOST_FILES, Bounds, Tally


class Part:
    """One file while it comes in."""

    def __init__(self, upload: "Upload", file: Path) -> None:
        self._upload = upload
        self._path = file
        self._file = file.open("wb")

    def write(self, content: bytes) -> None:
        """Take some more bytes."""
        self._upload.tally.add(len(content))
        self._file.write(content)

    def close(self) -> None:
        """Take no more."""
        self._file.close()

    def end(self) -> None:
        """Keep the file, unless it is empty: a browser sends one where nothing was chosen."""
        self.close()
        if not self._path.stat().st_size:
            self._path.unlink()


class Field:
    """A part that is no file."""

    def write(self, content: bytes) -> None:
        """Pass over the bytes."""

    def end(self) -> None:
        """Do nothing."""


class Upload:
    """The files of one upload."""

    def __init__(self, folder: Path, bounds: Bounds) -> None:
        """Write into `folder`, which is there and empty."""
        self.folder = folder
        self.tally = Tally(bounds, folder)
        self._count = 0
        self._parts: list[Part] = []

    def begin(self, headers: Mapping[str, str]) -> Part | Field:
        """Return what takes the part with these headers; lets a multipart body be read.

        Raises:
            TooLargeUpload: it is one file too many.
        """
        if "filename" not in headers.get("content-disposition", ""):
            return Field()
        self._count += 1
        if self._count > MOST_FILES:
            raise TooLargeUpload(f"the upload has more than {MOST_FILES} files; drop fewer")
        part = Part(self, self.folder / f"{self._count:05d}")
        self._parts = [part]  # the one before it has ended
        return part

    def close(self) -> None:
        """Close the file that was coming in when the upload broke off."""
        for part in self._parts:
            part.close()

    def files(self) -> list[Path]:
        """Return the files that came, in order."""
        return sorted(self.folder.iterdir())
