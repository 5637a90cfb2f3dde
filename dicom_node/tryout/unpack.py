"""Files of a zip, unpacked within the bounds of an upload."""

import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from dicom_node.errors import BadUpload, TooLargeUpload
from dicom_node.tryout.bounds import MOST_FILES, Tally

MOST_DIRECTORY = 512 * MOST_FILES
"""Bytes of a zip's table of contents, which is read into memory at once."""
CHUNK = 1 << 20
METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
"""Others inflate without a bound on what one call returns."""
ENCRYPTED = 0x1
DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    LookupError,  # an entry without a name
    NotImplementedError,
    ValueError,
)
"""Raised by `zipfile` on what is no whole zip."""


def unpack(file: Path, folder: Path, tally: Tally) -> None:
    """Write the files in a zip as `folder`/<zip>-<number>; their names are not used.

    Raises:
        BadUpload: it is no whole zip, or not one that is unpacked; the message names the entry.
        TooLargeUpload, NoRoomForUpload: what it holds is more than there may be.
    """
    try:
        _require_small_directory(file)
        with zipfile.ZipFile(file) as packed:
            entries = [each for each in packed.infolist() if not each.is_dir()]
            if len(entries) > MOST_FILES:
                raise TooLargeUpload(f"the zip holds {len(entries)} files; pack fewer")
            for number, entry in enumerate(entries, start=1):
                _require_plain(entry, number)
            for number, entry in enumerate(entries, start=1):
                with (folder / f"{file.name}-{number:05d}").open("wb") as target:
                    for chunk in _inflated(packed, entry):
                        tally.add(len(chunk))
                        target.write(chunk)
    except DAMAGED as error:
        # Not the error's words: they name an entry, whose name may be the patient's.
        raise BadUpload(f"the zip is damaged ({type(error).__name__}); pack it again") from error


def _require_small_directory(file: Path) -> None:
    with file.open("rb") as opened:
        # The very function by which ZipFile finds the table; it has no public form.
        end = zipfile._EndRecData(opened)  # type: ignore[attr-defined]
    if end is None:
        raise BadUpload("the zip breaks off; pack it again")
    if end[zipfile._ECD_SIZE] > MOST_DIRECTORY:  # type: ignore[attr-defined]
        raise TooLargeUpload(f"the zip holds more than {MOST_FILES} files; pack fewer")


def _require_plain(entry: zipfile.ZipInfo, number: int) -> None:
    path = PurePosixPath(entry.filename.replace("\\", "/"))
    # A drive of Windows; the name "." has no parts.
    drive = any(":" in part for part in path.parts[:1])
    if path.is_absolute() or ".." in path.parts or drive:
        raise BadUpload(f"the path of file {number} in the zip leads out of it; pack it again")
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise BadUpload(f"file {number} in the zip is a link; pack the files themselves")
    if entry.flag_bits & ENCRYPTED:
        raise BadUpload("the zip has a password; pack it without one")
    if entry.compress_type not in METHODS:
        raise BadUpload(
            f"file {number} in the zip is compressed by method {entry.compress_type}; pack it as an"
            " ordinary zip (deflate)"
        )


def _inflated(packed: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    with packed.open(entry) as file:
        while chunk := file.read(CHUNK):
            yield chunk
